"""The baseline is tuned on validation images, begins with what there is, and continues where it stopped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from observing import Kept

from augment.dataset.images import LabelledImages, split_per_class, subset_per_class
from augment.dataset.policies import POLICIES
from augment.errors import ConfigError, OutputError
from augment.output_folders import open_output
from augment.runtime import Runtime
from augment.seeds import derive_seed
from classifiers.long_tail import LONG_TAIL
from classifiers.pools import SAMPLING
from classifiers.training import ClassifierConfig, predict
from pipelines.config.arm_section import Arm
from pipelines.config.reading import load_evaluate_config
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.arms import train_arm
from pipelines.experiment.folds import Fold
from pipelines.experiment.records import RecordFile
from pipelines.tuning import TuningResult, select, tune
from pipelines.tuning_search import LR, MIXUP, WEIGHT_DECAY, Search, Trial, import_optuna

CPU = torch.device("cpu")
CONFIG = EvaluateConfig(views=2, horizontal_flip=True, classifier=ClassifierConfig(width=4, steps=5, batch_size=10))


@pytest.fixture(scope="module")
def images(fashion: LabelledImages) -> LabelledImages:
    return subset_per_class(fashion, 8, seed=0)


def go(
    images: LabelledImages, folder: Path, trials: int, config: EvaluateConfig = CONFIG, **options: Any
) -> TuningResult | None:
    runtime = Runtime(**{key: options.pop(key) for key in ("stopped", "observer") if key in options})
    return tune(images, config, folder, runtime, trials=trials, splits=2, **options)


@pytest.fixture(scope="module")
def done(images: LabelledImages, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TuningResult]:
    folder = tmp_path_factory.mktemp("tuned") / "out"
    tuned = go(images, folder, 6)
    assert tuned is not None
    return folder, tuned


def test_the_settings_found_are_no_worse_on_further_splits(done: tuple[Path, TuningResult]) -> None:
    _, tuned = done
    assert tuned.trials == 6
    assert 0 <= tuned.initial_score <= tuned.score <= 1
    assert tuned.unchanged == (tuned.config == CONFIG)
    assert tuned.config.policy in POLICIES
    assert LR[0] <= tuned.config.classifier.lr <= LR[1]
    assert WEIGHT_DECAY[0] <= tuned.config.classifier.weight_decay <= WEIGHT_DECAY[1]
    assert MIXUP[0] <= tuned.config.classifier.mixup <= MIXUP[1]


def test_an_evaluation_accepts_the_settings_found(done: tuple[Path, TuningResult]) -> None:
    folder, tuned = done
    config = load_evaluate_config(folder / "best.yaml", arms=None, has_synthetic=True, steps=None)
    assert config == tuned.config
    found = yaml.safe_load((folder / "best.yaml").read_text())
    assert found["horizontal_flip"] is True
    assert "repeats" not in found


def test_a_stopped_search_goes_on(done: tuple[Path, TuningResult], images: LabelledImages, tmp_path: Path) -> None:
    asked = iter([False, False, True])
    assert go(images, tmp_path / "out", 6, stopped=lambda: next(asked)) is None
    assert not (tmp_path / "out" / "best.yaml").exists()
    kept = Kept()
    asked = iter([False] * 6 + [True])
    assert go(images, tmp_path / "out", 6, observer=kept, stopped=lambda: next(asked)) is None
    assert kept.done == {"tune": [2, 3, 4, 5, 6, 7, 8]}  # first what was done
    assert (kept.started[0].total, kept.ended) == (12, [])
    assert not (tmp_path / "out" / "best.yaml").exists()
    kept = Kept()
    assert go(images, tmp_path / "out", 6, observer=kept) == done[1]
    assert kept.done == {"tune": [6, 7, 8, 9, 10, 11, 12]}  # two of them read from the disk
    assert kept.ended == ["tune"]
    finals = [json.loads(line)["split"] for line in (tmp_path / "out/finalists.jsonl").read_text().splitlines()]
    assert sorted(finals) == sorted(4 * list(range(2, 8)))


@pytest.mark.parametrize("kept", [0, 1, 4, 5])
def test_a_trial_that_was_cut_off_is_repeated_as_it_was(
    kept: int, done: tuple[Path, TuningResult], images: LabelledImages, tmp_path: Path
) -> None:
    folder = shutil.copytree(done[0], tmp_path / "out")
    lines = (folder / "trials.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "best.yaml").unlink()
    (folder / "finalists.jsonl").unlink()
    (folder / "trials.jsonl").write_bytes(b"".join(lines[:kept]) + lines[kept][:-30])
    assert go(images, folder, 6) == done[1]
    assert (folder / "trials.jsonl").read_bytes() == b"".join(lines)


def test_one_trial_has_the_score_of_the_first_settings(images: LabelledImages, tmp_path: Path) -> None:
    no_decay = CONFIG.model_copy(update={"classifier": CONFIG.classifier.model_copy(update={"weight_decay": 0.0})})
    tuned = go(images, tmp_path / "out", 1, no_decay)
    assert tuned is not None
    seeds = [derive_seed(0, "tuning split", split) for split in range(2)]
    parts = [split_per_class(images, 0.3, seed=seed) for seed in seeds]
    scores = [
        accuracy(
            train_arm(
                Arm(name="tuned", policy=CONFIG.policy),
                Fold(*part),
                no_decay,
                seed=derive_seed(0, "tuning", split),
                device=CPU,
            ),
            part[1],
        )
        for split, part in enumerate(parts)
    ]
    assert tuned.score == pytest.approx(np.mean(scores))


def accuracy(network: torch.nn.Module, data: LabelledImages) -> float:
    return float((predict(network, data.images).argmax(1).numpy() == data.labels).mean())


def test_a_budget_of_minutes_ends_it_after_one_round(images: LabelledImages, tmp_path: Path) -> None:
    tuned = go(images, tmp_path / "out", 50, minutes=1e-9)
    assert tuned is not None
    assert (tuned.trials, tuned.unchanged) == (1, True)
    assert tuned.config == CONFIG


def test_settings_are_changed_only_for_more_than_chance() -> None:
    """Of four equal settings the first is kept two times in three; a better one replaces it."""
    rng = np.random.default_rng(0)
    equal = np.array([select(rng.normal(0, 1, (9, 4))) for _ in range(500)])
    assert (equal == 0).mean() > 0.6
    better = [select(rng.normal((0, 0, 3, 0), 1, (9, 4))) for _ in range(100)]
    assert better.count(2) > 95
    worse = [select(rng.normal((3, 0, 0, 0), 1, (9, 4))) for _ in range(100)]
    assert worse.count(0) > 95
    assert select(np.full((2, 3), 0.5)) == 0


def test_a_search_over_other_images_is_left_alone(done: tuple[Path, TuningResult], images: LabelledImages) -> None:
    folder, _ = done
    before = (folder / "best.yaml").read_bytes()
    fewer = images.take(np.arange(len(images) - 1))
    with pytest.raises(OutputError, match=r"was started with other settings \(other training images\)"):
        go(fewer, folder, 6)
    with pytest.raises(OutputError, match=r"was started with other settings \(evaluate.seed: 0, now 3\)"):
        go(images, folder, 6, CONFIG.model_copy(update={"seed": 3}))
    assert (folder / "best.yaml").read_bytes() == before


def test_sampling_and_long_tail_method_are_tuned_under_imbalance(shoes: LabelledImages, tmp_path: Path) -> None:
    settings = {"sampling": "plain", "long_tail": "effective-number"}
    lost = CONFIG.model_copy(update={"classifier": CONFIG.classifier.model_copy(update=settings)})
    tuned = go(shoes, tmp_path / "out", 10, lost)  # 9, 6 and 4 images
    assert tuned is not None
    trials = [json.loads(line)["params"] for line in (tmp_path / "out" / "trials.jsonl").read_text().splitlines()]
    assert trials[0].items() >= settings.items()
    assert {trial["sampling"] for trial in trials} == set(SAMPLING)
    methods = {trial["long_tail"] for trial in trials}
    assert len(methods) > 3
    assert methods <= set(LONG_TAIL)
    found = load_evaluate_config(tmp_path / "out" / "best.yaml", arms=None, has_synthetic=True, steps=None)
    assert found.classifier == tuned.config.classifier


def test_the_search_goes_on_from_trials_with_fewer_settings(tmp_path: Path) -> None:
    """As an older version left them."""
    params: dict[str, str | float] = {"policy": "light", "lr": 0.01, "weight_decay": 0.1, "sampling": "plain"}
    with open_output(tmp_path / "out", "tune", files=("trials.jsonl",)) as output:
        file = RecordFile(output, "trials.jsonl", Trial)
        file.append(*(Trial(number=number, params=params, value=0.5) for number in range(2)))
        (proposed,) = Search(import_optuna(), CONFIG, file, imbalanced=True).propose(2, 1)
    assert proposed["long_tail"] in LONG_TAIL
    assert MIXUP[0] <= proposed["mixup"] <= MIXUP[1]


def test_a_search_that_begins_without_mixup_tries_it(tmp_path: Path) -> None:
    unmixed = CONFIG.model_copy(update={"classifier": CONFIG.classifier.model_copy(update={"mixup": 0.0})})
    with open_output(tmp_path / "out", "tune", files=("trials.jsonl",)) as output:
        search = Search(import_optuna(), unmixed, RecordFile(output, "trials.jsonl", Trial), imbalanced=True)
        first, *others = search.propose(0, 8)
    assert search.config_of(0, first) == unmixed
    assert all(MIXUP[0] <= search.config_of(1, params).classifier.mixup <= MIXUP[1] for params in others)
    assert max(params["mixup"] for params in others) > 0.1


def test_methods_that_the_operating_point_forbids_are_not_tried(tmp_path: Path) -> None:
    shifted = CONFIG.model_copy(update={"operating_point": "cross-fitted"})
    with open_output(tmp_path / "out", "tune", files=("trials.jsonl",)) as output:
        file = RecordFile(output, "trials.jsonl", Trial)
        methods = [
            {params["long_tail"] for params in Search(import_optuna(), config, file, imbalanced=True).propose(0, 60)}
            for config in (CONFIG, shifted)
        ]
    assert methods == [set(LONG_TAIL), set(LONG_TAIL) - {"ldam-drw"}]


def test_even_classes_are_left_as_they_are_drawn(done: tuple[Path, TuningResult]) -> None:
    trials = (done[0] / "trials.jsonl").read_text()
    assert "sampling" not in trials
    assert "long_tail" not in trials


def test_settings_that_learn_nothing_are_not_chosen(images: LabelledImages, tmp_path: Path) -> None:
    """A useless learning rate to begin with: anything else is better."""
    lost = ClassifierConfig(width=4, steps=25, batch_size=20, lr=1e-6, weight_decay=0.0)
    tuned = go(images, tmp_path / "out", 9, CONFIG.model_copy(update={"classifier": lost}))
    assert tuned is not None
    assert tuned.config.classifier.lr > 1e-4
    assert tuned.score > tuned.initial_score


def test_without_optuna_the_error_names_its_installation(
    images: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"pip install 'optuna>=4\.0'"):
        go(images, tmp_path / "out", 2)
    assert not (tmp_path / "out").exists()
