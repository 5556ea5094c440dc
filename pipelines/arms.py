"""What the classifier of one arm learns from: pools of real and synthetic images as the arm mixes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from augment.classical import bank_of_views
from augment.errors import ConfigError
from augment.filtering import SCORERS, Judged, confidence, keep_best
from augment.images import LabelledImages
from augment.mixing import draw_by_ratio, synthetic_share
from classifiers.batches import Pool
from classifiers.training import fit
from pipelines.definition import Arm, EvaluateConfig

TRUST = 0.5  # of a real image's soft label that is the teacher's; the rest is its class


@dataclass(frozen=True)
class Materials:
    """A fold made ready: synthetic images have the classes and the size of the real ones.

    logits: the discriminator's, one a synthetic image. judged: needed by arms that say so. repeats: None for all of
    the evaluation's. mix: by name of an arm, what of its settings was chosen on this fold's validation images.
    """

    train: LabelledImages
    test: LabelledImages
    synthetic: LabelledImages | None
    logits: NDArray[np.float64] | None = None
    fold: str = ""
    size: int | None = None
    repeats: tuple[int, ...] | None = None
    judged: Judged | None = None
    mix: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def arms(self, config: EvaluateConfig) -> tuple[Arm, ...]:
        """The arms of an evaluation, mixed as was chosen here."""
        return tuple(arm.model_copy(update=dict(self.mix.get(arm.name, {}))) for arm in config.resolved_arms())

    def check(self, config: EvaluateConfig) -> None:
        """Raise `ConfigError` if an arm needs images or scores that are not there."""
        for arm in self.arms(config):
            if not arm.synthetic:
                continue
            if self.synthetic is None:
                raise ConfigError(
                    "the arms use synthetic images and there are none; give --synthetic, or only real arms"
                )
            if arm.keep < 1 and arm.filter == "discriminator" and self.logits is None:
                raise ConfigError(
                    f"arm {arm.name!r} filters by the discriminator's scores, and the synthetic images came without; "
                    "`augment generate` writes them; or filter by confidence or distance"
                )
            if arm.real:
                kept = keep_best(self.synthetic.labels, np.zeros(len(self.synthetic)), arm.keep)
                draw_by_ratio(self.synthetic.take(kept), self.train, _ratio(arm, config), seed=0)


def train_arm(arm: Arm, materials: Materials, config: EvaluateConfig, *, seed: int, device: torch.device) -> nn.Module:
    """The classifier of one arm: pools of views in the arm's proportions, then the configured steps."""
    pools = []
    if arm.real:
        pools.append(_real(arm, materials, config, seed))
    if arm.synthetic:
        pools.append(_synthetic(arm, materials, config, seed))
    return fit(pools, materials.train.num_classes, config.classifier, seed=seed, device=device)


def _real(arm: Arm, materials: Materials, config: EvaluateConfig, seed: int) -> Pool:
    share = 1 - _synthetic_share(arm, config)
    pool = _pool(arm, materials.train, config, share, (arm.synthetic_first, 1.0), seed)
    if not arm.soft_labels:
        return pool
    assert materials.judged is not None
    classes = np.eye(materials.train.num_classes)[materials.train.labels]
    soft = (1 - TRUST) * classes + TRUST * materials.judged.real_probabilities
    return replace(pool, soft=torch.from_numpy(soft).float())


def _synthetic(arm: Arm, materials: Materials, config: EvaluateConfig, seed: int) -> Pool:
    synthetic, judged = materials.synthetic, materials.judged
    assert synthetic is not None
    places = np.arange(len(synthetic))
    if arm.keep < 1:
        assert judged is not None
        places = keep_best(synthetic.labels, SCORERS[arm.filter](judged), arm.keep)
    if arm.real:
        places = places[draw_by_ratio(synthetic.take(places), materials.train, _ratio(arm, config), seed=seed)]
    span = (0.0, arm.synthetic_first or 1.0)
    pool = _pool(arm, synthetic.take(places), config, _synthetic_share(arm, config), span, seed + 1)
    if arm.soft_labels:
        assert judged is not None
        pool = replace(pool, soft=torch.from_numpy(judged.probabilities[places]).float())
    if arm.weight == "confidence":
        assert judged is not None
        return replace(pool, weights=torch.from_numpy(confidence(judged)[places]).float())
    return pool if arm.weight == 1 else replace(pool, weights=torch.full((len(places),), arm.weight))


def _pool(
    arm: Arm, data: LabelledImages, config: EvaluateConfig, share: float, span: tuple[float, float], seed: int
) -> Pool:
    """A pool of the arm's views: no more of them than the steps can draw."""
    labels = torch.from_numpy(data.labels)
    if arm.policy is None:
        return Pool(torch.from_numpy(data.images[None]), labels, share, span=span)
    shown = share if not arm.synthetic_first else span[1] - span[0]  # alone in its part of the steps
    drawn = shown * config.classifier.steps * config.classifier.batch_size / len(data)  # times, each image
    views = bank_of_views(
        data,
        arm.policy,
        views=min(config.views, max(math.ceil(drawn), 1)),
        horizontal_flip=config.horizontal_flip,
        seed=seed,
    )
    return Pool(torch.from_numpy(views), labels, share, span=span)


def _ratio(arm: Arm, config: EvaluateConfig) -> float:
    return config.ratio if arm.ratio is None else arm.ratio


def _synthetic_share(arm: Arm, config: EvaluateConfig) -> float:
    if not (arm.real and arm.synthetic):
        return float(arm.synthetic)
    return synthetic_share(_ratio(arm, config)) if arm.share is None else arm.share
