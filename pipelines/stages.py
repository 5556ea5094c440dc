"""The stages of `augment run`. A `Stage` object says what a stage depends on, what it writes and how it runs.

`STAGES` lists the functions that create them, in order. They return None for a stage that a pipeline does not have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from augment.dataset.images import LabelledImages
from augment.generators.runs import MODEL, read_log
from augment.identity import Identity
from augment.runtime import Runtime
from pipelines.choosing import candidate_arms, candidate_evaluation, candidate_mixes, choose_mix, read_choice
from pipelines.config.sections import ChooseConfig, EvaluateConfig, Pipeline
from pipelines.evaluation import ReportContext, evaluate_folds
from pipelines.experiment.cross_fitting import folds_to_cross_fit
from pipelines.experiment.fold_generators import fit_all, generate_all
from pipelines.experiment.folds import Fold, of_first_size
from pipelines.experiment.planning import count_trainings
from pipelines.experiment.record_digests import weight_digests
from pipelines.experiment.time_estimate import SECONDS_PER_IMAGE, Probe
from pipelines.metric_specs import default_metric
from pipelines.pipeline_folds import PipelineFolds
from pipelines.results.document import EVALUATION, Choice
from pipelines.stage_file import listed_files


@dataclass(frozen=True)
class Stage:
    """One stage of one pipeline.

    inputs: what it depends on, which includes all inputs of earlier stages. folders: the folders that it writes,
    relative to the pipeline's folder. total: the number of its parts (steps, images or classifiers). seconds: estimates
    its time with a probe. outputs: returns its result files, relative to the pipeline's folder. run: runs it, given the
    expected seconds and whether to overwrite earlier results; returns False if it was stopped.
    """

    name: str
    inputs: Identity
    folders: Sequence[str]
    total: int
    seconds: Callable[[Probe], float]
    outputs: Callable[[], list[str]]
    run: Callable[[Runtime, float, bool], bool]


def _fit(folds: PipelineFolds) -> Stage | None:
    folders, config, fitted_folds = folds.subfolders("gan"), folds.pipeline.generator, folds.generator_folds
    if not fitted_folds:
        return None

    def run(runtime: Runtime, seconds: float, overwrite: bool) -> bool:
        return fit_all(folds.generators, fitted_folds, runtime, overwrite=overwrite, seconds=seconds)

    return Stage(
        name="fit",
        inputs=Identity({"generator": config}, _fitted_images(folds), details=_details(folds)),
        folders=folders,
        total=config.total * len(fitted_folds),
        seconds=lambda probe: probe.seconds_to_fit(config, len(fitted_folds)),
        # checkpoints and sample pictures of a finished run may be deleted
        outputs=lambda: [f"{folder}/{MODEL}" for folder in folders],
        run=run,
    )


def _generate(folds: PipelineFolds) -> Stage | None:
    folders, pipeline, fitted_folds = folds.subfolders("synthetic"), folds.pipeline, folds.generator_folds
    if not fitted_folds:
        return None
    total = pipeline.generate.per_class * fitted_folds[0].train.num_classes * len(fitted_folds)

    def run(runtime: Runtime, seconds: float, overwrite: bool) -> bool:
        generate_all(folds.generators, fitted_folds, pipeline.generate, runtime)
        return True

    return Stage(
        name="generate",
        inputs=Identity(
            {"generator": pipeline.generator, "generate": pipeline.generate},
            _fitted_images(folds),
            details=_details(folds),
        ),
        folders=folders,
        total=total,
        seconds=lambda probe: total * SECONDS_PER_IMAGE,
        outputs=lambda: listed_files(folds.folder, folders),
        run=run,
    )


def _choose(folds: PipelineFolds) -> Stage | None:
    config, evaluation = folds.pipeline.choose, folds.pipeline.evaluate
    if config is None:
        return None
    total = (1 + len(candidate_mixes(config))) * config.repeats * len(folds.validation_folds)
    metric = evaluation.metric or default_metric(folds.protocol.folds[0].train.per_class())
    validation = {"validation images": _fingerprint_all(fold.test for fold in folds.validation_folds)}

    def run(runtime: Runtime, seconds: float, overwrite: bool) -> bool:
        inner = {name: [folds.with_synthetic(fold) for fold in splits] for name, splits in folds.inner.items()}
        choice = choose_mix(
            inner,
            config,
            evaluation,
            folds.folder / "choice",
            runtime,
            metric=metric,
            overwrite=overwrite,
            replace="anything",
            seconds=seconds,
        )
        return choice is not None

    return Stage(
        name="choose",
        inputs=Identity(
            _all_settings(folds.pipeline),
            {**_fitted_images(folds), **validation, **_unlabelled_images(folds), **_weights(evaluation)},
            details=_details(folds),
        ),
        folders=["choice"],
        total=total,
        seconds=lambda probe: _seconds_to_choose(folds, config, total, probe),
        outputs=lambda: listed_files(folds.folder, ["choice"]),
        run=run,
    )


def _report_context(folds: PipelineFolds, choice: Choice | None) -> ReportContext:
    first = folds.generators.folder_of(folds.protocol.folds[0])
    return ReportContext(
        folds.loaded.name,
        folds.protocol.design,
        folds.notes,
        settings=folds.pipeline.model_dump(mode="json"),
        curves=_loss_curves(first / "gan") if folds.generator_folds else {},
        choice=choice,
        fingerprint=folds.loaded.fingerprint,
        names=folds.loaded.names,
    )


def _evaluate(folds: PipelineFolds) -> Stage:
    pipeline, outer = folds.pipeline, folds.protocol.folds
    total = count_trainings(pipeline.evaluate, outer)

    def run(runtime: Runtime, seconds: float, overwrite: bool) -> bool:
        choice = read_choice(folds.folder / "choice") if pipeline.choose else None
        complete = [_with_mix(folds.with_synthetic(fold), choice) for fold in outer]
        context = _report_context(folds, choice)
        folder, settings = folds.folder / EVALUATION, pipeline.evaluate
        results = evaluate_folds(
            complete, settings, folder, context, runtime, overwrite=overwrite, replace="anything", seconds=seconds
        )
        return results is not None

    return Stage(
        name="evaluate",
        inputs=Identity(
            _all_settings(pipeline),
            {
                **_training_images(folds),
                "test images": _fingerprint_all(fold.test for fold in outer),
                **_unlabelled_images(folds),
                **_weights(pipeline.evaluate),
            },
            details=_details(folds),
        ),
        folders=[EVALUATION],
        total=total,
        seconds=lambda probe: _seconds_to_evaluate(folds, probe),
        outputs=lambda: listed_files(folds.folder, [EVALUATION]),
        run=run,
    )


STAGES: tuple[Callable[[PipelineFolds], Stage | None], ...] = (_fit, _generate, _choose, _evaluate)


def stages_of(folds: PipelineFolds) -> list[Stage]:
    """Return the stages that the pipeline has, in order."""
    return [stage for make in STAGES if (stage := make(folds)) is not None]


def _seconds_to_choose(folds: PipelineFolds, config: ChooseConfig, classifiers: int, probe: Probe) -> float:
    candidates = candidate_evaluation(config, probe.evaluation)
    cross_fitted = folds_to_cross_fit(folds.validation_folds, candidates)
    return probe.with_evaluation(candidates).seconds_to_evaluate(classifiers, cross_fitted_folds=len(cross_fitted))


def _seconds_to_evaluate(folds: PipelineFolds, probe: Probe) -> float:
    evaluation, choose, outer = probe.evaluation, folds.pipeline.choose, folds.protocol.folds
    mixes = candidate_arms(choose, evaluation) if choose else ()  # any of them may be chosen for a fold
    all_folds = any(arm.needs_cross_fitting for arm in mixes)
    return probe.seconds_to_evaluate(
        count_trainings(evaluation, outer),
        fidelity_folds=len(of_first_size(outer)) if folds.generator_folds else 0,
        cross_fitted_folds=len(outer if all_folds else folds_to_cross_fit(outer, evaluation)),
    )


def _with_mix(fold: Fold, choice: Choice | None) -> Fold:
    """Return the fold with the mix that was chosen for it, if one was."""
    return replace(fold, mixes={choice.arm: choice.by_fold[fold.name]}) if choice else fold


def _loss_curves(run: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Return the steps and values of every loss in a run's log, by the name of the loss."""
    curves: dict[str, tuple[list[int], list[float]]] = {}
    for line in read_log(run):
        for name, value in line.losses.items():
            steps, values = curves.setdefault(name.replace("_", " "), ([], []))
            steps.append(line.step)
            values.append(value)
    return curves


def _all_settings(pipeline: Pipeline) -> dict[str, Any]:
    settings = {"generator": pipeline.generator, "generate": pipeline.generate, "evaluate": pipeline.evaluate}
    return settings | ({"choose": pipeline.choose} if pipeline.choose else {})


def _details(folds: PipelineFolds) -> dict[str, str | int]:
    """Return what explains that fingerprints differ."""
    return {
        "image size": f"{folds.loaded.train.size} px",
        "folds": len(folds.protocol.folds),
        "folds to choose on": len(folds.validation_folds),
    }


def _training_images(folds: PipelineFolds) -> dict[str, str]:
    return {"training images": _fingerprint_all(fold.train for fold in folds.generator_folds or folds.protocol.folds)}


def _fitted_images(folds: PipelineFolds) -> dict[str, str]:
    """Return the fingerprints of what the generators are fitted to."""
    unlabelled = _unlabelled_images(folds) if folds.pipeline.generator.uses_unlabelled else {}
    return {**_training_images(folds), **unlabelled}


def _unlabelled_images(folds: PipelineFolds) -> dict[str, str]:
    unlabelled = folds.loaded.unlabelled
    return {} if unlabelled is None else {"unlabelled images": _fingerprint_all([unlabelled])}


def _weights(config: EvaluateConfig) -> dict[str, str | None]:
    return {f"weights of {name}": digest for name, digest in weight_digests(config).items()}


def _fingerprint_all(sets: Iterable[LabelledImages]) -> str:
    """Return one fingerprint for all sets: a digest of their fingerprints, or the fingerprint of a single set."""
    fingerprints = [data.fingerprint for data in sets]
    if len(fingerprints) == 1:
        return fingerprints[0]
    return hashlib.sha256("".join(fingerprints).encode()).hexdigest()[:16]
