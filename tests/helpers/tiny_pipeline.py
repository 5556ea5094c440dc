"""A pipeline that takes seconds, and what its tests look at in the folder that it leaves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from observing import Kept
from tensors import weights

from augment.runtime import Runtime
from pipelines.config.reading import parse
from pipelines.config.sections import Pipeline
from pipelines.runner import run
from pipelines.stage_file import Plan

TINY: dict[str, Any] = {
    "data": {"image_size": 12, "samples_per_class": 6},
    "generator": {"width": 4, "latent_dim": 8, "steps": 6, "batch_size": 8, "log_every": 2, "checkpoint_every": 2},
    "generate": {"per_class": 8},
    "protocol": {"kind": "holdout", "redraw_generator": False},
    "evaluate": {
        "arms": ["none", "none+synthetic"],
        "repeats": 2,
        "classifier": {"width": 4, "steps": 3, "batch_size": 6},
    },
}
ALL = ["fit", "generate", "evaluate"]


def pipeline_on(source: Path, **changes: dict[str, Any]) -> Pipeline:
    """The tiny pipeline on a folder of images, with some keys of its sections changed."""
    tree = {name: {**section, **changes.get(name, {})} for name, section in TINY.items()}
    tree["data"]["source"] = str(source)
    return parse(Pipeline, tree, "the test")


def go(pipeline: Pipeline, folder: Path, **options: Any) -> tuple[list[Plan], dict[str, Any] | None]:
    """The plans of the stages, read from the notes, and the result of the run."""
    kept = Kept()
    overwrite = options.pop("overwrite", False)
    results = run(pipeline, folder, Runtime(observer=kept, **options), overwrite=overwrite)
    return stages_in(kept.notes), results


def stages_in(notes: Sequence[str]) -> list[Plan]:
    """The plans of all stages among the notes of a run."""
    found = [re.fullmatch(r"(\w+) (has to run|is up to date): (.*)", note) for note in notes]
    return [Plan(match[1], match[2] == "has to run", match[3]) for match in found if match]


def ran(stages: list[Plan]) -> list[str]:
    return [stage.name for stage in stages if stage.runs]


def model(folder: Path) -> dict[str, torch.Tensor]:
    return weights(folder / "gan" / "model.safetensors")


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)
