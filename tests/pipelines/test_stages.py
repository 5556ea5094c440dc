"""Each stage declares its inputs and its outputs; only a stage whose inputs changed is run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from observing import Kept
from tiny_pipeline import go, ran

from augment.runtime import CPU, Runtime
from pipelines import stages
from pipelines.config.sections import ChooseConfig, Pipeline
from pipelines.experiment.fold_generators import FoldGenerators
from pipelines.experiment.folds import Fold
from pipelines.experiment.loading import load
from pipelines.experiment.protocols import inner_folds, make_protocol
from pipelines.experiment.time_estimate import Probe
from pipelines.runner import run
from pipelines.stages import STAGES, PipelineFolds, Stage

CHOOSE = {"arm": "none+synthetic", "ratios": [0.5, 1.0], "splits": 1, "repeats": 2}
RUNS = {"fit": "fit_all", "generate": "generate_all", "choose": "choose_mix", "evaluate": "evaluate_folds"}


@pytest.fixture(scope="module")
def choosing(pipeline: Callable[..., Pipeline]) -> Callable[..., Pipeline]:
    """The tiny pipeline with a choice of the mix."""

    def build(**changes: dict[str, Any]) -> Pipeline:
        choose = ChooseConfig.model_validate({**CHOOSE, **changes.pop("choose", {})})
        return pipeline(**changes).model_copy(update={"choose": choose})

    return build


@pytest.fixture(scope="module")
def finished(choosing: Callable[..., Pipeline], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Kept]:
    """A folder with all four stages, and what was reported of them."""
    folder, kept = tmp_path_factory.mktemp("stages") / "out", Kept()
    assert run(choosing(), folder, Runtime(observer=kept)) is not None
    return folder, kept


def stages_of(config: Pipeline, folder: Path) -> dict[str, Stage]:
    loaded = load(config.data)
    protocol = make_protocol(loaded, config.data, config.protocol, config.evaluate.repeats)
    inner = inner_folds(protocol.folds, config.choose, config.data.seed) if config.choose else {}
    folds = PipelineFolds(config, loaded, protocol, inner, FoldGenerators(folder, loaded.name, config.generator))
    return {stage.name: stage for make in STAGES if (stage := make(folds)) is not None}


def test_the_stages_stand_in_their_order_and_the_choice_may_be_missing(
    pipeline: Callable[..., Pipeline], choosing: Callable[..., Pipeline], tmp_path: Path
) -> None:
    assert list(stages_of(choosing(), tmp_path)) == ["fit", "generate", "choose", "evaluate"]
    assert list(stages_of(pipeline(), tmp_path)) == ["fit", "generate", "evaluate"]


def test_a_later_stage_depends_on_all_that_an_earlier_one_does(
    choosing: Callable[..., Pipeline], tmp_path: Path
) -> None:
    inputs = [stage.inputs for stage in stages_of(choosing(), tmp_path).values()]
    for earlier, later in pairwise(inputs):
        assert earlier.settings.items() <= later.settings.items()
        assert earlier.data["training images"] == later.data["training images"]


def test_the_total_of_a_stage_is_what_it_reports(
    choosing: Callable[..., Pipeline], finished: tuple[Path, Kept]
) -> None:
    folder, kept = finished
    totals = {name: stage.total for name, stage in stages_of(choosing(), folder).items()}
    assert {task.name: task.total for task in kept.started} == totals
    assert {name: done[-1] for name, done in kept.done.items()} == totals
    assert kept.ended == ["fit", "generate", "choose", "evaluate"]


UNCHANGED = [
    ({"evaluate": {"ratio": 0.75}}, ["fit", "generate"]),
    ({"choose": {"ratios": [1.0]}}, ["fit", "generate"]),
    ({"generate": {"per_class": 9}}, ["fit"]),
]


@pytest.mark.parametrize(("changes", "spared"), UNCHANGED)
def test_a_stage_whose_inputs_have_not_changed_is_not_run(
    changes: dict[str, Any],
    spared: list[str],
    choosing: Callable[..., Pipeline],
    finished: tuple[Path, Kept],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = Path(shutil.copytree(finished[0], tmp_path / "out"))
    for name in spared:
        monkeypatch.setattr(stages, RUNS[name], None)  # calling it would fail
    plans, results = go(choosing(**changes), folder)
    assert [stage.name for stage in plans if not stage.runs] == spared
    assert results is not None
    monkeypatch.setattr(stages, "evaluate_folds", None)
    assert ran(go(choosing(**changes), folder)[0]) == []


def test_the_estimate_counts_what_a_chosen_mix_needs(
    pipeline: Callable[..., Pipeline], choosing: Callable[..., Pipeline], tmp_path: Path
) -> None:
    """Classifiers are cross-fitted in a fold, if a mix keeps the best images; fidelity is of outer folds."""

    class Counted(Probe):
        def seconds_to_evaluate(self, classifiers: int, **folds: int) -> float:  # type: ignore[override]
            counted.append((classifiers, folds.get("fidelity_folds", 0), folds.get("cross_fitted_folds", 0)))
            return 0.0

    def of(config: Pipeline) -> list[tuple[int, int, int]]:
        counted.clear()
        loaded = load(config.data)
        probe = Counted(Fold(loaded.train, loaded.train), config.evaluate, CPU, 1)
        for stage in stages_of(config, tmp_path).values():
            if stage.name in ("choose", "evaluate"):
                stage.seconds(probe)
        return counted.copy()

    counted: list[tuple[int, int, int]] = []
    folds = {"protocol": {"kind": "kfold", "folds": 2}}
    trainings = stages_of(choosing(**folds), tmp_path)["evaluate"].total
    assert of(pipeline(**folds)) == [(trainings, 2, 0)]
    assert of(choosing(**folds, choose={"keep": [1.0]})) == [(12, 0, 0), (trainings, 2, 0)]
    assert of(choosing(**folds, choose={"keep": [0.5]})) == [(12, 0, 2), (trainings, 2, 2)]
    real = {"evaluate": {"arms": ["none", {"name": "soft", "soft_labels": True}]}}
    assert of(pipeline(**folds, **real)) == [(4, 0, 2)]
