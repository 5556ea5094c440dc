"""`augment run`: the stages fit, generate, choose and evaluate in one folder; what has not changed is not run again.

OUT/config.yaml      the resolved pipeline
OUT/stages.json      what every stage was last run with, and whether it finished
OUT/gan/             a RUN folder, and OUT/synthetic/, its images; of several folds, in OUT/folds/<fold>/
OUT/choice/          records.jsonl and choice.json, where the mix is chosen
OUT/evaluation/      records.jsonl, results.json, report.html
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import yaml

from augment.errors import ConfigError, OutputError
from augment.images import LabelledImages, fingerprint
from augment.mixing import needed_per_class
from augment.outputs import claim, holds_output_of, write_text
from augment.runs import FREE_TO_CHANGE, Run
from augment.training import Progress
from pipelines.arms import Materials
from pipelines.choosing import choose_mix, mixes, read_choice
from pipelines.definition import Pipeline
from pipelines.evaluation import Context, evaluate
from pipelines.experiment import GAN_TRAIN_REPEATS, Watch
from pipelines.generators import Workshop, fit_all, generate_all
from pipelines.loading import Loaded, load, load_synthetic
from pipelines.measures import default_metric
from pipelines.parallel import end_processes
from pipelines.protocols import Fold, Protocol, inner_folds, make_protocol

FILES = ("config.yaml", "stages.json")
Inputs = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """What would be done about a stage, and why."""

    name: str
    runs: bool
    why: str
    afresh: bool  # what an earlier run left is replaced, not continued
    total: int = 0  # optimiser steps of all generators, or classifiers


@dataclass(frozen=True)
class Events:
    """What a person may want to see while it runs."""

    on_note: Callable[[str], None] = lambda _: None  # the protocol and why, and warnings
    on_stage: Callable[[Stage], None] = lambda _: None
    on_progress: Callable[[Progress], None] = lambda _: None
    on_record: Callable[[dict[str, Any]], None] = lambda _: None


def plan(
    pipeline: Pipeline, loaded: Loaded, folder: Path, on_note: Callable[[str], None] = lambda _: None
) -> list[Stage]:
    """The stages in order; nothing is run or written. Raises `ConfigError` if too few images would be generated."""
    job = _job(pipeline, loaded, folder)
    for note in job.notes:
        on_note(note)
    return _plan(job, folder)


def _plan(job: _Job, folder: Path) -> list[Stage]:
    book = _read_book(folder)
    stages: list[Stage] = []
    for name, inputs in job.inputs.items():
        before = next((stage.name for stage in stages if stage.runs), None)
        there = all((folder / file).exists() for file in job.outputs(name))
        stage = _plan_stage(name, inputs, book.get(name), before, there)
        stages.append(replace(stage, total=job.total(name)))
    return stages


def _check_ratio(pipeline: Pipeline, folds: Sequence[Fold]) -> None:
    """Before anything is trained, what the evaluation would otherwise find out at the end."""
    evaluation, made = pipeline.evaluate, pipeline.generate.per_class
    arms = [arm for arm in evaluation.arms if arm.real and arm.synthetic]
    asked = [((evaluation.ratio if arm.ratio is None else arm.ratio) / arm.keep, "evaluate.ratio") for arm in arms]
    if pipeline.choose is not None:
        asked.append((max(pipeline.choose.ratios) / min(pipeline.choose.keep), "choose.ratios"))
    largest = max(folds, key=lambda fold: len(fold.train)).train
    for ratio, key in asked:
        needed = needed_per_class(largest, ratio)
        if made < needed:
            raise ConfigError(
                f"{key} {ratio:g} to {len(largest)} real images needs {needed} synthetic images "
                f"of each class and generate.per_class is {made}; raise it or lower the ratio"
            )


@end_processes()
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
    job = _job(pipeline, load(pipeline.data), folder, device, jobs, events or Events(), stopped)
    claim(folder, "run", FILES, overwrite=overwrite, resume=not overwrite)
    write_text(folder / "config.yaml", yaml.safe_dump(pipeline.model_dump(mode="json"), sort_keys=False))
    for note in job.notes:
        job.events.on_note(note)
    for stage in _plan(job, folder):
        job.events.on_stage(stage)
        if stage.runs:
            _note(folder, stage.name, job.inputs[stage.name], finished=False)
            if not STAGES[stage.name](job, stage.afresh):
                return None
            _note(folder, stage.name, job.inputs[stage.name], finished=True)
    results: dict[str, Any] = json.loads((folder / "evaluation" / "results.json").read_text(encoding="utf-8"))
    return results


@dataclass(frozen=True)
class _Job:
    """What every stage is given. inner: the folds that mixes are chosen on, by the name of their outer fold."""

    pipeline: Pipeline
    loaded: Loaded
    protocol: Protocol
    inner: Mapping[str, Sequence[Fold]]
    shop: Workshop
    events: Events
    stopped: Callable[[], bool]
    inputs: Mapping[str, Inputs]

    @property
    def folds(self) -> list[Fold]:
        """Those that a generator is trained for."""
        return [*self.protocol.folds, *chain.from_iterable(self.inner.values())]

    @property
    def notes(self) -> list[str]:
        """What a person should know before anything is trained."""
        return [self.protocol.design.why, *self.loaded.warnings, *self.protocol.warnings]

    def outputs(self, stage: str) -> list[str]:
        """The files without which a stage is not done."""
        if stage in PER_FOLD:
            folders = [self.shop.of_fold(fold).relative_to(self.shop.folder) for fold in self.folds]
            return [str(folder / PER_FOLD[stage]) for folder in folders]
        return OUTPUTS[stage]

    def total(self, stage: str) -> int:
        """How much there is to do in all."""
        evaluation, choose = self.pipeline.evaluate, self.pipeline.choose
        if stage == "fit":
            return self.pipeline.gan.steps * len(self.folds)
        if stage == "choose" and choose is not None:
            return (1 + len(mixes(choose))) * choose.repeats * choose.splits * len(self.protocol.folds)
        arms = sum(len(evaluation.arms) * len(fold.repeats) for fold in self.protocol.folds)
        return arms + sum(min(GAN_TRAIN_REPEATS, len(fold.repeats)) for fold in self.protocol.folds)

    def materials(self, folds: Sequence[Fold], choice: Mapping[str, Any] | None = None) -> list[Materials]:
        """Folds with the images that their generators made, and the mixes that were chosen on them."""
        made = []
        for fold in folds:
            synthetic, logits, _ = load_synthetic(self.shop.of_fold(fold) / "synthetic", fold.train)
            mix = {choice["arm"]: choice["by_fold"][fold.name]} if choice else {}
            made.append(
                Materials(fold.train, fold.test, synthetic, logits, fold.name, fold.size, fold.repeats, mix=mix)
            )
        return made


def _job(
    pipeline: Pipeline,
    loaded: Loaded,
    folder: Path,
    device: torch.device | None = None,
    jobs: int = 1,
    events: Events | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> _Job:
    protocol = make_protocol(loaded, pipeline.data, pipeline.protocol, pipeline.evaluate.repeats)
    inner = inner_folds(protocol.folds, pipeline.choose) if pipeline.choose else {}
    _check_ratio(pipeline, protocol.folds)
    shop = Workshop(folder, loaded.name, pipeline.gan, device or torch.device("cpu"), jobs)
    inputs = _inputs(pipeline, protocol, inner)
    return _Job(pipeline, loaded, protocol, inner, shop, events or Events(), stopped, inputs)


def _fit(job: _Job, afresh: bool) -> bool:
    return fit_all(job.shop, job.folds, afresh=afresh, on_progress=job.events.on_progress, stopped=job.stopped)


def _generate(job: _Job, afresh: bool) -> bool:
    generate_all(job.shop, job.folds, job.pipeline.generate)
    return True


def _choose(job: _Job, afresh: bool) -> bool:
    config, evaluation = job.pipeline.choose, job.pipeline.evaluate
    assert config is not None
    inner = job.materials([fold for splits in job.inner.values() for fold in splits])
    metric = evaluation.metric or default_metric(job.protocol.folds[0].train.per_class())
    choice = choose_mix(
        job.inner,
        inner,
        config,
        evaluation,
        job.shop.folder / "choice",
        metric,
        device=job.shop.device,
        jobs=job.shop.jobs,
        overwrite=afresh,
        watch=Watch(job.events.on_record, job.stopped),
    )
    return choice is not None


def _evaluate(job: _Job, afresh: bool) -> bool:
    choice = read_choice(job.shop.folder / "choice") if job.pipeline.choose else None
    log = Run(job.shop.of_fold(job.protocol.folds[0]) / "gan").read_log()
    steps = [int(line["step"]) for line in log]
    curves = {who: (steps, [float(line[key]) for line in log]) for who, key in CURVES.items()}
    settings = job.pipeline.model_dump(mode="json")
    warnings = (*job.loaded.warnings, *job.protocol.warnings)
    results = evaluate(
        job.materials(job.protocol.folds, choice),
        job.pipeline.evaluate,
        job.shop.folder / "evaluation",
        Context(job.loaded.name, job.protocol.design, warnings, settings, curves, choice),
        device=job.shop.device,
        jobs=job.shop.jobs,
        overwrite=afresh,
        watch=Watch(job.events.on_record, job.stopped),
    )
    return results is not None


CURVES = {"discriminator": "loss_d", "generator": "loss_g"}
STAGES: dict[str, Callable[[_Job, bool], bool]] = {
    "fit": _fit,
    "generate": _generate,
    "choose": _choose,
    "evaluate": _evaluate,
}
PER_FOLD = {"fit": "gan/model.safetensors", "generate": "synthetic/manifest.csv"}
OUTPUTS = {
    "choose": ["choice/choice.json"],
    "evaluate": ["evaluation/results.json", "evaluation/report.html"],
}


def _inputs(pipeline: Pipeline, protocol: Protocol, inner: Mapping[str, Sequence[Fold]]) -> dict[str, Inputs]:
    """What each stage depends on; a later stage depends on all that an earlier one does."""
    folds = [*protocol.folds, *chain.from_iterable(inner.values())]
    fit_inputs = {"gan": pipeline.gan.model_dump(mode="json"), "training images": _fingerprints(f.train for f in folds)}
    generate_inputs = {**fit_inputs, "generate": pipeline.generate.model_dump(mode="json")}
    evaluate_inputs = {**generate_inputs, "evaluate": pipeline.evaluate.model_dump(mode="json")}
    chosen = {"choose": pipeline.choose.model_dump(mode="json")} if pipeline.choose else {}
    return {
        "fit": fit_inputs,
        "generate": generate_inputs,
        **({"choose": evaluate_inputs | chosen} if chosen else {}),
        "evaluate": {**evaluate_inputs, **chosen, "test images": _fingerprints(f.test for f in protocol.folds)},
    }


def _fingerprints(parts: Iterable[LabelledImages]) -> str:
    """One for all: of a single set its own, and otherwise a digest of theirs."""
    found = [fingerprint(data) for data in parts]
    return found[0] if len(found) == 1 else hashlib.sha256("".join(found).encode()).hexdigest()[:16]


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
