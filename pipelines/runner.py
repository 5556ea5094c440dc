"""`augment run`: the stages fit, generate and evaluate in one folder; those whose inputs have not changed are not run.

    OUT/config.yaml      the resolved pipeline
    OUT/stages.json      what every stage was last run with, and whether it finished
    OUT/gan/             a RUN folder
    OUT/synthetic/       generated images
    OUT/evaluation/      records.jsonl, results.json, report.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from augment.errors import ConfigError, OutputError
from augment.images import fingerprint
from augment.mixing import needed_per_class
from augment.outputs import claim, holds_output_of, write_text
from augment.runs import FREE_TO_CHANGE, Run
from augment.sampling import generate, load_model
from augment.synthesis import write_images
from augment.training import Outcome, Progress, fit
from pipelines.evaluation import Context, evaluate
from pipelines.experiment import Materials
from pipelines.loading import Loaded, load, load_synthetic, require_test
from pipelines.schema import Pipeline

FILES = ("config.yaml", "stages.json")
Inputs = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """What would be done about a stage, and why."""

    name: str
    runs: bool
    why: str
    afresh: bool  # what an earlier run left is replaced, not continued


@dataclass(frozen=True)
class Events:
    """What a person may want to see while it runs."""

    on_stage: Callable[[Stage], None] = lambda _: None
    on_progress: Callable[[Progress], None] = lambda _: None
    on_record: Callable[[dict[str, Any]], None] = lambda _: None


def plan(pipeline: Pipeline, loaded: Loaded, folder: Path) -> list[Stage]:
    """The stages in order; nothing is run or written. Raises `ConfigError` if too few images would be generated."""
    _check_ratio(pipeline, loaded)
    book = _read_book(folder)
    stages: list[Stage] = []
    for name, inputs in _inputs(pipeline, loaded).items():
        before = next((stage.name for stage in stages if stage.runs), None)
        there = all((folder / file).exists() for file in OUTPUTS[name])
        stages.append(_plan_stage(name, inputs, book.get(name), before, there))
    return stages


def _check_ratio(pipeline: Pipeline, loaded: Loaded) -> None:
    """Before anything is trained, what the evaluation would otherwise find out at the end."""
    evaluation, made = pipeline.evaluate, pipeline.generate.per_class
    needed = needed_per_class(loaded.train, evaluation.ratio)
    if made < needed and any(arm.real and arm.synthetic for arm in evaluation.arms):
        raise ConfigError(
            f"evaluate.ratio {evaluation.ratio:g} to {len(loaded.train)} real images needs {needed} synthetic images "
            f"of each class and generate.per_class is {made}; raise it or lower the ratio"
        )


def run(
    pipeline: Pipeline,
    folder: Path,
    *,
    device: torch.device,
    jobs: int,
    overwrite: bool = False,
    events: Events | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> dict[str, Any] | None:
    """Run what has to be run; the contents of results.json, or None if it was stopped. It can be called again.

    Raises `OutputError` if `folder` holds something that no pipeline wrote.
    """
    loaded = load(pipeline.data, hold_out=True)
    _check_ratio(pipeline, loaded)
    claim(folder, "run", FILES, overwrite=overwrite, resume=not overwrite)
    write_text(folder / "config.yaml", yaml.safe_dump(pipeline.model_dump(mode="json"), sort_keys=False))
    inputs = _inputs(pipeline, loaded)
    job = _Job(pipeline, loaded, folder, device, jobs, events or Events(), stopped)
    for stage in plan(pipeline, loaded, folder):
        job.events.on_stage(stage)
        if stage.runs:
            _note(folder, stage.name, inputs[stage.name], finished=False)
            if not STAGES[stage.name](job, stage.afresh):
                return None
            _note(folder, stage.name, inputs[stage.name], finished=True)
    results: dict[str, Any] = json.loads((folder / "evaluation" / "results.json").read_text(encoding="utf-8"))
    return results


@dataclass(frozen=True)
class _Job:
    """What every stage is given."""

    pipeline: Pipeline
    loaded: Loaded
    folder: Path
    device: torch.device
    jobs: int
    events: Events
    stopped: Callable[[], bool]


def _fit(job: _Job, afresh: bool) -> bool:
    outcome = fit(
        job.loaded.train,
        job.pipeline.gan,
        job.folder / "gan",
        name=job.loaded.name,
        device=job.device,
        overwrite=afresh,
        on_progress=job.events.on_progress,
        stopped=job.stopped,
    )
    return outcome != Outcome.STOPPED


def _generate(job: _Job, afresh: bool) -> bool:
    config = job.pipeline.generate
    model = load_model(job.folder / "gan", job.device)
    made = generate(model, dict.fromkeys(model.class_names, config.per_class), seed=config.seed)
    write_images(made, job.folder / "synthetic", "png", overwrite=True)  # within a folder that is ours
    return True


def _evaluate(job: _Job, afresh: bool) -> bool:
    loaded = job.loaded
    synthetic = load_synthetic(job.folder / "synthetic", loaded.train)
    log = Run(job.folder / "gan").read_log()
    steps = [int(line["step"]) for line in log]
    curves = {who: (steps, [float(line[key]) for line in log]) for who, key in CURVES.items()}
    context = Context(loaded.name, loaded.warnings, job.pipeline.model_dump(mode="json"), curves)
    results = evaluate(
        Materials(loaded.train, require_test(loaded), synthetic),
        job.pipeline.evaluate,
        job.folder / "evaluation",
        context,
        device=job.device,
        jobs=job.jobs,
        overwrite=afresh,
        on_record=job.events.on_record,
        stopped=job.stopped,
    )
    return results is not None


CURVES = {"discriminator": "loss_d", "generator": "loss_g"}
STAGES: dict[str, Callable[[_Job, bool], bool]] = {"fit": _fit, "generate": _generate, "evaluate": _evaluate}
OUTPUTS = {  # the files without which a stage is not done
    "fit": ("gan/model.safetensors",),
    "generate": ("synthetic/manifest.csv",),
    "evaluate": ("evaluation/results.json", "evaluation/report.html"),
}


def _inputs(pipeline: Pipeline, loaded: Loaded) -> dict[str, Inputs]:
    """What each stage depends on; a later stage depends on all that an earlier one does."""
    fit_inputs = {"gan": pipeline.gan.model_dump(mode="json"), "training images": fingerprint(loaded.train)}
    generate_inputs = {**fit_inputs, "generate": pipeline.generate.model_dump(mode="json")}
    return {
        "fit": fit_inputs,
        "generate": generate_inputs,
        "evaluate": {
            **generate_inputs,
            "test images": fingerprint(require_test(loaded)),
            "evaluate": pipeline.evaluate.model_dump(mode="json"),
        },
    }


def _plan_stage(name: str, inputs: Inputs, entry: Mapping[str, Any] | None, before: str | None, there: bool) -> Stage:
    if entry is None:
        return Stage(name, True, "it has not been run here", afresh=True)
    changed = _changes(entry["inputs"], inputs)
    if changed:
        return Stage(name, True, ", ".join(changed), afresh=not _continues(name, entry["inputs"], inputs))
    if not entry["finished"]:
        return Stage(name, True, "it was interrupted and goes on where it stopped", afresh=False)
    if before:
        return Stage(name, True, f"{before} is run again", afresh=True)
    if not there:
        return Stage(name, True, "what it made is gone", afresh=True)
    return Stage(name, False, "done, and nothing that it depends on has changed", afresh=False)


def _changes(old: Inputs, new: Inputs, path: str = "") -> list[str]:
    changes = []
    for key in new:
        was, now, name = old.get(key), new[key], f"{path}{key}"
        if isinstance(was, dict) and isinstance(now, dict):
            changes += _changes(was, now, f"{name}.")
        elif was != now and key.endswith(" images"):
            changes.append(f"the {name} changed")
        elif was != now:
            changes.append(f"{name} changed from {was} to {now}")
    return changes


def _continues(name: str, old: Inputs, new: Inputs) -> bool:
    """Whether training goes on from where it stands: only its length grew, or how often it reports."""
    if name != "fit" or new["gan"]["steps"] < old["gan"]["steps"]:
        return False
    same = {key: value for key, value in new["gan"].items() if key not in FREE_TO_CHANGE}
    return old["training images"] == new["training images"] and all(old["gan"].get(k) == v for k, v in same.items())


def _read_book(folder: Path) -> dict[str, Any]:
    path = folder / "stages.json"
    if not holds_output_of(folder, "run") or not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise OutputError(f"{path} cannot be read; choose another --out, or give --overwrite") from error


def _note(folder: Path, stage: str, inputs: Inputs, *, finished: bool) -> None:
    book = {**_read_book(folder), stage: {"finished": finished, "inputs": inputs}}
    write_text(folder / "stages.json", json.dumps(book, indent=1))
