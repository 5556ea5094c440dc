"""What the classifier of one arm learns from: pools of real and synthetic images as the arm mixes them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from augment.dataset.images import LabelledImages, concatenate
from augment.dataset.mixing import draw_by_ratio, synthetic_share
from augment.dataset.policies import bank_of_views
from augment.errors import ConfigError
from augment.filtering import FILTERS, confidence, keep_best
from augment.seeds import derive_seed
from classifiers.batches import Pool
from classifiers.training import fit
from pipelines.config.sections import Arm, EvaluateConfig
from pipelines.experiment.folds import Fold

TRUST = 0.5  # of a real image's soft label that is the teacher's; the rest is its class


def arms_of(fold: Fold, config: EvaluateConfig) -> tuple[Arm, ...]:
    """The arms of an evaluation, mixed as was chosen for this fold."""
    return tuple(arm.model_copy(update=dict(fold.mixes.get(arm.name, {}))) for arm in config.resolved_arms())


def check_arms(fold: Fold, config: EvaluateConfig) -> None:
    """Raise `ConfigError` if an arm needs images or scores that are not there."""
    for arm in arms_of(fold, config):
        if not arm.synthetic:
            continue
        if fold.synthetic is None:
            raise ConfigError("the arms use synthetic images and there are none; give --synthetic, or only real arms")
        if arm.keep < 1 and FILTERS[arm.filter].by_classifiers is None and fold.synthetic.scores is None:
            raise ConfigError(
                f"arm {arm.name!r} filters by the generator's scores, and the synthetic images came without; "
                "`augment generate` writes them for generators with a discriminator; or filter by confidence or "
                "distance"
            )
        if arm.real and not arm.by_need:
            labels = fold.synthetic.data.labels
            kept = keep_best(labels, np.zeros(len(labels)), arm.keep)
            draw_by_ratio(fold.synthetic.data.take(kept), fold.train, _ratio(arm, config), seed=0)


def train_arm(arm: Arm, fold: Fold, config: EvaluateConfig, *, seed: int, device: torch.device) -> nn.Module:
    """The classifier of one arm: pools of views in the arm's proportions, then the configured steps."""
    if arm.real and arm.synthetic and arm.by_need:
        pools = [_filled_up(arm, fold, config, seed)]
    else:
        pools = [_real(arm, fold, config, seed)] if arm.real else []
        pools += [_synthetic(arm, fold, config, seed)] if arm.synthetic else []
    seed = derive_seed(seed, "classifier")
    return fit(pools, fold.train.num_classes, config.classifier, seed=seed, device=device)


def _real(arm: Arm, fold: Fold, config: EvaluateConfig, seed: int) -> Pool:
    share = 1 - _synthetic_share(arm, config)
    pool = _pool(arm, fold.train, config, share, (arm.synthetic_first, 1.0), derive_seed(seed, "views"))
    return replace(pool, soft=_soft_of_real(fold)) if arm.soft_labels else pool


def _synthetic(arm: Arm, fold: Fold, config: EvaluateConfig, seed: int) -> Pool:
    assert fold.synthetic is not None
    synthetic, indices = fold.synthetic.data, _kept(arm, fold)
    if arm.real:
        ratio, draw_seed = _ratio(arm, config), derive_seed(seed, "synthetic images")
        indices = indices[draw_by_ratio(synthetic.take(indices), fold.train, ratio, seed=draw_seed)]
    share, span = _synthetic_share(arm, config), (0.0, arm.synthetic_first or 1.0)
    pool = _pool(arm, synthetic.take(indices), config, share, span, derive_seed(seed, "synthetic views"))
    return replace(pool, soft=_soft_of_synthetic(arm, fold, indices), weights=_weights(arm, fold, indices))


def _filled_up(arm: Arm, fold: Fold, config: EvaluateConfig, seed: int) -> Pool:
    """One pool of the real and all kept synthetic images, of which the small classes have the most."""
    assert fold.synthetic is not None
    synthetic, indices = fold.synthetic.data, _kept(arm, fold)
    pool = _pool(
        arm, concatenate([fold.train, synthetic.take(indices)]), config, 1.0, (0.0, 1.0), derive_seed(seed, "views")
    )
    soft, weights = _soft_of_synthetic(arm, fold, indices), _weights(arm, fold, indices)
    if soft is not None:
        pool = replace(pool, soft=torch.cat([_soft_of_real(fold), soft]))
    return pool if weights is None else replace(pool, weights=torch.cat([torch.ones(len(fold.train)), weights]))


def _kept(arm: Arm, fold: Fold) -> NDArray[np.int64]:
    """Indices of the synthetic images that the arm's filter keeps."""
    assert fold.synthetic is not None
    if arm.keep == 1:
        return np.arange(len(fold.synthetic))
    by_classifiers = FILTERS[arm.filter].by_classifiers
    if by_classifiers is None:
        scores = fold.synthetic.scores
    else:
        assert fold.judged is not None
        scores = by_classifiers(fold.judged)
    assert scores is not None
    return keep_best(fold.synthetic.data.labels, scores, arm.keep)


def _soft_of_real(fold: Fold) -> Tensor:
    """Targets between each real image's class and the teacher's probabilities: float32, N x K."""
    assert fold.judged is not None
    classes = np.eye(fold.train.num_classes)[fold.train.labels]
    return torch.from_numpy((1 - TRUST) * classes + TRUST * fold.judged.real_probabilities).float()


def _soft_of_synthetic(arm: Arm, fold: Fold, indices: NDArray[np.int64]) -> Tensor | None:
    """The teacher's probabilities of synthetic images, float32, M x K, if the arm learns from them."""
    if not arm.soft_labels:
        return None
    assert fold.judged is not None
    return torch.from_numpy(fold.judged.probabilities[indices]).float()


def _weights(arm: Arm, fold: Fold, indices: NDArray[np.int64]) -> Tensor | None:
    """What each synthetic image counts in the loss, float32, M; None if as much as a real one."""
    if arm.weight == "confidence":
        assert fold.judged is not None
        return torch.from_numpy(confidence(fold.judged)[indices]).float()
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
