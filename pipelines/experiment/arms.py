"""The arms of a fold: check what they need, and train the classifier of one from its pools of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from augment.dataset.ratios import draw_by_ratio
from augment.errors import ConfigError
from augment.filtering import FILTERS, keep_best
from augment.seeds import derive_seed
from augment.words import counted, shortened
from classifiers.batches import class_counts, pool_priors
from classifiers.features import load_extractor
from classifiers.inception import load_inception
from classifiers.long_tail import LONG_TAIL
from classifiers.pools import AnyPool
from classifiers.training import ClassifierConfig
from pipelines.config.arm_section import Arm
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.arm_pools import pool_of_views, pools_of
from pipelines.experiment.feeds import check_feed
from pipelines.experiment.folds import Fold
from pipelines.experiment.learners import LEARNERS
from pipelines.experiment.operating_point import set_operating_point
from pipelines.experiment.partial_training import MIN_TO_HALVE


def arms_of(fold: Fold, config: EvaluateConfig) -> tuple[Arm, ...]:
    """Return the arms of an evaluation, with the mixes that were chosen for this fold."""
    return tuple(arm.model_copy(update=dict(fold.mixes.get(arm.name, {}))) for arm in config.resolved_arms())


def check_pretrained_weights(config: EvaluateConfig) -> None:
    """Load the pretrained weights that arms or metrics need, and raise `ConfigError` if that fails.

    This finds a wrong file before hours of training and not after them.
    """
    if any(arm.learner != "network" for arm in config.arms):
        load_extractor(config.features)
    if config.inception is not None:
        load_inception(config.inception)


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
        if not arm.uses_stored_images:
            continue
        if fold.synthetic is None:
            raise ConfigError("the arms use synthetic images, but there are none; give --synthetic, or only real arms")
        if arm.keep < 1 and FILTERS[arm.filter] is None and fold.synthetic.scores is None:
            raise ConfigError(
                f"arm {arm.name!r} filters by the generator's scores, but the synthetic images have no scores: "
                "generate them with `augment generate` and a generator that has a discriminator, or filter by "
                "confidence or distance"
            )
        if arm.real and not arm.by_need:
            labels = fold.synthetic.data.labels
            kept = keep_best(labels, np.zeros(len(labels)), arm.keep)
            # Raises if too few images are left for the ratio; how many the filter keeps does not depend on the scores.
            draw_by_ratio(fold.synthetic.data.take(kept), fold.train, arm.ratio_or(config.ratio), seed=0)


def _check_halves(arm: Arm, fold: Fold) -> None:
    counts = fold.train.per_class()
    smallest = min(counts, key=lambda name: counts[name])
    if counts[smallest] < MIN_TO_HALVE:
        raise ConfigError(
            f"arm {arm.name!r} has forecast: true, which trains on half of the images of each class too, and class "
            f"{smallest!r} has {counted(counts[smallest], 'image')}: {MIN_TO_HALVE} are needed; leave forecast out"
        )


def train_arm(arm: Arm, fold: Fold, config: EvaluateConfig, *, seed: int, device: torch.device) -> nn.Module:
    """Train the classifier of one arm on its pools of views, by its learner, and find its operating point."""

    def train(fold: Fold, seed: int) -> nn.Module:
        settings = config.model_copy(update={"classifier": config.classifier_of(arm)})
        learner, pools = LEARNERS[arm.learner], pools_of(arm, fold, settings, seed)
        model = learner.train(pools, fold, settings, derive_seed(seed, "classifier"), device)
        if not arm.unlabelled:
            return model
        pools = with_unlabelled(pools, arm, model, fold, settings, seed)
        return learner.train(pools, fold, settings, derive_seed(seed, "classifier"), device)

    model = train(fold, seed)
    if arm.is_cross_fitted:
        set_operating_point(model, fold, train, LEARNERS[arm.learner].predict, derive_seed(seed, "operating point"))
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
    pool = pool_of_views(arm, labelled, config, derive_seed(seed, "unlabelled views"), share=arm.unlabelled)
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
    chosen = arm.long_tail is not None or method != ClassifierConfig().long_tail
    return chosen and arm.learner != "features" and LONG_TAIL[method].only_if_imbalanced


def _draws_evenly(arm: Arm, fold: Fold, config: EvaluateConfig) -> bool:
    """Return whether what the arm's long-tail method depends on is equal for all classes in all of its training."""
    settings = config.classifier_of(arm)
    pools = pools_of(arm.model_copy(update={"policy": None}), fold, config, seed=0)  # views do not matter here
    if LONG_TAIL[settings.long_tail].uses_pool_priors:
        priors = pool_priors(pools, fold.train.num_classes, settings.sampling)
        return bool((priors == priors[:, :1]).all())
    phases = class_counts(pools, fold.train.num_classes, settings.steps, settings.sampling)
    return all(bool((counts == counts[0]).all()) for _, counts in phases)
