"""`augment generate`: how many images of which class, and where they are written."""

from __future__ import annotations

import glob
from collections.abc import Callable, Mapping
from pathlib import Path

from augment.errors import ConfigError
from augment.export import folder_files, write_folder, write_npz
from augment.outputs import claim, holds_output_of
from augment.runs import Run
from augment.sampling import Model, Synthetic, balancing_counts
from augment.sources import MANIFEST

NPZ = "images.npz"


def wanted_counts(
    run: Path, model: Model, *, per_class: int | None, balance: bool, counts: Mapping[str, int]
) -> dict[str, int]:
    """Images of each class, from exactly one of three ways to ask. Raises `ConfigError` otherwise."""
    if (per_class is not None) + balance + bool(counts) != 1:
        raise ConfigError("expected one of --per-class N, --balance and --count CLASS=N")
    if per_class is not None:
        return dict.fromkeys(model.class_names, per_class)
    return balancing_counts(Run(run).about()["data"]["train_per_class"]) if balance else dict(counts)


def write_images(made: Synthetic, folder: Path, format: str, *, overwrite: bool = False) -> None:
    """Write generated images into `folder` by one of `FORMATS`. Raises `OutputError` if it holds something else."""
    if not len(made.data):
        raise ConfigError("there is nothing to generate: no class needs an image")
    FORMATS[format](made, folder, overwrite)


def _write_png(made: Synthetic, folder: Path, overwrite: bool) -> None:
    files = [glob.escape(file) for file in folder_files(made.data)]  # a class may be called [a]
    unfinished = holds_output_of(folder, "generate") and not any((folder / last).exists() for last in (MANIFEST, NPZ))
    claim(folder, "generate", files, overwrite=overwrite or unfinished)
    write_folder(made.data, folder, seeds=made.seeds.tolist(), scores=made.scores.tolist())


def _write_npz(made: Synthetic, folder: Path, overwrite: bool) -> None:
    claim(folder, "generate", [NPZ], overwrite=overwrite)
    write_npz(made.data, folder / NPZ, seeds=made.seeds.tolist(), scores=made.scores.tolist())


FORMATS: dict[str, Callable[[Synthetic, Path, bool], None]] = {"png": _write_png, "npz": _write_npz}
