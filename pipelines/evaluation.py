"""`augment evaluate`: compare arms of real and synthetic images, and write records, results.json and report.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from augment.dataset.duplicates import find_leaks
from augment.dataset.ratios import balances_classes
from augment.identity import Identity
from augment.markers import read_marker
from augment.output_folders import OutputFolder, Replace, open_output
from augment.runtime import DEFAULT_RUNTIME, Runtime, Task
from augment.versions import versions
from pipelines.config.sections import DataConfig, EvaluateConfig, fill_small_classes
from pipelines.experiment.arms import check_pretrained_weights, long_tail_notes
from pipelines.experiment.cross_fitting import cross_fit_folds, folds_to_cross_fit
from pipelines.experiment.experiment import RECORDS, run_experiment
from pipelines.experiment.folds import ONE_GENERATOR, Design, Fold, of_first_size
from pipelines.experiment.loading import (
    Names,
    leak_note,
    leak_warnings,
    load,
    load_synthetic,
    require_test,
    unused_notes,
)
from pipelines.experiment.parallel import end_processes
from pipelines.experiment.planning import gan_train_trainings, plan_trainings
from pipelines.experiment.records import Record
from pipelines.experiment.time_estimate import Probe
from pipelines.metric_specs import default_metric
from pipelines.results.arm_words import describe_arm
from pipelines.results.closest_pairs import pictures_of
from pipelines.results.document import REPORT, RESULTS, Choice, Dataset, Results, to_json
from pipelines.results.fidelity_evaluation import Fidelity, compared_images, mean_fidelity, measured_folds
from pipelines.results.fidelity_file import FIDELITY, FidelityFile
from pipelines.results.forecast import forecast
from pipelines.results.hard_images import HardImage, hard_images
from pipelines.results.keeping import keep_sentence
from pipelines.results.report import Pictures, render
from pipelines.results.results import build_results


@dataclass(frozen=True)
class ReportContext:
    """What the report shows apart from the results: the source's name, warnings, settings and the generator's losses.

    curves: the steps and values of each loss, of equal length, by its name. choice: how the mix was chosen; None if it
    was not chosen on validation images. fingerprint: of all images of the source. names: of `LoadedSource.names`.
    """

    name: str
    design: Design
    warnings: Sequence[str] = ()
    settings: dict[str, Any] | None = None
    curves: dict[str, tuple[list[int], list[float]]] | None = None
    choice: Choice | None = None
    fingerprint: str | None = None
    names: Names = field(default_factory=dict)


def evaluate(
    data: DataConfig,
    config: EvaluateConfig,
    folder: Path,
    *,
    synthetic: Path | None = None,
    runtime: Runtime = DEFAULT_RUNTIME,
    overwrite: bool = False,
) -> Results | None:
    """Measure how much the images in `synthetic` improve a classifier, and write all results into `folder`.

    Without `synthetic`, the arms of real images are compared. If the synthetic images fill up the small classes, they
    are mixed in by need, unless `config` sets a ratio. Raises the errors of `evaluate_folds` and `read_source`, and
    `SourceError` if there are no test images.
    """
    check_pretrained_weights(config)
    loaded = load(data, runtime.observer)
    test = require_test(loaded)
    warnings = [*loaded.warnings, *unused_notes(loaded, data), *leak_warnings(loaded.train, test, runtime.observer)]
    fold = Fold(loaded.train, test, tuple(range(config.repeats)))
    if synthetic is not None:
        images, resized = load_synthetic(synthetic, loaded.train)
        fold, warnings = replace(fold, synthetic=images), [*warnings, *resized]
        if copies := find_leaks(images.data, test):
            warnings.append(leak_note(len(copies), "synthetic image", "test", "gain is too high"))
        if "ratio" not in config.model_fields_set and balances_classes(images.data, loaded.train):
            config, notes = fill_small_classes(config)
            warnings += notes
    _report(warnings, runtime)
    generated = "images that were generated elsewhere come from one generator, and " if synthetic is not None else ""
    design = Design(why=f"holdout: {generated}there is one test set", test_labels=test.labels, note=ONE_GENERATOR)
    context = ReportContext(loaded.name, design, warnings, fingerprint=loaded.fingerprint, names=loaded.names)
    replaces: Replace = "anything" if _extends(folder, identity_of([fold], config)) else "nothing"
    return evaluate_folds([fold], config, folder, context, runtime, overwrite=overwrite, replace=replaces)


def _extends(folder: Path, identity: Identity) -> bool:
    """Return whether `folder` holds an evaluation that this one only adds arms or repeats to, so that nothing is lost.

    Raises `OutputError` if the marker of the folder cannot be read.
    """
    marker = read_marker(folder)
    if marker is None or marker.command != "evaluate":
        return False
    rest = replace(identity, ignored=(*identity.ignored, "evaluate.arms", "evaluate.repeats"))
    if rest.differences(marker.identity):
        return False
    old, new = (stored["settings"]["evaluate"] for stored in (marker.identity, identity.as_json()))
    return old.get("repeats", 1) <= new["repeats"] and all(arm in new["arms"] for arm in old.get("arms", []))


@end_processes()
def evaluate_folds(
    folds: Sequence[Fold],
    config: EvaluateConfig,
    folder: Path,
    context: ReportContext,
    runtime: Runtime,
    *,
    overwrite: bool = False,
    replace: Replace = "nothing",
    seconds: float | None = None,
) -> Results | None:
    """Compare the arms, measure the fidelity of the synthetic images, and write all results into `folder`.

    Returns the content of results.json, or None if it was stopped. Classifiers that an earlier evaluation in `folder`
    trained with the same settings and images are not trained again, whether it was interrupted or compared other arms.
    seconds: the expected time, which a short probe estimates if it is None. Raises `OutputError` if `folder` holds
    another evaluation that may not be replaced, and `ConfigError` if images or scores for an arm are missing.
    """
    trainings = plan_trainings(config, folds) + gan_train_trainings(config, folds)
    files, identity = (RECORDS, FIDELITY, RESULTS, REPORT), identity_of(folds, config)
    if seconds is None and runtime.observer.wants_estimates:
        seconds = _expected_seconds(len(trainings), folds, config, runtime)
    settings = context.settings or {"evaluate": config.model_dump(mode="json")}
    task = Task("evaluate", len(trainings), seconds, settings)
    kept = (RECORDS, FIDELITY)  # of earlier settings, for what does not depend on the change
    with open_output(
        folder, "evaluate", identity, files=files, overwrite=overwrite, replace=replace, keep=kept
    ) as output:
        folds = cross_fit_folds(folds, config, runtime)
        runtime.observer.on_start(task)
        _report(long_tail_notes(folds[0], config), runtime)
        fidelity = FidelityFile(output, folds, config, runtime.device)
        records = run_experiment(trainings, folds, config, output, runtime, task, others=fidelity.missing())
        if records is None:
            return None
        measured = fidelity.read()
        results = _results(records, folds[0], config, context, mean_fidelity(measured, records))
        _write_results(output, results, _pictures(folds, records, results, measured, context), settings)
    runtime.observer.on_end(task, _headline(results))
    return results


def _write_results(output: OutputFolder, results: Results, pictures: Pictures, settings: Mapping[str, Any]) -> None:
    output.write(RESULTS, to_json(results))
    output.write(REPORT, render(results, pictures, settings))
    output.finish()


def _expected_seconds(classifiers: int, folds: Sequence[Fold], config: EvaluateConfig, runtime: Runtime) -> float:
    return Probe(folds[0], config, runtime.device, runtime.jobs).seconds_to_evaluate(
        classifiers,
        fidelity_folds=len(measured_folds(folds)),
        cross_fitted_folds=len(folds_to_cross_fit(folds, config)),
    )


def _report(notes: Sequence[str], runtime: Runtime) -> None:
    for note in notes:
        runtime.observer.on_note(note)


def _headline(results: Results) -> dict[str, float]:
    """Return the means of all arms, and the gain of the headline comparison with its interval, for observers."""
    arms = results.arms.items()
    headline = {f"{arm} {metric}": summary.mean for arm, metrics in arms for metric, summary in metrics.items()}
    for comparison in results.comparisons[:1]:
        low, high = comparison.ci95
        headline |= {"gain": comparison.mean_gain, "gain lower end": low, "gain upper end": high}
    return headline


def _results(
    records: Sequence[Record],
    fold: Fold,
    config: EvaluateConfig,
    context: ReportContext,
    fidelity: Mapping[str, Any],
) -> Results:
    results = build_results(
        records,
        config.compared_arms(),
        _dataset(fold, context),
        context.design,
        config.ratio,
        ratio_by_need=len(fold.synthetic) / len(fold.train) if fold.synthetic else 0.0,
        fidelity=fidelity,
        metric=config.metric,
        choice=context.choice,
    )
    mixes = {context.choice.arm: context.choice.mix} if context.choice else {}
    arms = (arm.with_mix(mixes.get(arm.name, {})) for arm in config.compared_arms())
    recipes = {arm.name: describe_arm(arm, config.ratio) for arm in arms}
    results = results.model_copy(update={"recipes": recipes})
    real_only = [arm.name for arm in config.arms if not arm.synthetic]
    added: dict[str, Any] = {"warnings": list(context.warnings), "versions": versions()}
    added["keep"] = keep_sentence(results, real_only)
    metric = config.metric or default_metric(results.dataset.train_per_class)
    forecasts = [arm.name for arm in config.arms if arm.forecast]
    if forecasts:
        first_size_records = [record for record in records if record.size == fold.size]
        correlation = context.design.correlation[fold.size]
        added["forecast"] = [forecast(first_size_records, arm, metric, correlation) for arm in forecasts]
    return results.model_copy(update=added)


def identity_of(folds: Sequence[Fold], config: EvaluateConfig) -> Identity:
    """Return the settings and fingerprints of an evaluation; all metrics are in its records, so any may be reported."""
    images: dict[str, Any] = {}
    for fold in folds:
        prefix = f"{fold.name} " if fold.name else ""
        images |= {f"{prefix}{name} images": value for name, value in fold.fingerprints.items()}
    mixes = {fold.name: {arm: dict(mix) for arm, mix in fold.mixes.items()} for fold in folds if fold.mixes}
    return Identity({"evaluate": config}, {**images, **({"mixes": mixes} if mixes else {})}, ("evaluate.metric",))


def _dataset(fold: Fold, context: ReportContext) -> Dataset:
    return Dataset(
        name=context.name,
        classes=list(fold.train.class_names),
        train_per_class=fold.train.per_class(),
        test_size=len(fold.test),
        image_size=fold.train.size,
        fingerprint=context.fingerprint,
    )


def _hard_images(results: Results, records: Sequence[Record], folds: Sequence[Fold], names: Names) -> list[HardImage]:
    """Return the test images that the recommended arm gets wrong most often: of a curve, those of its first size."""
    arm, tests = results.recommendation.arm, {fold.name: fold.test for fold in of_first_size(folds)}
    return hard_images([record for record in records if record.arm == arm and record.fold in tests], tests, names)


def _pictures(
    folds: Sequence[Fold],
    records: Sequence[Record],
    results: Results,
    measured: Sequence[Fidelity],
    context: ReportContext,
) -> Pictures:
    fold, hard = folds[0], _hard_images(results, records, folds, context.names)
    pairs = pictures_of(measured[0].closest, compared_images(fold), fold.train) if measured else []
    synthetic = None if fold.synthetic is None else fold.synthetic.data
    return Pictures(real=fold.train, synthetic=synthetic, pairs=pairs, hard=hard, curves=context.curves)
