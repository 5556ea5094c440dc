"""The settings of an arm decide how real and synthetic images are drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from augment.dataset.images import LabelledImages
from augment.errors import ConfigError
from augment.filtering import FILTERS, CrossFittedPredictions
from augment.generators.sampling import SyntheticImages
from classifiers.training import ClassifierConfig
from pipelines.config.arm_section import Arm
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.arms import arms_of, check_arms, long_tail_notes, train_arm
from pipelines.experiment.folds import Fold

CONFIG = EvaluateConfig(ratio=0.5, views=2)


@pytest.fixture
def fold(shoes: LabelledImages) -> Fold:
    """19 real images (9, 6, 4) and 38 synthetic ones, the real ones twice and darker, with random scores."""
    rng = np.random.default_rng(0)
    labels = np.tile(shoes.labels, 2)
    synthetic = LabelledImages(np.concatenate([shoes.images // 2, shoes.images // 3]), labels, shoes.class_names)
    probabilities = rng.dirichlet(np.ones(3), 38)
    cross_fitted = CrossFittedPredictions(labels, probabilities, rng.random(38), rng.dirichlet(np.ones(3), 19))
    images = SyntheticImages(synthetic, scores=rng.normal(size=38))
    return Fold(shoes, shoes, (0, 1), synthetic=images, cross_fitted=cross_fitted)


def pools(fold: Fold, monkeypatch: pytest.MonkeyPatch, **arm: Any) -> Any:
    """The pools that reach the classifier, the real one first."""
    monkeypatch.setattr("pipelines.experiment.learners.fit", lambda given, *_, **__: given)
    settings = Arm(name="a", **{"synthetic": True, **arm})
    return train_arm(settings, fold, CONFIG, seed=3, device=torch.device("cpu"))


def places(fold: Fold, images: torch.Tensor) -> list[int]:
    assert fold.synthetic is not None
    return [int((fold.synthetic.data.images == image).all((1, 2, 3)).argmax()) for image in images.numpy()]


def test_an_arm_may_have_a_ratio_and_a_share_of_its_own(fold: Fold, monkeypatch: pytest.MonkeyPatch) -> None:
    real, synthetic = pools(fold, monkeypatch)
    assert (real.share, synthetic.share) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert len(synthetic.labels) == 3 * 3  # 19 / 2 / 3
    real, synthetic = pools(fold, monkeypatch, ratio=1.0, share=0.1)
    assert (real.share, synthetic.share, len(synthetic.labels)) == (0.9, 0.1, 3 * 6)


@pytest.mark.parametrize("name", FILTERS)
def test_only_the_best_are_drawn(name: str, fold: Fold, monkeypatch: pytest.MonkeyPatch) -> None:
    cross_fitted, synthetic_images = fold.cross_fitted, fold.synthetic
    assert cross_fitted is not None
    assert synthetic_images is not None
    assert synthetic_images.scores is not None
    score = {
        "confidence": cross_fitted.probabilities[np.arange(38), cross_fitted.labels],
        "distance": -cross_fitted.distance,
        "score": synthetic_images.scores,
    }[name]
    _, synthetic = pools(fold, monkeypatch, keep=0.5, filter=name)
    for place in places(fold, synthetic.views[0]):
        rivals = score[cross_fitted.labels == cross_fitted.labels[place]]
        assert score[place] >= np.median(rivals)


def test_weights_and_soft_labels_go_with_their_images(fold: Fold, monkeypatch: pytest.MonkeyPatch) -> None:
    cross_fitted = fold.cross_fitted
    assert cross_fitted is not None
    real, synthetic = pools(fold, monkeypatch, keep=0.7, weight="confidence", soft_labels=True)
    chosen = places(fold, synthetic.views[0])
    assert synthetic.weights.numpy() == pytest.approx(cross_fitted.probabilities[chosen, cross_fitted.labels[chosen]])
    np.testing.assert_allclose(synthetic.soft.numpy(), cross_fitted.probabilities[chosen], rtol=1e-6)
    halfway = 0.5 * np.eye(3)[fold.train.labels] + 0.5 * cross_fitted.real_probabilities
    np.testing.assert_allclose(real.soft.numpy(), halfway, rtol=1e-6)
    assert real.weights is None
    (alone,) = pools(fold, monkeypatch, synthetic=False, soft_labels=True)  # the baseline has the same teacher
    np.testing.assert_array_equal(alone.soft.numpy(), real.soft.numpy())
    _, light = pools(fold, monkeypatch, weight=0.25)
    assert light.weights.tolist() == [0.25] * 9


@pytest.mark.parametrize("name", ["score", "discriminator"])  # which was the name of old
def test_a_filter_by_the_generators_scores_needs_no_classifiers(name: str) -> None:
    arm = Arm.model_validate({"name": "best", "synthetic": True, "keep": 0.5, "filter": name})
    assert (arm.filter, arm.needs_cross_fitting) == ("score", False)
    assert arm.model_copy(update={"filter": "confidence"}).needs_cross_fitting
    assert arm.model_copy(update={"weight": "confidence"}).needs_cross_fitting


def test_synthetic_first_then_real(fold: Fold, monkeypatch: pytest.MonkeyPatch) -> None:
    real, synthetic = pools(fold, monkeypatch, synthetic_first=0.3)
    assert (synthetic.span, real.span) == ((0.0, 0.3), (0.3, 1.0))


def test_a_chosen_mix_takes_the_place_of_the_arms_own(fold: Fold) -> None:
    chosen = replace(fold, mixes={"none+synthetic": {"ratio": 2.0, "keep": 0.5}})
    arms = {arm.name: arm for arm in arms_of(chosen, CONFIG)}
    assert (arms["none+synthetic"].ratio, arms["none+synthetic"].keep) == (2.0, 0.5)
    assert (arms["classical+synthetic"].ratio, arms["classical+synthetic"].keep) == (None, 1.0)


def test_an_arm_trains_by_its_own_sampling_and_method(fold: Fold) -> None:
    """As an evaluation whose classifier has these settings."""
    settings = ClassifierConfig(width=4, steps=6, batch_size=10)
    own = settings.model_copy(update={"sampling": "plain", "long_tail": "effective-number"})
    arms = [Arm(name="a"), Arm(name="b", sampling="plain", long_tail="effective-number"), Arm(name="c")]
    configs = [EvaluateConfig(classifier=c, arms=tuple(arms)) for c in (settings, settings, own)]
    usual, by_arm, by_evaluation = (
        train_arm(arm, fold, config, seed=1, device=torch.device("cpu")).state_dict()["head.weight"]
        for arm, config in zip(arms, configs, strict=True)
    )
    assert torch.equal(by_arm, by_evaluation)
    assert not torch.equal(usual, by_arm)


def test_a_method_without_effect_is_named_once(fold: Fold) -> None:
    arms = (
        Arm(name="plain", sampling="plain", long_tail="logit-adjustment"),
        Arm(name="even", long_tail="logit-adjustment"),
        Arm(name="even+synthetic", synthetic=True, policy="light", keep=0.5, long_tail="logit-adjustment-post-hoc"),
        Arm(name="soft", soft_labels=True, long_tail="logit-adjustment"),
        Arm(name="margins", long_tail="ldam-drw"),
        Arm(name="nothing"),
    )
    even = ClassifierConfig(sampling="balanced")
    (note,) = long_tail_notes(fold, CONFIG.model_copy(update={"arms": arms, "classifier": even}))
    assert ": even (logit-adjustment), even+synthetic (logit-adjustment-post-hoc); give them sampling: plain" in note
    assert long_tail_notes(fold, CONFIG) == []


def test_a_method_has_an_effect_if_one_phase_is_imbalanced(fold: Fold) -> None:
    """The first half has equally many synthetic images of each class, the second one 9, 6 and 4 real ones."""
    arm = Arm(name="a", sampling="plain", long_tail="logit-adjustment", synthetic=True, synthetic_first=0.5)
    assert long_tail_notes(fold, CONFIG.model_copy(update={"arms": (arm,)})) == []
    even = arm.model_copy(update={"sampling": "balanced"})
    assert len(long_tail_notes(fold, CONFIG.model_copy(update={"arms": (even,)}))) == 1


def test_pools_with_opposite_priors_are_not_even_although_their_counts_are(fold: Fold) -> None:
    """Half of a batch is real, of 9 and 6 images of two classes, and half synthetic, drawn 6 to 9."""
    two = replace(fold, train=fold.train.take(np.flatnonzero(fold.train.labels < 2)), synthetic=None)
    arm = Arm(name="a", sampling="plain", long_tail="logit-adjustment", synthetic=True, feed="grid", ratio=1.0)
    opposite = arm.model_copy(update={"class_exponent": -1.0})
    assert long_tail_notes(two, CONFIG.model_copy(update={"arms": (opposite,)})) == []


def test_what_an_arm_lacks_is_named_before_it_is_trained(fold: Fold) -> None:
    def check(without: Fold, **arm: Any) -> None:
        check_arms(without, EvaluateConfig(arms=(Arm(name="a", synthetic=True, **arm),)))

    check(fold, keep=0.5, ratio=0.5, filter="score")
    with pytest.raises(ConfigError, match="filters by the generator's scores, but the synthetic images have no scores"):
        check(replace(fold, synthetic=replace(fold.synthetic, scores=None)), keep=0.5, ratio=0.5, filter="score")
    with pytest.raises(ConfigError, match=r"class 'ankle-boot' has 2; generate more, keep more or lower the ratio"):
        check(fold, keep=0.25, ratio=1.0)
    with pytest.raises(ConfigError, match="there are none; give --synthetic"):
        check(replace(fold, synthetic=None))
    with pytest.raises(ConfigError, match="feed that needs a generator, but there is none: compare"):
        check(fold, feed="generator")
    check(fold, feed="grid")


def test_a_forecast_needs_images_that_can_be_halved(shoes: LabelledImages) -> None:
    arm = EvaluateConfig(arms=(Arm(name="a", forecast=True),))
    check_arms(Fold(shoes, shoes), arm)  # the smallest class has 4 images
    fewer = shoes.take(np.setdiff1d(np.arange(len(shoes)), np.flatnonzero(shoes.labels == 2)[:1]))
    with pytest.raises(ConfigError, match="'ankle-boot' has 3 images: 4 are needed; leave forecast out"):
        check_arms(Fold(fewer, shoes), arm)
