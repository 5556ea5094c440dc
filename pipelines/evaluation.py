"""`augment evaluate`: from images to records, results.json and report.html in one folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from augment.dataset.images import fingerprint
from augment.dataset.mixing import fills_up
from augment.identity import Identity
from augment.output_folders import Replace, open_output
from augment.runtime import DEFAULT, Runtime, Task
from augment.seeds import derive_seed
from augment.versions import versions
from pipelines.config.reading import filled_up
from pipelines.config.sections import DataConfig, EvaluateConfig
from pipelines.experiment.arms import arms_of
from pipelines.experiment.cross_fitting import judge
from pipelines.experiment.experiment import RECORDS, plan, run_experiment
from pipelines.experiment.folds import HOLDOUT_ONLY, Design, Fold
from pipelines.experiment.loading import leak_warnings, load, load_synthetic, require_test, used_notes
from pipelines.experiment.parallel import end_processes, run_in_processes
from pipelines.experiment.records import Record
from pipelines.experiment.time_estimate import Probe
from pipelines.results.closest_pairs import closest_pairs
from pipelines.results.document import Results
from pipelines.results.fidelity_evaluation import Fidelity, fidelity_calls, mean_fidelity
from pipelines.results.report import Pictures, render
from pipelines.results.results import build_results

RESULTS, REPORT = "results.json", "report.html"


@dataclass(frozen=True)
class Context:
    """What the report says beside the figures: the source's name, warnings, settings, and the generator's losses.

    curves: by name, (steps, values) of equal length. choice: how the mix was chosen, None if it was not.
    """

    name: str
    design: Design
    warnings: Sequence[str] = ()
    settings: dict[str, Any] | None = None
    curves: dict[str, tuple[list[int], list[float]]] | None = None
    choice: Mapping[str, Any] | None = None


def evaluate(
    data: DataConfig,
    config: EvaluateConfig,
    folder: Path,
    *,
    synthetic: Path | None = None,
    runtime: Runtime = DEFAULT,
    overwrite: bool = False,
) -> dict[str, Any] | None:
    """Measure what the images in `synthetic` bring a classifier, and write everything into `folder`.

    Without `synthetic` the arms of real images are compared. Images that fill up the small classes are mixed in by
    need, unless `config` sets a ratio. Raises what `evaluate_folds` and `read_source` raise, and `SourceError` if there
    are no test images.
    """
    loaded = load(data)
    test = require_test(loaded)
    warnings = [*loaded.warnings, *used_notes(loaded, data), *leak_warnings(loaded.train, test)]
    fold = Fold(loaded.train, test, tuple(range(config.repeats)))
    if synthetic is not None:
        images, resized = load_synthetic(synthetic, loaded.train)
        fold, warnings = replace(fold, synthetic=images), [*warnings, *resized]
        if "ratio" not in config.model_fields_set and fills_up(images.data, loaded.train):
            config, notes = filled_up(config)
            warnings += notes
    for warning in warnings:
        runtime.observer.on_note(warning)
    context = Context(loaded.name, Design(why=HOLDOUT_ONLY, test_labels=test.labels), warnings)
    return evaluate_folds([fold], config, folder, context, runtime, overwrite=overwrite)


@end_processes()
def evaluate_folds(
    folds: Sequence[Fold],
    config: EvaluateConfig,
    folder: Path,
    context: Context,
    runtime: Runtime,
    *,
    overwrite: bool = False,
    replace: Replace = "nothing",
    seconds: float | None = None,
) -> dict[str, Any] | None:
    """Compare the arms, measure the synthetic images, and write everything into `folder`.

    Returns results.json, or None if it was stopped. An interrupted evaluation of the same settings and images goes on
    where it stopped. seconds: that it is expected to take; by a short probe if None. Raises `OutputError` if `folder`
    holds one of others, `ConfigError` if an arm needs images that are not there.
    """
    trainings = plan(config, folds)
    files, identity = (RECORDS, RESULTS, REPORT), identity_of(folds, config)
    if seconds is None and runtime.observer.wants_estimates:
        probe = Probe(folds[0], config, runtime.device, runtime.jobs)
        seconds = probe.classifying(len(trainings), fidelity=len(folds))
    settings = context.settings or {"evaluate": config.model_dump(mode="json")}
    task = Task("evaluate", len(trainings), seconds, settings)
    with open_output(folder, "evaluate", identity, files=files, overwrite=overwrite, replace=replace) as output:
        runtime.observer.on_start(task)
        folds = judged(folds, config, runtime)
        measuring = fidelity_calls(folds, config, runtime.device)
        done = run_experiment(trainings, folds, config, output, runtime, task, beside=measuring)
        if done is None:
            return None
        records, measured = done
        fidelity = mean_fidelity(measured, records)
        results = _results(records, folds[0], config, context, fidelity)
        Results.model_validate(results)  # the form that readers rely on
        output.write(RESULTS, json.dumps(results, indent=1))
        output.write(REPORT, render(results, _pictures(folds[0], fidelity, context), settings))
        output.finish()
    runtime.observer.on_end(task, _headline(results))
    return results


def _headline(results: Mapping[str, Any]) -> dict[str, float]:
    """The means of every arm, and the gain of the headline comparison with its interval, by name."""
    figures = {f"{arm} {name}": of_arm["mean"] for arm, by in results["arms"].items() for name, of_arm in by.items()}
    for comparison in results["comparisons"][:1]:
        low, high = comparison["ci95"]
        figures |= {"gain": comparison["mean_gain"], "gain lower end": low, "gain upper end": high}
    return figures


def _results(
    records: Sequence[Record], fold: Fold, config: EvaluateConfig, context: Context, fidelity: Fidelity | None
) -> dict[str, Any]:
    results = build_results(
        records,
        arms_of(fold, config),
        _dataset(fold, context.name),
        context.design,
        _ratio(fold, config),
        fidelity=fidelity.figures if fidelity else None,
        metric=config.metric,
        choice=context.choice,
    )
    return {**results, "warnings": list(context.warnings), "versions": versions()}


def _ratio(fold: Fold, config: EvaluateConfig) -> float:
    """Synthetic images per real image of the mixed arms; of a mix by need as many as there are."""
    if fold.synthetic is None or not any(arm.by_need for arm in config.arms):
        return config.ratio
    return len(fold.synthetic) / len(fold.train)


def judged(folds: Sequence[Fold], config: EvaluateConfig, runtime: Runtime) -> list[Fold]:
    """The folds, with their images judged by cross-fitted classifiers where an arm needs that."""
    needing = [fold for fold in folds if any(arm.judged for arm in arms_of(fold, config))]
    calls = [(_judge, (fold, config, runtime.device)) for fold in needing]
    done = {fold.name: fold for _, fold in run_in_processes(calls, runtime.jobs)}
    return [done.get(fold.name, fold) for fold in folds]


def _judge(fold: Fold, config: EvaluateConfig, device: torch.device) -> Fold:
    return replace(fold, judged=judge(fold, config, seed=derive_seed(config.seed, "cross-fitting"), device=device))


def identity_of(folds: Sequence[Fold], config: EvaluateConfig) -> Identity:
    """What records may not be mixed with others of."""
    images: dict[str, Any] = {}
    for fold in folds:
        synthetic = None if fold.synthetic is None else fold.synthetic.data
        parts = {"train": fold.train, "test": fold.test, "synthetic": synthetic}
        prefix = f"{fold.name} " if fold.name else ""
        images |= {f"{prefix}{name} images": fingerprint(data) for name, data in parts.items() if data is not None}
    mixes = {fold.name: {a: dict(m) for a, m in fold.mixes.items()} for fold in folds if fold.mixes}
    return Identity({"evaluate": config}, {**images, **({"mixes": mixes} if mixes else {})})


def _dataset(fold: Fold, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "classes": list(fold.train.class_names),
        "train_per_class": fold.train.per_class(),
        "test_size": len(fold.test),
        "image_size": fold.train.size,
    }


def _pictures(fold: Fold, fidelity: Fidelity | None, context: Context) -> Pictures:
    pairs = closest_pairs(fidelity, fold.train) if fidelity else []
    synthetic = None if fold.synthetic is None else fold.synthetic.data
    return Pictures(real=fold.train, synthetic=synthetic, pairs=pairs, curves=context.curves)
