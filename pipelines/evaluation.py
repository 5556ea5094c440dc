"""`augment evaluate`: from images to records, results.json and report.html in one folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from augment.errors import OutputError
from augment.images import fingerprint
from augment.outputs import claim, holds_output_of, write_text
from augment.runs import versions
from pipelines.experiment import Materials, plan, run_experiment
from pipelines.report import Pictures, write_report
from pipelines.results import build_results
from pipelines.schema import EvaluateConfig
from pipelines.teachers import Fidelity, measure_fidelity

FILES = ("settings.yaml", "records.jsonl", "results.json", "report.html")
PAIRS_SHOWN = 8


@dataclass(frozen=True)
class Context:
    """What the report tells beside the figures: the source's name, warnings, the settings and G's losses."""

    name: str
    warnings: Sequence[str] = ()
    settings: dict[str, Any] | None = None
    curves: dict[str, tuple[list[int], list[float]]] | None = None


def evaluate(
    materials: Materials,
    config: EvaluateConfig,
    folder: Path,
    context: Context,
    *,
    device: torch.device,
    jobs: int,
    overwrite: bool = False,
    on_record: Callable[[dict[str, Any]], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> dict[str, Any] | None:
    """Compare the arms, measure the synthetic images, and write everything into `folder`.

    Returns results.json, or None if it was stopped; `stopped` is asked after every classifier. An interrupted
    evaluation of the same settings and images goes on where it stopped. Raises `OutputError` if `folder` holds one of
    others, `ConfigError` if an arm needs images that are not there.
    """
    tasks = plan(config, materials)
    _open(folder, _settings(materials, config), overwrite)
    path = folder / "records.jsonl"
    records = run_experiment(
        tasks, materials, config, path, device=device, jobs=jobs, on_record=on_record, stopped=stopped
    )
    if records is None:
        return None
    fidelity = measure_fidelity(materials, config, records, device=device) if materials.synthetic else None
    results = build_results(
        records,
        config.resolved_arms(),
        dataset=_dataset(materials, context.name),
        protocol={"kind": "holdout", "ratio": config.ratio, "ratio_chosen": "fixed in advance"},
        ratio=config.ratio,
        fidelity=fidelity.figures if fidelity else None,
        metric=config.metric,
    )
    results["warnings"] = list(context.warnings)
    results["versions"] = versions()
    write_text(folder / "results.json", json.dumps(results, indent=1))
    settings = context.settings or {"evaluate": config.model_dump(mode="json")}
    write_report(results, _pictures(materials, fidelity, context), settings, folder / "report.html")
    return results


def _open(folder: Path, settings: dict[str, Any], overwrite: bool) -> None:
    path = folder / "settings.yaml"
    if not overwrite and holds_output_of(folder, "evaluate") and path.exists():
        old = yaml.safe_load(path.read_text(encoding="utf-8"))
        changed = [key for key in settings if old.get(key) != settings[key]]
        if changed:
            raise OutputError(
                f"{folder} holds an evaluation with other {' and '.join(changed)}; choose another --out, "
                "or give --overwrite to begin anew"
            )
    claim(folder, "evaluate", FILES, overwrite=overwrite, resume=not overwrite)
    write_text(path, yaml.safe_dump(settings, sort_keys=False))


def _settings(materials: Materials, config: EvaluateConfig) -> dict[str, Any]:
    parts = {"train": materials.train, "test": materials.test, "synthetic": materials.synthetic}
    return {
        "settings": config.model_dump(mode="json"),
        "images": {name: fingerprint(data) for name, data in parts.items() if data is not None},
    }


def _dataset(materials: Materials, name: str) -> dict[str, Any]:
    train = materials.train
    return {
        "name": name,
        "classes": list(train.class_names),
        "train_per_class": dict(zip(train.class_names, train.counts().tolist(), strict=True)),
        "test_size": len(materials.test),
        "image_size": train.size,
    }


def _pictures(materials: Materials, fidelity: Fidelity | None, context: Context) -> Pictures:
    pairs = []
    if fidelity:
        memory, synthetic = fidelity.memorisation, fidelity.synthetic
        for i in np.argsort(memory.distance)[:PAIRS_SHOWN]:
            real = materials.train.images[memory.nearest[i]]
            name = synthetic.class_names[synthetic.labels[i]]
            pairs.append((synthetic.images[i], real, float(memory.distance[i]), name))
    return Pictures(real=materials.train, synthetic=materials.synthetic, pairs=pairs, curves=context.curves)
