"""An arm learns from unlabelled images too, with the probabilities that a first classifier gives them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from augment.dataset.images import LabelledImages
from augment.errors import ConfigError
from classifiers.training import fit as fit_classifier
from classifiers.training import predict
from pipelines.config.reading import parse
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.arms import check_arms, train_arm
from pipelines.experiment.folds import Fold

CPU = torch.device("cpu")
SETTINGS = {"views": 2, "classifier": {"width": 4, "steps": 4, "batch_size": 8}}


def of(**arm: Any) -> EvaluateConfig:
    return parse(EvaluateConfig, {**SETTINGS, "arms": [{"name": "a", **arm}]}, "the test")


@pytest.fixture(scope="module")
def fold(four: LabelledImages) -> Fold:
    """24 labelled images, 100 unlabelled ones, and 100 of the test."""
    order = np.random.default_rng(0).permutation(400)
    unlabelled = four.take(order[24:124])
    unlabelled = replace(unlabelled, labels=np.zeros(100, np.int64))
    return Fold(four.take(order[:24]), four.take(order[124:224]), (0,), unlabelled=unlabelled)


def test_the_targets_are_the_probabilities_of_the_first_classifier(fold: Fold, monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[Any] = []

    def fit(pools: Any, *rest: Any, **options: Any) -> torch.nn.Module:
        fits.append((pools, fit_classifier(pools, *rest, **options), options["seed"]))
        return fits[-1][1]

    monkeypatch.setattr("pipelines.experiment.learners.fit", fit)
    config = of(unlabelled=0.75, policy="light")
    model = train_arm(config.arms[0], fold, config, seed=3, device=CPU)
    (first, teacher, seed), (second, student, same_seed) = fits
    assert model is student
    assert seed == same_seed
    assert [pool.share for pool in first] == [1.0]
    assert [pool.share for pool in second] == [0.25, 0.75]
    assert torch.equal(first[0].views, second[0].views)
    assert fold.unlabelled is not None
    probabilities = predict(teacher, fold.unlabelled.images).softmax(1)
    assert torch.equal(second[1].soft, probabilities)
    assert torch.equal(second[1].labels, probabilities.argmax(1))
    assert second[1].views.shape == (1, 100, 1, 28, 28)  # of 3 batches of 8, few draws of each
    assert not np.array_equal(second[1].views[0].numpy(), fold.unlabelled.images)


def test_the_shares_of_real_and_synthetic_images_stay_in_proportion(
    fold: Fold, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: list[list[float]] = []

    def fit(pools: Any, *rest: Any, **options: Any) -> torch.nn.Module:
        shares.append([pool.share for pool in pools])
        return fit_classifier(pools, *rest, **options)

    monkeypatch.setattr("pipelines.experiment.learners.fit", fit)
    config = of(unlabelled=0.5, synthetic=True, feed="grid", share=0.2)
    train_arm(config.arms[0], fold, config, seed=3, device=CPU)
    assert shares == [[0.8, 0.2], [0.4, 0.1, 0.5]]


def test_without_unlabelled_images_the_arm_is_refused(fold: Fold) -> None:
    with pytest.raises(
        ConfigError, match=r"arm 'a' learns from unlabelled images, and there are none; give them to `augment run`"
    ):
        check_arms(replace(fold, unlabelled=None), of(unlabelled=0.5))
    check_arms(fold, of(unlabelled=0.5))
