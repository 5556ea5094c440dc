"""`augment evaluate`: from images to records, results.json and report.html in one folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from augment.dataset.images import fingerprint
from augment.identity import Identity
from augment.output_folders import Replace, open_output
from augment.versions import versions
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.arms import Materials
from pipelines.experiment.cross_fitting import judge
from pipelines.experiment.experiment import RECORDS, UNWATCHED, Watch, plan, record_file, repeat_seed, run_experiment
from pipelines.experiment.parallel import end_processes, run_in_processes
from pipelines.experiment.protocols import Design
from pipelines.results.closest_pairs import closest_pairs
from pipelines.results.fidelity_evaluation import Fidelity, fidelity_calls, mean_fidelity
from pipelines.results.report import Pictures, render
from pipelines.results.results import build_results

RESULTS, REPORT = "results.json", "report.html"


@dataclass(frozen=True)
class Context:
    """What the report tells beside the figures: the source's name, warnings, the settings and G's losses."""

    name: str
    design: Design
    warnings: Sequence[str] = ()
    settings: dict[str, Any] | None = None
    curves: dict[str, tuple[list[int], list[float]]] | None = None
    choice: Mapping[str, Any] | None = None


@end_processes()
def evaluate(
    folds: Sequence[Materials],
    config: EvaluateConfig,
    folder: Path,
    context: Context,
    *,
    device: torch.device,
    jobs: int,
    overwrite: bool = False,
    replace: Replace = "nothing",
    watch: Watch = UNWATCHED,
) -> dict[str, Any] | None:
    """Compare the arms, measure the synthetic images, and write everything into `folder`.

    Returns results.json, or None if it was stopped. An interrupted evaluation of the same settings and images goes on
    where it stopped. Raises `OutputError` if `folder` holds one of others, `ConfigError` if an arm needs images that
    are not there.
    """
    tasks = plan(config, folds)
    files, identity = (RECORDS, RESULTS, REPORT), identity_of(folds, config)
    with open_output(folder, "evaluate", identity, files=files, overwrite=overwrite, replace=replace) as output:
        folds = judged(folds, config, device=device, jobs=jobs)
        file, measuring = record_file(output), fidelity_calls(folds, config, device)
        done = run_experiment(tasks, folds, config, file, device=device, jobs=jobs, beside=measuring, watch=watch)
        if done is None:
            return None
        fidelity = mean_fidelity(done[1], done[0])
        results = _results(done[0], folds[0], config, context, fidelity)
        output.write(RESULTS, json.dumps(results, indent=1))
        settings = context.settings or {"evaluate": config.model_dump(mode="json")}
        output.write(REPORT, render(results, _pictures(folds[0], fidelity, context), settings))
        output.finish()
    return results


def _results(
    records: Sequence[dict[str, Any]],
    materials: Materials,
    config: EvaluateConfig,
    context: Context,
    fidelity: Fidelity | None,
) -> dict[str, Any]:
    results = build_results(
        records,
        materials.arms(config),
        _dataset(materials, context.name),
        context.design,
        _ratio(materials, config),
        fidelity=fidelity.figures if fidelity else None,
        metric=config.metric,
        choice=context.choice,
    )
    return {**results, "warnings": list(context.warnings), "versions": versions()}


def _ratio(materials: Materials, config: EvaluateConfig) -> float:
    """Synthetic images per real image of the mixed arms; of a mix by need as many as there are."""
    if materials.synthetic is None or not any(arm.by_need for arm in config.arms):
        return config.ratio
    return len(materials.synthetic) / len(materials.train)


def judged(folds: Sequence[Materials], config: EvaluateConfig, *, device: torch.device, jobs: int) -> list[Materials]:
    """The folds, with their images judged where an arm asks for that."""
    asking = [materials for materials in folds if any(arm.judged for arm in materials.arms(config))]
    calls = [(_judge, (materials, config, device)) for materials in asking]
    done = {materials.fold: materials for _, materials in run_in_processes(calls, jobs)}
    return [done.get(materials.fold, materials) for materials in folds]


def _judge(materials: Materials, config: EvaluateConfig, device: torch.device) -> Materials:
    return replace(materials, judged=judge(materials, config, seed=repeat_seed(config.seed, 0), device=device))


def identity_of(folds: Sequence[Materials], config: EvaluateConfig) -> Identity:
    """What records may not be mixed with others of."""
    images: dict[str, Any] = {}
    for materials in folds:
        parts = {"train": materials.train, "test": materials.test, "synthetic": materials.synthetic}
        prefix = f"{materials.fold} " if materials.fold else ""
        images |= {f"{prefix}{name} images": fingerprint(data) for name, data in parts.items() if data is not None}
    mixes = {materials.fold: {a: dict(m) for a, m in materials.mix.items()} for materials in folds if materials.mix}
    return Identity({"evaluate": config}, {**images, **({"mixes": mixes} if mixes else {})})


def _dataset(materials: Materials, name: str) -> dict[str, Any]:
    train = materials.train
    return {
        "name": name,
        "classes": list(train.class_names),
        "train_per_class": train.per_class(),
        "test_size": len(materials.test),
        "image_size": train.size,
    }


def _pictures(materials: Materials, fidelity: Fidelity | None, context: Context) -> Pictures:
    pairs = closest_pairs(fidelity, materials.train) if fidelity else []
    return Pictures(real=materials.train, synthetic=materials.synthetic, pairs=pairs, curves=context.curves)
