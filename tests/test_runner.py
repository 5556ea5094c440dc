"""A pipeline runs what has to be run, says why, and continues where it stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensors import weights

from augment.errors import ConfigError, OutputError
from pipelines.config.reading import parse
from pipelines.config.sections import Pipeline
from pipelines.experiment.loading import load
from pipelines.runner import Events, plan, run
from pipelines.stage_file import Plan

TINY: dict[str, Any] = {
    "data": {"image_size": 12, "samples_per_class": 6},
    "gan": {"width": 4, "latent_dim": 8, "steps": 6, "batch_size": 8, "log_every": 2, "checkpoint_every": 2},
    "generate": {"per_class": 8},
    "protocol": {"kind": "holdout", "redraw_generator": False},
    "evaluate": {
        "arms": ["none", "none+synthetic"],
        "repeats": 2,
        "classifier": {"width": 4, "steps": 3, "batch_size": 6},
    },
}
ALL = ["fit", "generate", "evaluate"]


@pytest.fixture
def pipeline(image_folder: Path) -> Callable[..., Pipeline]:
    """The tiny pipeline on the user's folder, with some keys of its sections changed."""

    def build(**changes: dict[str, Any]) -> Pipeline:
        tree = {name: {**section, **changes.get(name, {})} for name, section in TINY.items()}
        tree["data"]["source"] = str(image_folder)
        return parse(Pipeline, tree, "the test")

    return build


@pytest.fixture(scope="module")
def done(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("done") / "out"
    tree = {**TINY, "data": {**TINY["data"], "source": str(image_folder)}}
    run(parse(Pipeline, tree, "the test"), folder, device=torch.device("cpu"), jobs=1)
    return folder


@pytest.fixture
def out(done: Path, tmp_path: Path) -> Path:
    """A finished folder of the tiny pipeline."""
    return Path(shutil.copytree(done, tmp_path / "out"))


def go(pipeline: Pipeline, folder: Path, **options: Any) -> tuple[list[Plan], dict[str, Any] | None]:
    stages: list[Plan] = []
    events = Events(on_stage=stages.append)
    results = run(pipeline, folder, device=torch.device("cpu"), jobs=1, events=events, **options)
    return stages, results


def ran(stages: list[Plan]) -> list[str]:
    return [stage.name for stage in stages if stage.runs]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def model(folder: Path) -> dict[str, torch.Tensor]:
    return weights(folder / "gan" / "model.safetensors")


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_pipeline_leaves_a_run_images_and_an_evaluation(done: Path) -> None:
    files = contents(done)
    assert {"config.yaml", "stages.json", "gan/config.yaml", "gan/model.safetensors"} <= files.keys()
    assert {"synthetic/manifest.csv", "evaluation/results.json", "evaluation/report.html"} <= files.keys()
    assert sum(name.endswith(".png") and name.startswith("synthetic/") for name in files) == 3 * 8


def test_a_second_run_does_nothing_and_returns_the_same(
    out: Path, pipeline: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(out)
    monkeypatch.setattr("pipelines.runner.STAGES", {})
    stages, results = go(pipeline(), out)
    assert (ran(stages), contents(out)) == ([], before)
    assert {stage.why for stage in stages} == {"done, and nothing that it depends on has changed"}
    assert results == json.loads(before["evaluation/results.json"])


CHANGES = [
    ({"evaluate": {"ratio": 0.5}}, ["evaluate"], "evaluate.ratio: 1.0, now 0.5"),
    (
        {"evaluate": {"classifier": {"width": 4, "steps": 4, "batch_size": 6}}},
        ["evaluate"],
        "evaluate.classifier.steps: 3, now 4",
    ),
    ({"generate": {"per_class": 9}}, ["generate", "evaluate"], "generate.per_class: 8, now 9"),
    ({"gan": {"loss": "wasserstein"}}, ALL, "gan.loss: hinge, now wasserstein"),
    ({"data": {"seed": 3}}, ALL, "other training images"),
]


@pytest.mark.parametrize(("changes", "expected", "why"), CHANGES)
def test_a_change_reruns_what_depends_on_it_and_says_why(
    changes: dict[str, Any], expected: list[str], why: str, out: Path, pipeline: Callable[..., Pipeline]
) -> None:
    changed = pipeline(**changes)
    stages, results = go(changed, out)
    assert ran(stages) == expected
    assert next(stage.why for stage in stages if stage.runs) == why
    assert results is not None
    assert ran(go(changed, out)[0]) == []


def test_after_a_change_the_folder_is_what_a_fresh_run_would_have_made(
    out: Path, tmp_path: Path, pipeline: Callable[..., Pipeline]
) -> None:
    changed = pipeline(gan={"seed": 5}, generate={"per_class": 7})
    go(changed, out)
    go(changed, tmp_path / "fresh")
    assert same(model(out), model(tmp_path / "fresh"))
    ours, theirs = (
        {name: data for name, data in contents(folder).items() if "synthetic/" in name or "results.json" in name}
        for folder in (out, tmp_path / "fresh")
    )
    assert ours == theirs


def test_more_steps_continue_the_training(out: Path, tmp_path: Path, pipeline: Callable[..., Pipeline]) -> None:
    longer = pipeline(gan={"steps": 10})
    stages, _ = go(longer, out)
    assert ran(stages) == ALL
    log = [json.loads(line)["step"] for line in (out / "gan" / "log.jsonl").read_text().splitlines()]
    assert log == [2, 4, 6, 8, 10]
    go(longer, tmp_path / "fresh")
    assert same(model(out), model(tmp_path / "fresh"))
    stages, _ = go(pipeline(), out)
    assert ran(stages) == ALL


def test_stopped_while_it_trains_it_goes_on_to_the_same_model(
    done: Path, tmp_path: Path, pipeline: Callable[..., Pipeline]
) -> None:
    calls = iter(range(100))
    stages, results = go(pipeline(), tmp_path / "out", stopped=lambda: next(calls) >= 3)
    assert (ran(stages), results) == (["fit"], None)
    assert not (tmp_path / "out" / "gan" / "model.safetensors").exists()
    stages, results = go(pipeline(), tmp_path / "out")
    assert [stage.why for stage in stages] == [
        "it was interrupted and goes on where it stopped",
        "it has not been run here",
        "it has not been run here",
    ]
    assert same(model(tmp_path / "out"), model(done))
    assert results == json.loads((done / "evaluation" / "results.json").read_text())


def test_stopped_while_it_evaluates_it_goes_on_with_the_records_it_has(
    done: Path, tmp_path: Path, pipeline: Callable[..., Pipeline]
) -> None:
    records: list[dict[str, Any]] = []
    events = Events(on_record=records.append)
    device = torch.device("cpu")
    out = tmp_path / "out"
    assert run(pipeline(), out, device=device, jobs=1, events=events, stopped=lambda: len(records) == 2) is None
    kept = (out / "evaluation" / "records.jsonl").read_text()
    assert len(kept.splitlines()) == 2
    stages, results = go(pipeline(), out)
    assert ran(stages) == ["evaluate"]
    assert (out / "evaluation" / "records.jsonl").read_text().startswith(kept)
    assert results == json.loads((done / "evaluation" / "results.json").read_text())


def test_killed_between_two_stages_it_knows_that_the_next_ones_are_out_of_date(
    out: Path, pipeline: Callable[..., Pipeline]
) -> None:
    def die(stage: Plan) -> None:
        if stage.name == "generate":
            raise KeyboardInterrupt

    changed = pipeline(gan={"loss": "wasserstein"})
    with pytest.raises(KeyboardInterrupt):
        run(changed, out, device=torch.device("cpu"), jobs=1, events=Events(on_stage=die))
    assert ran(go(changed, out)[0]) == ["generate", "evaluate"]


@pytest.mark.parametrize(
    ("gone", "expected"),
    [("evaluation", ["evaluate"]), ("synthetic", ["generate", "evaluate"]), ("gan", ALL)],
)
def test_what_was_deleted_is_made_again(
    gone: str, expected: list[str], out: Path, pipeline: Callable[..., Pipeline]
) -> None:
    before = contents(out)
    shutil.rmtree(out / gone)
    stages, _ = go(pipeline(), out)
    assert ran(stages) == expected
    assert next(stage.why for stage in stages if stage.runs) == "its output is gone"
    assert contents(out)["evaluation/results.json"] == before["evaluation/results.json"]


def test_a_plan_writes_nothing_and_says_why(out: Path, tmp_path: Path, pipeline: Callable[..., Pipeline]) -> None:
    changed = pipeline(gan={"loss": "wasserstein"})
    fresh = plan(changed, load(changed.data), tmp_path / "new")
    assert [(stage.name, stage.runs, stage.why) for stage in fresh] == [
        (name, True, "it has not been run here") for name in ALL
    ]
    assert not (tmp_path / "new").exists()
    before = contents(out)
    again = plan(changed, load(changed.data), out)
    assert [stage.runs for stage in again] == [True] * 3
    assert again[0].why == "gan.loss: hinge, now wasserstein"
    assert contents(out) == before


def test_a_plan_is_not_misled_by_the_files_of_somebody_else(tmp_path: Path, pipeline: Callable[..., Pipeline]) -> None:
    (tmp_path / "stages.json").write_text("[mine")
    stages = plan(pipeline(), load(pipeline().data), tmp_path)
    assert ran(stages) == ALL


def test_a_folder_of_somebody_else_is_refused_and_untouched(tmp_path: Path, pipeline: Callable[..., Pipeline]) -> None:
    (tmp_path / "gan").mkdir()
    (tmp_path / "gan" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"already holds other files \(gan, \.\.\.\); choose another folder"):
        go(pipeline(), tmp_path)
    assert contents(tmp_path) == {"gan/thesis.txt": b"mine"}


def test_overwrite_begins_anew_and_spares_the_files_of_others(out: Path, pipeline: Callable[..., Pipeline]) -> None:
    (out / "thesis.txt").write_text("mine")
    stages, results = go(pipeline(), out, overwrite=True)
    assert (ran(stages), (out / "thesis.txt").read_text()) == (ALL, "mine")
    assert results is not None


def test_too_few_images_for_the_ratio_are_told_before_anything_is_trained(
    tmp_path: Path, pipeline: Callable[..., Pipeline]
) -> None:
    greedy = pipeline(evaluate={"ratio": 2})
    message = (
        r"evaluate\.ratio 2 to 18 real images needs 12 synthetic images of each class and generate\.per_class is 8"
    )
    with pytest.raises(ConfigError, match=message):
        go(greedy, tmp_path / "out")
    with pytest.raises(ConfigError, match=message):
        plan(greedy, load(greedy.data), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    only_real = pipeline(evaluate={"ratio": 2, "arms": ["none", "synthetic"]})
    assert ran(plan(only_real, load(only_real.data), tmp_path / "out")) == ALL


DAMAGES = [
    ("gan/model.safetensors", ALL),
    ("synthetic/manifest.csv", ["generate", "evaluate"]),
    ("synthetic/dress/000003.png", ["generate", "evaluate"]),
    ("evaluation/results.json", ["evaluate"]),
    ("evaluation/report.html", ["evaluate"]),
    ("evaluation/records.jsonl", ["evaluate"]),
]


@pytest.mark.parametrize(("name", "expected"), DAMAGES)
def test_an_output_that_was_changed_is_not_believed(
    name: str, expected: list[str], out: Path, pipeline: Callable[..., Pipeline]
) -> None:
    before = contents(out)
    path = next(p for p in sorted(out.rglob(Path(name).name)) if name.split("/")[0] in p.parts)
    content = path.read_bytes()
    path.write_bytes(content[:-30] + bytes([content[-30] ^ 1]) + content[-29:])
    stages, _ = go(pipeline(), out)
    assert ran(stages) == expected
    assert next(stage.why for stage in stages if stage.runs) == "its output was changed or damaged"
    assert contents(out)["evaluation/results.json"] == before["evaluation/results.json"]
    assert ran(go(pipeline(), out)[0]) == []


@pytest.mark.parametrize("name", ["gan", "synthetic", "evaluation"])
def test_a_linked_folder_within_is_refused_before_anything_is_written(
    name: str, tmp_path: Path, pipeline: Callable[..., Pipeline]
) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "report.html").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).symlink_to(tmp_path / "victim")
    with pytest.raises(OutputError, match=f"{name} is a link, and nothing is written through links"):
        go(pipeline(), tmp_path / "out", overwrite=True)
    assert contents(tmp_path / "victim") == {"report.html": b"mine"}
    assert [p.name for p in (tmp_path / "out").iterdir()] == [name]


def test_what_it_costs_is_said_before_it_begins_and_not_where_nothing_runs(
    out: Path, tmp_path: Path, pipeline: Callable[..., Pipeline]
) -> None:
    for folder, said in ((tmp_path / "new", True), (out, False)):
        notes: list[str] = []
        plans = plan(pipeline(), load(pipeline().data), folder, on_note=notes.append)
        assert any("by a short probe about" in note for note in notes) == said
        assert all((stage.seconds > 0) == said for stage in plans)
