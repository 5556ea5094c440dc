"""Build the training set of one arm, as pools of real and synthetic images, and train its classifier."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
from augment.words import counted, shortened
from classifiers.batches import class_counts, pool_priors
from classifiers.long_tail import LONG_TAIL
from classifiers.pools import SAMPLING, AnyPool, FreshPool, Pool
from classifiers.training import FitConfig
from pipelines.config.arm_section import Arm
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.feature_learning import with_mirror_images
from pipelines.experiment.feeds import check_feed, feed
from pipelines.experiment.folds import Fold
from pipelines.experiment.learners import LEARNERS
from pipelines.experiment.operating_point import favour_rare_classes
from pipelines.experiment.partial_training import FEWEST_TO_HALVE

MOST_BYTES = 2**30  # of the views of a pool
TEACHER_WEIGHT = 0.5  # of the teacher's probabilities in a real image's soft label; the rest is its one-hot class


def arms_of(fold: Fold, config: EvaluateConfig) -> tuple[Arm, ...]:
    """Return the arms of an evaluation, with the mixes that were chosen for this fold."""
    return tuple(arm.model_copy(update=dict(fold.mixes.get(arm.name, {}))) for arm in config.resolved_arms())


def check_arms(fold: Fold, config: EvaluateConfig) -> None:
    """Raise `ConfigError` if the fold lacks unlabelled images, synthetic ones or scores, or has too few, for an arm."""
    for arm in arms_of(fold, config):
        if arm.unlabelled and fold.unlabelled is None:
            raise ConfigError(
                f"arm {arm.name!r} learns from unlabelled images, and there are none; give them to `augment run` with "
                "--set data.unlabelled=DIR"
            )
        if arm.forecast:
            _check_halves(arm, fold)
        if arm.feed:
            check_feed(arm.feed, fold)
        if not arm.synthetic or arm.feed:
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
            # Raises if too few images are left for the ratio; how many the filter keeps does not depend on the scores.
            draw_by_ratio(fold.synthetic.data.take(kept), fold.train, arm.ratio_or(config.ratio), seed=0)


def _check_halves(arm: Arm, fold: Fold) -> None:
    counts = fold.train.per_class()
    smallest = min(counts, key=lambda name: counts[name])
    if counts[smallest] < FEWEST_TO_HALVE:
        raise ConfigError(
            f"arm {arm.name!r} has forecast: true, which trains on half of the images of each class too, and class "
            f"{smallest!r} has {counted(counts[smallest], 'image')}: {FEWEST_TO_HALVE} are needed; leave forecast out"
        )


def train_arm(arm: Arm, fold: Fold, config: EvaluateConfig, *, seed: int, device: torch.device) -> nn.Module:
    """Train the classifier of one arm on its pools of views, by its learner, and find its operating point."""

    def train(fold: Fold, seed: int) -> nn.Module:
        settings = config.model_copy(update={"classifier": config.classifier_of(arm)})
        learner, pools = LEARNERS[arm.learner], _pools(arm, fold, settings, seed)
        model = learner.train(pools, fold, settings, derive_seed(seed, "classifier"), device)
        if not arm.unlabelled:
            return model
        pools = with_unlabelled(pools, arm, model, fold, settings, seed)
        return learner.train(pools, fold, settings, derive_seed(seed, "classifier"), device)

    model = train(fold, seed)
    if arm.is_cross_fitted:
        favour_rare_classes(model, fold, train, LEARNERS[arm.learner].predict, derive_seed(seed, "operating point"))
    return model


def with_unlabelled(
    pools: Sequence[AnyPool], arm: Arm, teacher: nn.Module, fold: Fold, config: EvaluateConfig, seed: int
) -> list[AnyPool]:
    """Return the pools and one of the unlabelled images, whose targets are the probabilities that `teacher` gives.

    Source: Xie et al., "Self-training with Noisy Student", arXiv 1911.04252, section 2: soft pseudo-labels of images
    as they are, learnt in augmented views. All images are kept, also those of which the teacher is unsure.
    """
    assert fold.unlabelled is not None
    learner = LEARNERS[arm.learner]
    logits = learner.predict(teacher, replace(fold, test=fold.unlabelled))
    probabilities = (logits / learner.temperature).softmax(1)
    labelled = replace(fold.unlabelled, labels=probabilities.argmax(1).numpy())
    pool = _pool(arm, labelled, config, arm.unlabelled, (0.0, 1.0), derive_seed(seed, "unlabelled views"))
    others = [replace(one, share=one.share * (1 - arm.unlabelled)) for one in pools]
    return [*others, replace(pool, soft=probabilities)]


def predict_test(arm: Arm, model: nn.Module, fold: Fold) -> Tensor:
    """Return the logits of the fold's test images by a model of `train_arm`: float32, N x K, on the CPU."""
    return LEARNERS[arm.learner].predict(model, fold)


def long_tail_notes(fold: Fold, config: EvaluateConfig) -> list[str]:
    """Return a sentence on the arms whose long-tail method has no effect, since their classes are drawn equally often.

    The list is empty without such arms. The default method is mentioned only if an arm sets it. fold: with
    predictions of cross-fitted classifiers, if the arms need them.
    """
    arms = arms_of(fold, config)
    idle = [arm for arm in arms if _needs_imbalance(arm, config) and _draws_evenly(arm, fold, config)]
    if not idle:
        return []
    names = shortened(", ".join(f"{arm.name} ({config.classifier_of(arm).long_tail})" for arm in idle), 300)
    return [
        "the long-tail method of these arms changes nothing, because their batches have equally many images of each "
        f"class: {names}; give them sampling: plain, if their classes are imbalanced"
    ]


def _needs_imbalance(arm: Arm, config: EvaluateConfig) -> bool:
    """Return whether the arm was given a long-tail method that has an effect on imbalanced classes only."""
    method = config.classifier_of(arm).long_tail
    chosen = arm.long_tail is not None or method != FitConfig().long_tail
    return chosen and arm.learner != "features" and LONG_TAIL[method].needs_imbalance


def _draws_evenly(arm: Arm, fold: Fold, config: EvaluateConfig) -> bool:
    """Return whether each pool, and all batches in each phase of the training, draw the classes equally often."""
    settings = config.classifier_of(arm)
    pools = _pools(arm.model_copy(update={"policy": None}), fold, config, seed=0)  # views do not matter here
    phases = class_counts(pools, fold.train.num_classes, settings.steps, settings.sampling)
    priors = pool_priors(pools, fold.train.num_classes, settings.sampling)
    return bool((priors == priors[:, :1]).all()) and all(bool((counts == counts[0]).all()) for _, counts in phases)


def _pools(arm: Arm, fold: Fold, config: EvaluateConfig, seed: int) -> list[AnyPool]:
    if arm.draws_together:
        return [_combined_pool(arm, fold, config, seed)]
    pools: list[AnyPool] = [_real_pool(arm, fold, config, seed)] if arm.real else []
    if arm.synthetic:
        stored = _drawn_pool if arm.feed else _synthetic_pool
        fresh = arm.feed and arm.learner != "features"
        pools.append(_fresh_pool(arm, fold, config) if fresh else stored(arm, fold, config, seed))
    return pools


def _real_pool(arm: Arm, fold: Fold, config: EvaluateConfig, seed: int) -> Pool:
    share = 1 - _synthetic_share(arm, config)
    pool = _pool(arm, fold.train, config, share, (arm.synthetic_first, 1.0), derive_seed(seed, "views"))
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
    fresh, random = _fresh_pool(arm, fold, config), torch.Generator().manual_seed(derive_seed(seed, "synthetic images"))
    images, labels = fresh.draw(math.ceil(arm.ratio_or(config.ratio) * len(fold.train)), random)
    data = LabelledImages(images.numpy(), labels.numpy(), fold.train.class_names)
    return _pool(arm, data, config, fresh.share, fresh.span, derive_seed(seed, "synthetic views"), fresh.class_weights)


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
    view_seed, of_class = derive_seed(seed, "synthetic views"), _synthetic_class_weights(arm, fold)
    pool = _pool(arm, synthetic.take(indices), config, share, span, view_seed, of_class)
    soft, weights = _synthetic_soft_labels(arm, fold, indices), _weights(arm, fold, indices)
    return replace(pool, soft=soft, weights=weights)


def _combined_pool(arm: Arm, fold: Fold, config: EvaluateConfig, seed: int) -> Pool:
    """Return one pool of the real and all kept synthetic images, for an arm that fills up the small classes."""
    assert fold.synthetic is not None
    synthetic, indices = fold.synthetic.data, _kept_indices(arm, fold)
    pool = _pool(
        arm, concatenate([fold.train, synthetic.take(indices)]), config, 1.0, (0.0, 1.0), derive_seed(seed, "views")
    )
    soft, weights = _synthetic_soft_labels(arm, fold, indices), _weights(arm, fold, indices)
    if soft is not None:
        pool = replace(pool, soft=torch.cat([_real_soft_labels(fold), soft]))
    return pool if weights is None else replace(pool, weights=torch.cat([torch.ones(len(fold.train)), weights]))


def _kept_indices(arm: Arm, fold: Fold) -> NDArray[np.int64]:
    """Return the indices of the synthetic images that the arm's filter keeps."""
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


def _real_soft_labels(fold: Fold) -> Tensor:
    """Return a mean of each real image's one-hot class and the teacher's probabilities: float32, N x K."""
    assert fold.judged is not None
    one_hot = np.eye(fold.train.num_classes)[fold.train.labels]
    return torch.from_numpy((1 - TEACHER_WEIGHT) * one_hot + TEACHER_WEIGHT * fold.judged.real_probabilities).float()


def _synthetic_soft_labels(arm: Arm, fold: Fold, indices: NDArray[np.int64]) -> Tensor | None:
    """Return the teacher's probabilities of synthetic images, float32, M x K; None without soft labels."""
    if not arm.soft_labels:
        return None
    assert fold.judged is not None
    return torch.from_numpy(fold.judged.probabilities[indices]).float()


def _weights(arm: Arm, fold: Fold, indices: NDArray[np.int64]) -> Tensor | None:
    """Return the weight of each synthetic image in the loss, float32, M; None if all weigh as much as a real one."""
    if arm.weight == "confidence":
        assert fold.judged is not None
        return torch.from_numpy(confidence(fold.judged)[indices]).float()
    return None if arm.weight == 1 else torch.full((len(indices),), arm.weight)


def _pool(
    arm: Arm,
    data: LabelledImages,
    config: EvaluateConfig,
    share: float,
    span: tuple[float, float],
    seed: int,
    class_weights: Tensor | None = None,
) -> Pool:
    """Return a pool of views of `data`. class_weights: see `Pool`."""
    labels = torch.from_numpy(data.labels)
    if arm.policy is None:
        mirrored = arm.learner == "features" and config.horizontal_flip
        views = with_mirror_images(data.images) if mirrored else data.images[None]
        return Pool(torch.from_numpy(views), labels, share, span=span, class_weights=class_weights)
    # With synthetic_first a pool has its part of the steps to itself, and its share of a batch does not matter.
    fraction = share if not arm.synthetic_first else span[1] - span[0]
    views = bank_of_views(
        data,
        arm.policy,
        views=views_needed(data, config, fraction, class_weights),
        horizontal_flip=config.horizontal_flip,
        seed=seed,
    )
    return Pool(torch.from_numpy(views), labels, share, span=span, class_weights=class_weights)


def views_needed(
    data: LabelledImages, config: EvaluateConfig, fraction: float, class_weights: Tensor | None = None
) -> int:
    """Return how many views of each image are generated in advance, at most `config.views`.

    No image needs more views than draws: of a class that is drawn often for its size, they are many. They are limited
    to `MOST_BYTES` for all images, but not below the mean number of draws. fraction: of the images of all batches that
    are drawn from `data`. class_weights: see `Pool`.
    """
    counts = torch.from_numpy(data.counts()).double()
    weights = counts ** SAMPLING[config.classifier.sampling] if class_weights is None else class_weights
    draws = fraction * config.classifier.steps * config.classifier.batch_size
    of_class = torch.where(counts > 0, draws * weights / weights[counts > 0].sum() / counts, 0.0)
    most = min(float(of_class.max()), MOST_BYTES / data.images.nbytes)
    return min(config.views, max(math.ceil(most), math.ceil(draws / len(data)), 1))


def _synthetic_share(arm: Arm, config: EvaluateConfig) -> float:
    if not (arm.real and arm.synthetic):
        return float(arm.synthetic)
    return synthetic_share(arm.ratio_or(config.ratio)) if arm.share is None else arm.share
