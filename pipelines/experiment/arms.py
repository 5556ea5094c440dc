"""What the classifier of one arm learns from: pools of real and synthetic images as the arm mixes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from augment.dataset.images import LabelledImages, concatenate
from augment.dataset.mixing import draw_by_ratio, synthetic_share
from augment.dataset.policies import bank_of_views
from augment.errors import ConfigError
from augment.filtering import SCORERS, Judged, confidence, keep_best
from classifiers.batches import Pool
from classifiers.training import fit
from pipelines.config.sections import Arm, EvaluateConfig

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
            if arm.real and not arm.by_need:
                kept = keep_best(self.synthetic.labels, np.zeros(len(self.synthetic)), arm.keep)
                draw_by_ratio(self.synthetic.take(kept), self.train, _ratio(arm, config), seed=0)


def train_arm(arm: Arm, materials: Materials, config: EvaluateConfig, *, seed: int, device: torch.device) -> nn.Module:
    """The classifier of one arm: pools of views in the arm's proportions, then the configured steps."""
    if arm.real and arm.synthetic and arm.by_need:
        pools = [_filled_up(arm, materials, config, seed)]
    else:
        pools = [_real(arm, materials, config, seed)] if arm.real else []
        pools += [_synthetic(arm, materials, config, seed)] if arm.synthetic else []
    return fit(pools, materials.train.num_classes, config.classifier, seed=seed, device=device)


def _real(arm: Arm, materials: Materials, config: EvaluateConfig, seed: int) -> Pool:
    share = 1 - _synthetic_share(arm, config)
    pool = _pool(arm, materials.train, config, share, (arm.synthetic_first, 1.0), seed)
    return replace(pool, soft=_soft_of_real(materials)) if arm.soft_labels else pool


def _synthetic(arm: Arm, materials: Materials, config: EvaluateConfig, seed: int) -> Pool:
    synthetic, indices = materials.synthetic, _kept(arm, materials)
    assert synthetic is not None
    if arm.real:
        indices = indices[draw_by_ratio(synthetic.take(indices), materials.train, _ratio(arm, config), seed=seed)]
    span = (0.0, arm.synthetic_first or 1.0)
    pool = _pool(arm, synthetic.take(indices), config, _synthetic_share(arm, config), span, seed + 1)
    return replace(pool, soft=_soft_of_synthetic(arm, materials, indices), weights=_weights(arm, materials, indices))


def _filled_up(arm: Arm, materials: Materials, config: EvaluateConfig, seed: int) -> Pool:
    """One pool of the real and all kept synthetic images, of which the small classes have the most."""
    synthetic, indices = materials.synthetic, _kept(arm, materials)
    assert synthetic is not None
    pool = _pool(arm, concatenate([materials.train, synthetic.take(indices)]), config, 1.0, (0.0, 1.0), seed)
    soft, weights = _soft_of_synthetic(arm, materials, indices), _weights(arm, materials, indices)
    if soft is not None:
        pool = replace(pool, soft=torch.cat([_soft_of_real(materials), soft]))
    return pool if weights is None else replace(pool, weights=torch.cat([torch.ones(len(materials.train)), weights]))


def _kept(arm: Arm, materials: Materials) -> NDArray[np.int64]:
    """Indices of the synthetic images that the arm's filter keeps."""
    assert materials.synthetic is not None
    if arm.keep == 1:
        return np.arange(len(materials.synthetic))
    assert materials.judged is not None
    return keep_best(materials.synthetic.labels, SCORERS[arm.filter](materials.judged), arm.keep)


def _soft_of_real(materials: Materials) -> Tensor:
    """Targets between each real image's class and the teacher's probabilities: float32, N x K."""
    assert materials.judged is not None
    classes = np.eye(materials.train.num_classes)[materials.train.labels]
    return torch.from_numpy((1 - TRUST) * classes + TRUST * materials.judged.real_probabilities).float()


def _soft_of_synthetic(arm: Arm, materials: Materials, indices: NDArray[np.int64]) -> Tensor | None:
    """The teacher's probabilities of synthetic images, float32, M x K, if the arm learns from them."""
    if not arm.soft_labels:
        return None
    assert materials.judged is not None
    return torch.from_numpy(materials.judged.probabilities[indices]).float()


def _weights(arm: Arm, materials: Materials, indices: NDArray[np.int64]) -> Tensor | None:
    """What each synthetic image counts in the loss, float32, M; None if as much as a real one."""
    if arm.weight == "confidence":
        assert materials.judged is not None
        return torch.from_numpy(confidence(materials.judged)[indices]).float()
    return None if arm.weight == 1 else torch.full((len(indices),), arm.weight)


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
