"""Build the training set of one arm, as pools of real and synthetic images."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from augment.dataset.images import LabelledImages, concatenate
from augment.dataset.policies import bank_of_views
from augment.dataset.ratios import draw_by_ratio, synthetic_share
from augment.filtering import FILTERS, confidence, keep_best
from augment.seeds import derive_seed
from classifiers.pools import AnyPool, FreshPool, Pool, draw_probabilities
from pipelines.config.arm_section import Arm
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.feature_learning import with_mirror_images
from pipelines.experiment.feeds import feed
from pipelines.experiment.folds import Fold
from pipelines.experiment.kept_views import shared_views

MAX_BYTES = 2**30  # of the views of a pool
TEACHER_WEIGHT = 0.5  # of the teacher's probabilities in a real image's soft label; the rest is its one-hot class


def pools_of(arm: Arm, fold: Fold, config: EvaluateConfig, seed: int) -> list[AnyPool]:
    """Return the pools that the classifier of an arm learns from: real images, synthetic ones, or both in one."""
    if arm.draws_together:
        return [_combined_pool(arm, fold, config, seed)]
    pools: list[AnyPool] = [_real_pool(arm, fold, config, seed)] if arm.real else []
    if arm.synthetic:
        make_pool = _drawn_pool if arm.feed else _synthetic_pool
        fresh = arm.feed and arm.learner != "features"
        pools.append(_fresh_pool(arm, fold, config) if fresh else make_pool(arm, fold, config, seed))
    return pools


def _real_pool(arm: Arm, fold: Fold, config: EvaluateConfig, seed: int) -> Pool:
    share = 1 - _synthetic_share(arm, config)
    span = (arm.synthetic_first, 1.0)
    pool = pool_of_views(arm, fold.train, config, derive_seed(seed, "views"), share=share, span=span, shared=True)
    return replace(pool, soft=_real_soft_labels(fold)) if arm.soft_labels else pool


def _fresh_pool(arm: Arm, fold: Fold, config: EvaluateConfig) -> FreshPool:
    assert arm.feed is not None
    return FreshPool(
        feed(arm.feed, fold, arm.policy, horizontal_flip=config.horizontal_flip),
        torch.from_numpy(np.flatnonzero(fold.train.counts())),
        fold.train.images.shape[1:],
        _synthetic_share(arm, config),
        (0.0, arm.synthetic_first or 1.0),
        _synthetic_class_weights(arm, fold),
    )


def _drawn_pool(arm: Arm, fold: Fold, config: EvaluateConfig, seed: int) -> Pool:
    """Return as many images of the arm's feed as its ratio says, for a learner that sees all images at once."""
    fresh, rng = _fresh_pool(arm, fold, config), torch.Generator().manual_seed(derive_seed(seed, "synthetic images"))
    images, labels = fresh.draw(math.ceil(arm.ratio_or(config.ratio) * len(fold.train)), rng)
    data = LabelledImages(images.numpy(), labels.numpy(), fold.train.class_names)
    return pool_of_views(
        arm,
        data,
        config,
        derive_seed(seed, "synthetic views"),
        share=fresh.share,
        span=fresh.span,
        class_weights=fresh.class_weights,
    )


def _synthetic_class_weights(arm: Arm, fold: Fold) -> Tensor:
    """Return how often each class is drawn among the synthetic images, relative to the others: float64, K."""
    counts = torch.from_numpy(fold.train.counts()).double()
    return torch.where(counts > 0, counts.clamp(min=1) ** arm.class_exponent, 0.0)


def _synthetic_pool(arm: Arm, fold: Fold, config: EvaluateConfig, seed: int) -> Pool:
    assert fold.synthetic is not None
    synthetic, indices = fold.synthetic.data, _kept_indices(arm, fold)
    if arm.real and not arm.by_need:
        ratio, draw_seed = arm.ratio_or(config.ratio), derive_seed(seed, "synthetic images")
        indices = indices[draw_by_ratio(synthetic.take(indices), fold.train, ratio, seed=draw_seed)]
    share, span = _synthetic_share(arm, config), (0.0, arm.synthetic_first or 1.0)
    drawn, class_weights = synthetic.take(indices), _synthetic_class_weights(arm, fold)
    view_seed = derive_seed(seed, "synthetic views")
    pool = pool_of_views(arm, drawn, config, view_seed, share=share, span=span, class_weights=class_weights)
    soft, weights = _synthetic_soft_labels(arm, fold, indices), _weights(arm, fold, indices)
    return replace(pool, soft=soft, weights=weights)


def _combined_pool(arm: Arm, fold: Fold, config: EvaluateConfig, seed: int) -> Pool:
    """Return one pool of the real and all kept synthetic images, for an arm that fills up the small classes."""
    assert fold.synthetic is not None
    synthetic, indices = fold.synthetic.data, _kept_indices(arm, fold)
    both = concatenate([fold.train, synthetic.take(indices)])
    pool = pool_of_views(arm, both, config, derive_seed(seed, "views"), share=1.0)
    soft, weights = _synthetic_soft_labels(arm, fold, indices), _weights(arm, fold, indices)
    if soft is not None:
        pool = replace(pool, soft=torch.cat([_real_soft_labels(fold), soft]))
    return pool if weights is None else replace(pool, weights=torch.cat([torch.ones(len(fold.train)), weights]))


def _kept_indices(arm: Arm, fold: Fold) -> NDArray[np.int64]:
    """Return the indices of the synthetic images that the arm's filter keeps."""
    assert fold.synthetic is not None
    if arm.keep == 1:
        return np.arange(len(fold.synthetic))
    by_classifiers = FILTERS[arm.filter]
    if by_classifiers is None:
        scores = fold.synthetic.scores
    else:
        assert fold.cross_fitted is not None
        scores = by_classifiers(fold.cross_fitted)
    assert scores is not None
    return keep_best(fold.synthetic.data.labels, scores, arm.keep)


def _real_soft_labels(fold: Fold) -> Tensor:
    """Return a mean of each real image's one-hot class and the teacher's probabilities: float32, N x K."""
    assert fold.cross_fitted is not None
    one_hot = np.eye(fold.train.num_classes)[fold.train.labels]
    targets = (1 - TEACHER_WEIGHT) * one_hot + TEACHER_WEIGHT * fold.cross_fitted.real_probabilities
    return torch.from_numpy(targets).float()


def _synthetic_soft_labels(arm: Arm, fold: Fold, indices: NDArray[np.int64]) -> Tensor | None:
    """Return the teacher's probabilities of synthetic images, float32, M x K; None without soft labels."""
    if not arm.soft_labels:
        return None
    assert fold.cross_fitted is not None
    return torch.from_numpy(fold.cross_fitted.probabilities[indices]).float()


def _weights(arm: Arm, fold: Fold, indices: NDArray[np.int64]) -> Tensor | None:
    """Return the weight of each synthetic image in the loss, float32, M; None if all weigh as much as a real one."""
    if arm.weight == "confidence":
        assert fold.cross_fitted is not None
        return torch.from_numpy(confidence(fold.cross_fitted)[indices]).float()
    return None if arm.weight == 1 else torch.full((len(indices),), arm.weight)


def pool_of_views(
    arm: Arm,
    data: LabelledImages,
    config: EvaluateConfig,
    seed: int,
    *,
    share: float,
    span: tuple[float, float] = (0.0, 1.0),
    class_weights: Tensor | None = None,
    shared: bool = False,
) -> Pool:
    """Return a pool of `data` in views of the arm's policy. share, span, class_weights: see `Pool`.

    shared: whether other arms of the repeat use the same views, which are then computed once; see `shared_views`.
    """
    images, labels = torch.from_numpy(data.images[None]), torch.from_numpy(data.labels)
    pool = Pool(images, labels, share, span=span, class_weights=class_weights)
    if arm.policy is None:
        mirrored = arm.learner == "features" and config.horizontal_flip
        return replace(pool, views=torch.from_numpy(with_mirror_images(data.images))) if mirrored else pool
    # With synthetic_first a pool has its part of the steps to itself, and its share of a batch does not matter.
    fraction = share if not arm.synthetic_first else span[1] - span[0]
    make_views = shared_views if shared else bank_of_views
    views = make_views(
        data,
        arm.policy,
        views=views_needed(pool, config, fraction),
        horizontal_flip=config.horizontal_flip,
        seed=seed,
    )
    return replace(pool, views=torch.from_numpy(views))


def views_needed(pool: Pool, config: EvaluateConfig, fraction: float) -> int:
    """Return how many views of each image of a pool are generated in advance, at most `config.views`.

    No image needs more views than draws: of a class that is drawn often for its size, they are many. They are limited
    to `MAX_BYTES` for all images, but not below the mean number of draws. pool: with one view. fraction: of the images
    of all batches that are drawn from the pool.
    """
    draws = fraction * config.classifier.steps * config.classifier.batch_size
    most = draws * float(draw_probabilities(pool, config.classifier.sampling).max())
    limited = min(most, MAX_BYTES / pool.views.nbytes)
    return min(config.views, max(math.ceil(limited), math.ceil(draws / len(pool.labels)), 1))


def bytes_of_views(arm: Arm, fold: Fold, config: EvaluateConfig, generated: int) -> int:
    """Return at most how many bytes the views of an arm's pools have. generated: the number of stored images."""
    if arm.policy is None:
        return 0
    settings, ratio = config.model_copy(update={"classifier": config.classifier_of(arm)}), arm.ratio_or(config.ratio)
    drawn = generated if arm.by_need or not arm.real else min(generated, math.ceil(ratio * len(fold.train)))
    labels = [torch.from_numpy(fold.train.labels)] if arm.real else []
    labels += [torch.arange(drawn) % fold.train.num_classes] if arm.uses_stored_images and drawn else []
    labels += (
        [torch.zeros(len(fold.unlabelled), dtype=torch.int64)] if arm.unlabelled and fold.unlabelled is not None else []
    )
    image = torch.zeros(fold.train.images.shape[1:], dtype=torch.uint8)
    pools = [Pool(image.expand(1, len(some), *image.shape), some) for some in labels]  # it takes no memory
    return sum(views_needed(pool, settings, 1.0) * pool.views.nbytes for pool in pools)


def _synthetic_share(arm: Arm, config: EvaluateConfig) -> float:
    if not (arm.real and arm.synthetic):
        return float(arm.synthetic)
    return synthetic_share(arm.ratio_or(config.ratio)) if arm.share is None else arm.share
