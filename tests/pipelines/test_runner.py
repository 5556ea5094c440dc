"""A pipeline runs the stages that have to run, gives reasons, and continues where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from folders import contents
from observing import Kept
from tiny_pipeline import ALL, go, model, ran, same, stages_in

from augment.errors import ConfigError
from augment.runtime import Observer, Runtime
from pipelines.config.sections import Pipeline
from pipelines.model.recipe import recipe_of_run
from pipelines.results.document import Results, read_results
from pipelines.runner import plan, run


def test_a_pipeline_leaves_a_run_images_and_an_evaluation(done: Path) -> None:
    files = contents(done)
    assert {"config.yaml", "stages.json", "gan/config.yaml", "gan/model.safetensors"} <= files.keys()
    assert {"synthetic/manifest.csv", "evaluation/results.json", "evaluation/report.html"} <= files.keys()
    assert sum(name.endswith(".png") and name.startswith("synthetic/") for name in files) == 3 * 8


def test_a_second_run_does_nothing_and_returns_the_same(
    out: Path, pipeline: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(out)
    for name in ("fit_all", "generate_all", "evaluate_folds"):
        monkeypatch.setattr(f"pipelines.stages.{name}", None)
    stages, results = go(pipeline(), out)
    assert (ran(stages), contents(out)) == ([], before)
    assert {stage.why for stage in stages} == {"nothing that it depends on has changed"}
    assert results == Results.model_validate_json(before["evaluation/results.json"])


CHANGES = [
    ({"evaluate": {"ratio": 0.5}}, ["evaluate"], "evaluate.ratio: 1.0, now 0.5"),
    (
        {"evaluate": {"classifier": {"width": 4, "steps": 4, "batch_size": 6}}},
        ["evaluate"],
        "evaluate.classifier.steps: 3, now 4",
    ),
    ({"generate": {"per_class": 9}}, ["generate", "evaluate"], "generate.per_class: 8, now 9"),
    ({"generator": {"loss": "wasserstein"}}, ALL, "generator.loss: hinge, now wasserstein"),
    ({"data": {"seed": 3}}, ALL, "other training images"),
    ({"data": {"image_size": 8}}, ALL, "image size: 12 px, now 8 px"),
    ({"protocol": {"kind": "kfold", "folds": 2}}, ALL, "folds: 1, now 2"),
]


@pytest.mark.parametrize(("changes", "expected", "why"), CHANGES)
def test_a_change_reruns_the_stages_that_depend_on_it_with_reasons(
    changes: dict[str, Any], expected: list[str], why: str, out: Path, pipeline: Callable[..., Pipeline]
) -> None:
    changed = pipeline(**changes)
    stages, results = go(changed, out)
    assert ran(stages) == expected
    assert next(stage.why for stage in stages if stage.runs) == why
    assert results is not None
    assert ran(go(changed, out)[0]) == []


def test_after_a_change_the_folder_is_that_of_a_fresh_run(
    out: Path, tmp_path: Path, pipeline: Callable[..., Pipeline]
) -> None:
    changed = pipeline(generator={"seed": 5}, generate={"per_class": 7})
    go(changed, out)
    go(changed, tmp_path / "fresh")
    assert same(model(out), model(tmp_path / "fresh"))
    ours, theirs = (
        {name: data for name, data in contents(folder).items() if "synthetic/" in name or "results.json" in name}
        for folder in (out, tmp_path / "fresh")
    )
    assert ours == theirs


def test_more_steps_continue_the_training(out: Path, tmp_path: Path, pipeline: Callable[..., Pipeline]) -> None:
    longer = pipeline(generator={"steps": 10})
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
        "it was interrupted and continues where it stopped",
        "it has not been run here",
        "it has not been run here",
    ]
    assert same(model(tmp_path / "out"), model(done))
    assert results == read_results(done / "evaluation" / "results.json")


def test_stopped_while_it_evaluates_it_goes_on_with_the_records_it_has(
    done: Path, tmp_path: Path, pipeline: Callable[..., Pipeline]
) -> None:
    kept, out = Kept(), tmp_path / "out"
    runtime = Runtime(observer=kept, stopped=lambda: kept.done.get("evaluate") == [1, 2])
    assert run(pipeline(), out, runtime) is None
    written = (out / "evaluation" / "records.jsonl").read_text()
    assert len(written.splitlines()) == 2
    kept = Kept()
    results = run(pipeline(), out, Runtime(observer=kept))
    assert ran(stages_in(kept.notes)) == ["evaluate"]
    assert kept.done["evaluate"][:2] == [2, 3]
    assert (out / "evaluation" / "records.jsonl").read_text().startswith(written)
    assert results == read_results(done / "evaluation" / "results.json")


@pytest.mark.parametrize(
    ("changes", "kept_records"),
    [
        ({"evaluate": {"arms": ["none", "none+synthetic", "classical+grid"]}}, 6),
        ({"generator": {"loss": "wasserstein"}}, 2),  # of the arm without synthetic images
    ],
)
def test_a_change_keeps_the_classifiers_that_do_not_depend_on_it(
    changes: dict[str, Any], kept_records: int, out: Path, tmp_path: Path, pipeline: Callable[..., Pipeline]
) -> None:
    before, kept, changed = (out / "evaluation" / "records.jsonl").read_text().splitlines(), Kept(), pipeline(**changes)
    assert len(before) == 6
    interrupted = Kept()
    stop = Runtime(
        observer=interrupted, stopped=lambda: interrupted.done.get("evaluate") == [kept_records, kept_records + 1]
    )
    assert run(changed, out, stop) is None
    results = run(changed, out, Runtime(observer=kept))
    after = (out / "evaluation" / "records.jsonl").read_text().splitlines()
    assert len(set(before) & set(after)) == kept_records
    assert kept.done["evaluate"][0] == kept_records + 1
    assert results == go(changed, tmp_path / "fresh")[1]


@pytest.mark.parametrize("task", ["fit", "evaluate"])
def test_a_stopped_change_does_not_pass_for_finished_by_the_old_results(
    task: str, out: Path, pipeline: Callable[..., Pipeline]
) -> None:
    def finished() -> bool:
        return bool(json.loads((out / ".augment.json").read_text())["finished"])

    assert finished()
    kept = Kept()
    runtime = Runtime(observer=kept, stopped=lambda: bool(kept.done.get(task)))
    changed = pipeline(generator={"loss": "wasserstein"}, evaluate={"ratio": 0.5})
    assert run(changed, out, runtime) is None
    assert not finished()
    with pytest.raises(ConfigError, match="is not finished"):
        recipe_of_run(out)


def test_killed_between_stages_it_knows_that_later_ones_are_stale(out: Path, pipeline: Callable[..., Pipeline]) -> None:
    class Killed(Observer):
        def on_note(self, sentence: str) -> None:
            if sentence.startswith("generate has to run"):
                raise KeyboardInterrupt

    changed = pipeline(generator={"loss": "wasserstein"})
    with pytest.raises(KeyboardInterrupt):
        run(changed, out, Runtime(observer=Killed()))
    assert ran(go(changed, out)[0]) == ["generate", "evaluate"]


def test_a_plan_writes_nothing_and_gives_reasons(out: Path, tmp_path: Path, pipeline: Callable[..., Pipeline]) -> None:
    changed = pipeline(generator={"loss": "wasserstein"})
    fresh = plan(changed, tmp_path / "new")
    assert [(stage.name, stage.runs, stage.why) for stage in fresh] == [
        (name, True, "it has not been run here") for name in ALL
    ]
    assert not (tmp_path / "new").exists()
    before = contents(out)
    again = plan(changed, out)
    assert [stage.runs for stage in again] == [True] * 3
    assert again[0].why == "generator.loss: hinge, now wasserstein"
    assert contents(out) == before


def test_too_few_images_for_the_ratio_are_named_before_anything_is_trained(
    tmp_path: Path, pipeline: Callable[..., Pipeline]
) -> None:
    by_need = {"name": "even", "policy": "classical", "synthetic": True, "by_need": True}  # uses what there is
    plan(pipeline(evaluate={"ratio": 2, "arms": ["classical", by_need]}), tmp_path / "other")
    greedy = pipeline(evaluate={"ratio": 2})
    message = (
        r"evaluate\.ratio 2 with 18 real images needs 12 synthetic images of each class, but generate\.per_class is 8"
    )
    with pytest.raises(ConfigError, match=message):
        go(greedy, tmp_path / "out")
    with pytest.raises(ConfigError, match=message):
        plan(greedy, tmp_path / "out")
    strict = {"name": "strict", "synthetic": True, "keep": 0.5, "filter": "score"}
    with pytest.raises(ConfigError, match=r"needs 11 synthetic images of each class, of which 50% are kept, but"):
        plan(pipeline(evaluate={"arms": ["none", strict]}), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    only_real = pipeline(evaluate={"ratio": 2, "arms": ["none", "synthetic"]})
    assert ran(plan(only_real, tmp_path / "out")) == ALL


def test_without_an_arm_that_needs_one_no_generator_is_fitted(
    pipeline: Callable[..., Pipeline], tmp_path: Path
) -> None:
    real = pipeline(evaluate={"arms": ["none", "classical", "classical+grid"]})
    plans, results = go(real, tmp_path / "out")
    assert [stage.name for stage in plans] == ["evaluate"]
    assert results is not None
    assert not list((tmp_path / "out").rglob("gan"))
    assert ran(go(pipeline(), tmp_path / "out")[0]) == ALL


def test_missing_weights_of_features_are_found_before_anything_is_trained(
    pipeline: Callable[..., Pipeline], tmp_path: Path
) -> None:
    lacking = {"backbone": "torchvision:resnet18"}
    with pytest.raises(ConfigError, match="give backbone_weights the path of a state dict, or download"):
        go(pipeline(evaluate={"arms": ["none", "features"], "features": lacking}), tmp_path / "out")
    plan(pipeline(evaluate={"features": lacking}), tmp_path / "out")  # no arm needs them
    assert not (tmp_path / "out").exists()


def test_the_cost_is_reported_first_and_only_where_something_runs(
    out: Path, tmp_path: Path, pipeline: Callable[..., Pipeline]
) -> None:
    for folder, said in ((tmp_path / "new", True), (out, False)):
        kept = Kept()
        plans = plan(pipeline(), folder, Runtime(observer=kept))
        assert any("estimated by a short probe" in note for note in kept.notes) == said
        assert all((stage.seconds > 0) == said for stage in plans)
        assert (("measure speeds", len(plans), len(plans)) in kept.work) == said
