"""Generators of several folds, fitted in several processes, are those of one process, however often it was stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from observing import Kept
from tensors import step_of
from tiny_pipeline import model, same

from augment.dataset.images import LabelledImages
from augment.dataset.sources import read_source
from augment.generators.base import GeneratorConfig
from augment.generators.cgan import CganConfig
from augment.generators.registry import load_model
from augment.generators.resample import ResampleConfig
from augment.generators.runs import read_log
from augment.runtime import Runtime
from pipelines.config.sections import GenerateConfig
from pipelines.experiment import fold_generators
from pipelines.experiment.fold_generators import FoldGenerators, fit_all, generate_all
from pipelines.experiment.folds import Fold
from pipelines.experiment.parallel import end_processes

STEPS = 60
CONFIG = CganConfig(
    width=4, latent_dim=4, steps=STEPS, batch_size=4, log_every=2, checkpoint_every=3, sample_every=1000
)


@pytest.fixture(autouse=True)
def _frequent_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold_generators, "POLL_SECONDS", 0.005)


@pytest.fixture(scope="module", autouse=True)
def _no_processes_left() -> Iterator[None]:
    with end_processes():
        yield


@pytest.fixture(scope="module")
def folds(shoes: LabelledImages) -> list[Fold]:
    """Three folds, each without another one of the images."""
    return [Fold(shoes.take(np.delete(np.arange(19), i)), shoes, name=f"f{i}", numbers=(i,)) for i in range(3)]


def generators_in(folder: Path, config: GeneratorConfig = CONFIG, **changes: Any) -> FoldGenerators:
    return FoldGenerators(folder, "shoes", config.model_copy(update=changes))


def losses(folder: Path) -> list[tuple[int, dict[str, float]]]:
    return [(line.step, line.losses) for line in read_log(folder / "gan")]


def test_two_processes_and_a_stop_end_like_one_process(folds: list[Fold], tmp_path: Path) -> None:
    """There are more checkpoints than log lines, and the log is still empty at the stop."""
    alone, beside = (generators_in(tmp_path / name, log_every=50) for name in ("alone", "beside"))
    assert fit_all(alone, folds, Runtime(jobs=1))
    kept = Kept()
    stopped = Runtime(jobs=2, stopped=lambda: any(beside.folder.rglob("checkpoints/*.safetensors")), observer=kept)
    assert not fit_all(beside, folds, stopped)
    reached = [step_of(max(path.glob("*"))) for path in beside.folder.rglob("checkpoints")]
    assert any(0 < step < 50 for step in reached)
    assert (len(kept.started), kept.ended) == (1, [])
    assert fit_all(beside, folds, Runtime(jobs=2))
    models = {fold.name: model(alone.folder_of(fold)) for fold in folds}
    for fold in folds:
        assert same(model(beside.folder_of(fold)), models[fold.name])
        assert losses(beside.folder_of(fold)) == losses(alone.folder_of(fold))
    assert not same(models["f0"], models["f1"])


def test_the_losses_are_those_of_a_run_that_still_trains(folds: list[Fold], tmp_path: Path) -> None:
    generators = generators_in(tmp_path)
    assert fit_all(generators, folds[:2], Runtime(jobs=1))
    first, second = (generators.folder_of(fold) / "gan" / "log.jsonl" for fold in folds[:2])
    logs = fold_generators._Logs(generators, folds[:2], overwrite=False)
    first.write_text(first.read_text() + json.dumps({"step": STEPS, "discriminator_loss": 1.5}) + "\n")
    second.write_text('{"step": 1, "discriminator_loss": 7.5}\n')
    assert logs.losses() == {"discriminator_loss": 7.5}
    second.write_text("")
    assert logs.losses() == {"discriminator_loss": 1.5}


@pytest.mark.parametrize("jobs", [1, 2])
def test_progress_never_goes_back_and_reaches_the_total(jobs: int, folds: list[Fold], tmp_path: Path) -> None:
    kept = Kept()
    assert fit_all(generators_in(tmp_path), folds, Runtime(jobs=jobs, observer=kept))
    done = kept.done["fit"]
    assert done == sorted(set(done))
    assert (len(done) > 3, done[-1], kept.started[0].total) == (True, 3 * STEPS, 3 * STEPS)
    assert (len(kept.started), kept.ended) == (1, ["fit"])


@pytest.mark.parametrize(("changes", "overwrite"), [({"loss": "fisher"}, False), ({}, True)])
def test_a_log_that_is_to_be_replaced_is_no_progress(
    changes: dict[str, Any], overwrite: bool, folds: list[Fold], tmp_path: Path
) -> None:
    assert fit_all(generators_in(tmp_path), folds[:2], Runtime(jobs=2))
    kept = Kept()
    assert fit_all(generators_in(tmp_path, **changes), folds, Runtime(jobs=2, observer=kept), overwrite=overwrite)
    assert kept.done["fit"][0] < 2 * STEPS
    again = Kept()
    assert fit_all(generators_in(tmp_path, **changes), folds, Runtime(jobs=2, observer=again))
    assert set(again.done["fit"]) == {3 * STEPS}  # all were finished


def test_one_generator_is_fitted_in_this_process_and_its_progress_reported(folds: list[Fold], tmp_path: Path) -> None:
    kept = Kept()
    calls = iter(range(100))
    assert not fit_all(generators_in(tmp_path), folds[:1], Runtime(stopped=lambda: next(calls) > 8, observer=kept))
    assert (kept.done, kept.ended) == ({"fit": [2, 4, 6, 8]}, [])
    assert fit_all(generators_in(tmp_path), folds[:1], Runtime(observer=kept))
    assert (kept.done["fit"], kept.ended) == ([2, 4, 6, 8, *range(10, STEPS + 1, 2)], ["fit"])


def test_a_kind_without_a_log_is_fitted_and_reported_too(folds: list[Fold], tmp_path: Path) -> None:
    kept = Kept()
    assert fit_all(generators_in(tmp_path, ResampleConfig()), folds, Runtime(jobs=2, observer=kept))
    assert (kept.done, kept.ended) == ({"fit": [3]}, ["fit"])


def test_the_images_of_all_folds_are_one_task(folds: list[Fold], tmp_path: Path) -> None:
    generators, kept = generators_in(tmp_path, ResampleConfig()), Kept()
    assert fit_all(generators, folds, Runtime())
    generate_all(generators, folds, GenerateConfig(per_class=5), Runtime(observer=kept))
    assert (kept.done, kept.started[0].total, kept.ended) == ({"generate": [15, 30, 45]}, 45, ["generate"])
    made = [read_source(generators.folder_of(fold) / "synthetic", image_size=12).train for fold in folds]
    assert [data.per_class() for data in made] == [{"ankle-boot": 5, "sandal": 5, "sneaker": 5}] * 3


def test_unlabelled_images_are_learnt_from_where_the_settings_say_so(folds: list[Fold], tmp_path: Path) -> None:
    given = [replace(fold, unlabelled=fold.test) for fold in folds[:2]]
    for share, expected in ((0.5, 19), (0.0, 0)):
        generators = generators_in(tmp_path / str(share), steps=4, unlabelled=share)
        assert fit_all(generators, given, Runtime(jobs=1))
        assert [load_model(generators.folder_of(fold) / "gan").metadata.unlabelled for fold in given] == [expected] * 2
        assert fold_generators._Logs(generators, given, overwrite=False).last_lines()  # of runs of these images


@pytest.mark.parametrize("number", [1, 2])
def test_fewer_steps_than_before_are_fitted_anew(number: int, folds: list[Fold], tmp_path: Path) -> None:
    for steps in (8, 4, 6):
        assert fit_all(generators_in(tmp_path, steps=steps), folds[:number], Runtime(jobs=1))
        fitted = [load_model(generators_in(tmp_path).folder_of(fold) / "gan") for fold in folds[:number]]
        assert [model.metadata.step for model in fitted] == [steps] * number  # type: ignore[attr-defined]
