"""`augment run`: the stages fit, generate, choose and evaluate in one folder; what has not changed is not run again.

OUT/config.yaml      the resolved pipeline
OUT/stages.json      what every stage was last run with, and whether it finished
OUT/gan/             a RUN folder, and OUT/synthetic/, its images; of several folds, in OUT/folds/<fold>/
OUT/choice/          records.jsonl and choice.json, where the mix is chosen
OUT/evaluation/      records.jsonl, results.json, report.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import yaml

from augment.dataset.images import LabelledImages, fingerprint
from augment.dataset.mixing import needed_per_class
from augment.errors import ConfigError
from augment.files import digest_files, inside
from augment.gan.training import Progress
from augment.generators.runs import read_log
from augment.identity import Identity
from augment.output_folders import open_output
from augment.words import counted
from pipelines.choosing import choose_mix, mixes, read_choice
from pipelines.config.sections import Pipeline
from pipelines.evaluation import RESULTS, Context, evaluate
from pipelines.experiment.arms import Materials
from pipelines.experiment.experiment import GAN_TRAIN_REPEATS, Watch
from pipelines.experiment.fold_generators import Workshop, fit_all, generate_all
from pipelines.experiment.loading import Loaded, load, load_synthetic
from pipelines.experiment.parallel import end_processes
from pipelines.experiment.protocols import Fold, Protocol, inner_folds, make_protocol
from pipelines.experiment.time_estimate import Load, estimate, in_words, peak_memory
from pipelines.metric_specs import default_metric
from pipelines.results.results_file import read_results
from pipelines.stage_file import (
    STAGES_FILE,
    Entry,
    Plan,
    listed_files,
    plan_stage,
    read_entries,
    write_entry,
)

CONFIG = "config.yaml"


@dataclass(frozen=True)
class Events:
    """What a person may want to see while it runs."""

    on_note: Callable[[str], None] = lambda _: None  # the protocol and why, and warnings
    on_stage: Callable[[Plan], None] = lambda _: None
    on_progress: Callable[[Progress], None] = lambda _: None
    on_images: Callable[[int], None] = lambda _: None  # generated so far
    on_record: Callable[[dict[str, Any]], None] = lambda _: None


def plan(
    pipeline: Pipeline,
    loaded: Loaded,
    folder: Path,
    *,
    device: torch.device | None = None,
    jobs: int = 1,
    on_note: Callable[[str], None] = lambda _: None,
) -> list[Plan]:
    """The stages in order, and how long they will take; nothing is run or written.

    Raises `ConfigError` if too few images would be generated.
    """
    job = _job(pipeline, loaded, folder, device, jobs)
    plans = _plan(job, folder)
    for note in (*job.notes, *_cost_notes(job, plans)):
        on_note(note)
    return plans


def _cost_notes(job: _Job, plans: Sequence[Plan]) -> list[str]:
    """A sentence on the time and memory that the stages will take, if there are any to run."""
    seconds = {stage.name: stage.seconds for stage in plans if stage.runs}
    if not seconds:
        return []
    parts = ", ".join(f"{name} {in_words(time)}" for name, time in seconds.items())
    memory = peak_memory(job.shop.jobs)
    generators, classifiers = len(job.folds), job.total("choose") + job.total("evaluate")
    return [
        f"{counted(generators, 'generator')} of {counted(job.pipeline.gan.steps, 'step')} and "
        f"{counted(classifiers, 'classifier')} of {counted(job.pipeline.evaluate.classifier.steps, 'step')}, at "
        f"{job.loaded.train.size} px on {counted(job.shop.jobs, 'process')}: by a short probe about "
        f"{in_words(sum(seconds.values()))} ({parts})" + (f" and at most {memory:.1f} GB of memory" if memory else "")
    ]


def _plan(job: _Job, folder: Path) -> list[Plan]:
    entries = read_entries(folder)
    plans: list[Plan] = []
    for name, inputs in job.inputs.items():
        before = next((stage.name for stage in plans if stage.runs), None)
        entry = entries.get(name)
        believed = entry is not None and entry.finished and not before  # otherwise the outputs need not be read
        digest = digest_files(folder, job.outputs(name)) if believed else None
        plans.append(replace(plan_stage(name, inputs, entry, before, digest), total=job.total(name)))
    seconds = job.seconds() if any(stage.runs for stage in plans) else {}
    return [replace(stage, seconds=seconds.get(stage.name, 0.0)) for stage in plans]


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
    job = _job(pipeline, load(pipeline.data), folder, device, jobs, events or Events(), stopped, overwrite)
    for subfolder in job.subfolders():
        inside(folder, subfolder)  # before anything is written: none of them may be a link
    with open_output(folder, "run", files=(CONFIG, STAGES_FILE), overwrite=overwrite) as output:
        output.write(CONFIG, yaml.safe_dump(pipeline.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
        plans = _plan(job, folder)
        for note in (*job.notes, *_cost_notes(job, plans)):
            job.events.on_note(note)
        for stage in plans:
            job.events.on_stage(stage)
            if stage.runs:
                inputs = job.inputs[stage.name].as_json()
                write_entry(output, stage.name, Entry(finished=False, inputs=inputs))
                if not STAGES[stage.name](job):
                    return None
                digest = digest_files(folder, job.outputs(stage.name))
                write_entry(output, stage.name, Entry(finished=True, inputs=inputs, outputs=digest))
        output.finish()
    return read_results(folder / "evaluation" / RESULTS)


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
    inputs: Mapping[str, Identity]
    overwrite: bool

    @property
    def folds(self) -> list[Fold]:
        """Those that a generator is trained for."""
        return [*self.protocol.folds, *chain.from_iterable(self.inner.values())]

    @property
    def notes(self) -> list[str]:
        """What a person should know before anything is trained."""
        return [self.protocol.design.why, *self.loaded.warnings, *self.protocol.warnings]

    def subfolders(self, stage: str | None = None) -> list[str]:
        """The folders that a stage writes, or all stages, relative to the pipeline's, with /."""
        folders = [self.shop.of_fold(fold).relative_to(self.shop.folder) for fold in self.folds]
        by_stage = {
            "fit": [(folder / "gan").as_posix() for folder in folders],
            "generate": [(folder / "synthetic").as_posix() for folder in folders],
            "choose": ["choice"],
            "evaluate": ["evaluation"],
        }
        return by_stage[stage] if stage else list(chain.from_iterable(by_stage.values()))

    def outputs(self, stage: str) -> list[str]:
        """The files that are a stage's result, relative to the pipeline's folder."""
        folders = self.subfolders(stage)
        if stage == "fit":  # checkpoints and pictures of a finished run may go
            return [f"{folder}/model.safetensors" for folder in folders]
        return listed_files(self.shop.folder, folders)

    def total(self, stage: str) -> int:
        """How much there is to do in all."""
        evaluation, choose = self.pipeline.evaluate, self.pipeline.choose
        if stage == "fit":
            return self.pipeline.gan.steps * len(self.folds)
        if stage == "generate":
            return self.pipeline.generate.per_class * self.folds[0].train.num_classes * len(self.folds)
        if stage == "choose":
            return (
                0
                if choose is None
                else (1 + len(mixes(choose))) * choose.repeats * choose.splits * len(self.protocol.folds)
            )
        arms = sum(len(evaluation.arms) * len(fold.repeats) for fold in self.protocol.folds)
        return arms + sum(min(GAN_TRAIN_REPEATS, len(fold.repeats)) for fold in self.protocol.folds)

    def seconds(self) -> dict[str, float]:
        """How long each stage will take, by a short probe."""
        load = Load(self.folds, self.total("choose"), self.total("evaluate"), self.total("generate"))
        return estimate(load, self.pipeline.gan, self.pipeline.evaluate, self.shop.device, self.shop.jobs)

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
    overwrite: bool = False,
) -> _Job:
    repeats, chooses = pipeline.evaluate.repeats, pipeline.choose is not None
    protocol = make_protocol(loaded, pipeline.data, pipeline.protocol, repeats, chooses=chooses)
    inner = inner_folds(protocol.folds, pipeline.choose) if pipeline.choose else {}
    _check_ratio(pipeline, protocol.folds)
    shop = Workshop(folder, loaded.name, pipeline.gan, device or torch.device("cpu"), jobs)
    inputs = _inputs(pipeline, protocol, inner)
    return _Job(pipeline, loaded, protocol, inner, shop, events or Events(), stopped, inputs, overwrite)


def _fit(job: _Job) -> bool:
    events = job.events
    return fit_all(
        job.shop,
        job.folds,
        overwrite=job.overwrite,
        on_progress=events.on_progress,
        on_note=events.on_note,
        stopped=job.stopped,
    )


def _generate(job: _Job) -> bool:
    generate_all(job.shop, job.folds, job.pipeline.generate, job.events.on_images, job.events.on_note)
    return True


def _choose(job: _Job) -> bool:
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
        overwrite=job.overwrite,
        replace="anything",
        watch=Watch(job.events.on_record, job.stopped),
    )
    return choice is not None


def _evaluate(job: _Job) -> bool:
    choice = read_choice(job.shop.folder / "choice") if job.pipeline.choose else None
    log = read_log(job.shop.of_fold(job.protocol.folds[0]) / "gan")
    steps = [line.step for line in log]
    curves = {
        "discriminator": (steps, [line.loss_d for line in log]),
        "generator": (steps, [line.loss_g for line in log]),
    }
    settings = job.pipeline.model_dump(mode="json")
    warnings = (*job.loaded.warnings, *job.protocol.warnings)
    results = evaluate(
        job.materials(job.protocol.folds, choice),
        job.pipeline.evaluate,
        job.shop.folder / "evaluation",
        Context(job.loaded.name, job.protocol.design, warnings, settings, curves, choice),
        device=job.shop.device,
        jobs=job.shop.jobs,
        overwrite=job.overwrite,
        replace="anything",
        watch=Watch(job.events.on_record, job.stopped),
    )
    return results is not None


STAGES: dict[str, Callable[[_Job], bool]] = {
    "fit": _fit,
    "generate": _generate,
    "choose": _choose,
    "evaluate": _evaluate,
}


def _inputs(pipeline: Pipeline, protocol: Protocol, inner: Mapping[str, Sequence[Fold]]) -> dict[str, Identity]:
    """What each stage depends on; a later stage depends on all that an earlier one does."""
    folds = [*protocol.folds, *chain.from_iterable(inner.values())]
    data = {"training images": _fingerprints(f.train for f in folds)}
    validation = {"validation images": _fingerprints(f.test for f in chain.from_iterable(inner.values()))}
    test = {"test images": _fingerprints(f.test for f in protocol.folds)}
    of_fit = {"gan": pipeline.gan}
    of_generate = {**of_fit, "generate": pipeline.generate}
    chosen = {"choose": pipeline.choose} if pipeline.choose else {}
    of_evaluate = {**of_generate, "evaluate": pipeline.evaluate, **chosen}
    return {
        "fit": Identity(of_fit, data),
        "generate": Identity(of_generate, data),
        **({"choose": Identity(of_evaluate, {**data, **validation})} if chosen else {}),
        "evaluate": Identity(of_evaluate, {**data, **test}),
    }


def _fingerprints(parts: Iterable[LabelledImages]) -> str:
    """One for all: of a single set its own, and otherwise a digest of theirs."""
    found = [fingerprint(data) for data in parts]
    return found[0] if len(found) == 1 else hashlib.sha256("".join(found).encode()).hexdigest()[:16]
