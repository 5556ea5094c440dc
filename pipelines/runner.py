"""`augment run`: run the stages of a pipeline in one folder, except those that are up to date.

OUT/config.yaml      the resolved pipeline
OUT/auto.json        the decisions, if settings were chosen for the images
OUT/stages.json      the inputs of the last run of every stage, and whether it finished
OUT/gan/             a RUN folder
OUT/synthetic/       the images of that run
OUT/folds/<fold>/    gan/ and synthetic/ of each fold, if there are several
OUT/choice/          records.jsonl and choice.json, if the mix is chosen on validation images
OUT/evaluation/      records.jsonl, fidelity.jsonl, results.json, report.html
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from augment.errors import ConfigError, OutputError
from augment.files import digest_files, path_inside
from augment.output_folders import OutputFolder, check_output, open_output
from augment.runtime import DEFAULT_RUNTIME, Observer, Runtime
from augment.words import counted, format_duration, format_estimate
from augment.yaml_text import read_mapping
from pipelines.auto.decisions import DECISIONS_FILE, Decisions, decide
from pipelines.choosing import candidate_arms
from pipelines.config.reading import resolve_path, resolve_paths
from pipelines.config.sections import Pipeline
from pipelines.experiment.arms import check_pretrained_weights
from pipelines.experiment.loading import LoadedSource, load
from pipelines.experiment.parallel import end_processes
from pipelines.experiment.planning import GAN_TRAIN
from pipelines.experiment.protocols import with_copy_warnings
from pipelines.experiment.time_estimate import MEASURING, MeasurementCache, Probe
from pipelines.pipeline_folds import PipelineFolds, draw_folds
from pipelines.results.document import EVALUATION, RESULTS, Results, read_results
from pipelines.stage_file import STAGES_FILE, Entry, Plan, plan_stage, read_entries, write_entry
from pipelines.stages import Stage, stages_of

CONFIG = "config.yaml"
FILES = (CONFIG, STAGES_FILE)  # of every pipeline


@end_processes()
def run(
    pipeline: Pipeline, folder: Path, runtime: Runtime = DEFAULT_RUNTIME, *, overwrite: bool = False
) -> Results | None:
    """Run the stages that are not up to date. Returns the content of results.json, or None if it was stopped.

    The next call continues a stopped run. Raises `OutputError` if `folder` holds files that no pipeline wrote.
    """
    folds, decisions, probe = _prepare(pipeline, folder, runtime, overwrite=overwrite)
    stages = stages_of(folds)
    for stage in stages:
        for subfolder in stage.folders:
            path_inside(folder, subfolder)  # raises if one of them is a link, before anything is written
    with open_output(folder, "run", files=FILES, overwrite=overwrite) as output:
        entries = read_entries(folder)
        plans = _plan(folder, stages, entries, probe, runtime.observer)
        if any(planned.runs for planned in plans):
            output.reopen()  # so that old results do not pass for those of the new settings
        _write_settings(output, folds.pipeline, decisions)
        for note in (*_notes(folds), *_cost_notes(folds, stages, plans, entries, probe)):
            runtime.observer.on_note(note)
        for stage, planned in zip(stages, plans, strict=True):
            runtime.observer.on_note(planned.sentence)
            if planned.runs:
                inputs = stage.inputs.as_json()
                write_entry(output, stage.name, Entry(finished=False, inputs=inputs))
                if not stage.run(runtime, planned.seconds, overwrite):
                    return None
                digest = digest_files(folder, stage.outputs())
                write_entry(output, stage.name, Entry(finished=True, inputs=inputs, outputs=digest))
        output.finish()
    return read_results(folder / EVALUATION / RESULTS)


def _write_settings(output: OutputFolder, pipeline: Pipeline, decisions: Decisions | None) -> None:
    resolved = pipeline.model_dump(mode="json")
    resolve_paths(resolved, Path.cwd())  # so that the file means the same in another working directory
    output.write(CONFIG, yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True))
    if decisions is not None:
        output.write(DECISIONS_FILE, decisions.model_dump_json(indent=1))


def plan(
    pipeline: Pipeline, folder: Path, runtime: Runtime = DEFAULT_RUNTIME, *, overwrite: bool = False
) -> list[Plan]:
    """Return the plan of every stage, in order, with its expected time: 0 if none has to run.

    Nothing is run or written. The observer receives the notes on the pipeline. Raises the errors of `draw_folds`
    and `check_pretrained_weights`, and `OutputError` as `run` does.
    """
    folds, _, probe = _prepare(pipeline, folder, runtime, overwrite=overwrite)
    stages = stages_of(folds)
    entries = {} if overwrite else read_entries(folder)
    plans = _plan(folder, stages, entries, probe, runtime.observer)
    for note in (*_notes(folds), *_cost_notes(folds, stages, plans, entries, probe)):
        runtime.observer.on_note(note)
    return plans


def _prepare(
    pipeline: Pipeline, folder: Path, runtime: Runtime, *, overwrite: bool
) -> tuple[PipelineFolds, Decisions | None, Probe]:
    """Load the images, choose the settings that are left open, if the pipeline wants that, and draw the folds.

    The probe for their costs has the measurements that the choice needed. Raises `OutputError` before any of that if
    the pipeline cannot be run in `folder`.
    """
    check_output(folder, "run", files=FILES, overwrite=overwrite)
    check_pretrained_weights(pipeline.evaluate)
    loaded, decisions = load(pipeline.data, runtime.observer), None
    if not overwrite:
        _refuse_other_source(folder, pipeline.data.source, loaded)
    measured: MeasurementCache = {}
    if pipeline.auto is not None:
        pipeline, decisions = decide(pipeline, loaded, folder, runtime, measured, overwrite=overwrite)
    folds = draw_folds(pipeline, loaded, folder, decisions.sentences if decisions else ())
    folds = replace(folds, protocol=with_copy_warnings(folds.protocol, runtime.observer))
    probe = Probe(folds.protocol.folds[0], pipeline.evaluate, runtime.device, runtime.jobs, measured)
    return folds, decisions, probe


def _refuse_other_source(folder: Path, source: str, loaded: LoadedSource) -> None:
    """Raise `OutputError` if `folder` holds a run of other images, from another place.

    The images are known only after its evaluation. Changed images at the same place are a change like any other.
    """
    try:
        old = str(read_mapping(folder / CONFIG)["data"]["source"])
    except (ConfigError, KeyError, TypeError):  # it holds no run, or a damaged one
        return
    if os.path.realpath(old) == os.path.realpath(resolve_path(source, Path.cwd())):
        return
    try:
        known = read_results(folder / EVALUATION / RESULTS).dataset.fingerprint
    except (FileNotFoundError, OutputError):
        known = None
    if known is None or known != loaded.fingerprint:
        raise OutputError(
            f"{folder} holds a run of other images ({old}); choose another --out, or give --overwrite to replace it"
        )


def _plan(
    folder: Path, stages: Sequence[Stage], entries: Mapping[str, Entry], probe: Probe, observer: Observer
) -> list[Plan]:
    plans: list[Plan] = []
    for stage in stages:
        earlier = next((planned.name for planned in plans if planned.runs), None)
        entry = entries.get(stage.name)
        may_be_done = entry is not None and entry.finished and not earlier  # otherwise the outputs need not be read
        digest = digest_files(folder, stage.outputs()) if may_be_done else None
        plans.append(plan_stage(stage.name, stage.inputs, entry, earlier, digest))
    if not any(planned.runs for planned in plans):
        return plans
    for i, stage in enumerate(stages):
        plans[i] = replace(plans[i], seconds=stage.seconds(probe))
        observer.on_work(MEASURING, i + 1, len(stages))
    return plans


def _notes(folds: PipelineFolds) -> list[str]:
    """Return what the user should know before anything is fitted."""
    return [folds.protocol.design.why, *folds.notes]


def _cost_notes(
    folds: PipelineFolds, stages: Sequence[Stage], plans: Sequence[Plan], entries: Mapping[str, Entry], probe: Probe
) -> list[str]:
    """Return a sentence on the time and memory that the stages will take, if any of them has to run."""
    seconds = {planned.name: planned.seconds for planned in plans if planned.runs}
    if not seconds:
        return []
    parts = ", ".join(f"{name} {format_duration(time)}" for name, time in seconds.items())
    memory, pipeline = _memory(folds, probe), folds.pipeline
    classifiers = sum(stage.total for stage in stages if stage.name in ("choose", "evaluate"))
    generators = counted(len(folds.generator_folds), "generator")
    fitted = f"{generators} of {counted(pipeline.generator.total, 'step')} and " if folds.generator_folds else ""
    steps = counted(pipeline.evaluate.classifier.steps, "step")
    return [
        f"{fitted}{counted(classifiers, 'classifier')} (networks of {steps}), at {folds.loaded.train.size} px on "
        f"{counted(probe.jobs, 'process')}: {format_estimate(sum(seconds.values()))} ({parts})"
        + (f" and at most {memory:.1f} GB of memory" if memory else "")
        + ", estimated by a short probe"
        + (", less what is already done" if seconds.keys() & entries.keys() else "")
    ]


def _memory(folds: PipelineFolds, probe: Probe) -> float | None:
    """Estimate the peak memory of all stages in GB; None where it is not known."""
    pipeline, arms = folds.pipeline, folds.pipeline.evaluate.resolved_arms()
    if pipeline.choose is not None:
        arms += candidate_arms(pipeline.choose, pipeline.evaluate)
    if not folds.generator_folds:
        return probe.memory(arms, 0)
    gan_train = GAN_TRAIN.model_copy(update={"policy": pipeline.evaluate.policy})
    return probe.memory((*arms, gan_train), pipeline.generate.per_class * folds.loaded.train.num_classes)
