"""`augment generate`: the number of images of each class, and the folder or archive that they are written to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from augment.dataset.export import dump_npz, folder_files, write_folder
from augment.errors import ConfigError
from augment.generators.base import Model
from augment.generators.sampling import SyntheticImages, balancing_counts, generate, labels_from_counts
from augment.identity import Identity, digest
from augment.output_folders import OutputFolder, open_output
from augment.runtime import NO_OBSERVER, Observer

NPZ = "images.npz"


def requested_counts(
    model: Model, *, per_class: int | None, balance: bool, counts: Mapping[str, int]
) -> dict[str, int]:
    """Return the number of images of each class. Raises `ConfigError` unless exactly one of the three is given."""
    if (per_class is not None) + balance + bool(counts) != 1:
        raise ConfigError("give exactly one of --per-class N, --balance and --count CLASS=N")
    if per_class is not None:
        return dict.fromkeys(model.metadata.classes, per_class)
    return balancing_counts(model.metadata.train_per_class) if balance else dict(counts)


def generate_folder(
    model: Model,
    counts: Mapping[str, int],
    folder: Path,
    format: str,
    *,
    seed: int,
    overwrite: bool = False,
    observer: Observer = NO_OBSERVER,
) -> SyntheticImages | None:
    """Generate images into `folder`, in one of `FORMATS`.

    Returns None if the folder already holds the images of the same model, counts and seed. Raises `ConfigError` if
    a class is unknown or there is nothing to generate, `OutputError` if `folder` holds something else.
    """
    writer, labels = FORMATS[format], labels_from_counts(model, counts)
    model_identity = {"run": digest(model.metadata.identity), "step": model.metadata.step}
    identity = Identity(data={"model": model_identity, "counts": dict(counts), "seed": seed, "format": format})
    files = writer.files(model.metadata.classes, labels)
    with open_output(folder, "generate", identity, files=files, overwrite=overwrite, replace="unfinished") as output:
        if output.finished:
            return None
        synthetic = generate(model, counts, seed=seed, observer=observer)
        writer.write(synthetic, output)
        output.finish(files[-1])
    return synthetic


class _Writer(NamedTuple):
    """A file format for generated images."""

    files: Callable[[Sequence[str], NDArray[np.int64]], list[str]]  # (class names, labels) -> names of the files
    write: Callable[[SyntheticImages, OutputFolder], None]


def _write_npz(synthetic: SyntheticImages, output: OutputFolder) -> None:
    output.write(NPZ, dump_npz(synthetic.data, _columns(synthetic)))


def _write_png(synthetic: SyntheticImages, output: OutputFolder) -> None:
    write_folder(synthetic.data, output, _columns(synthetic))


def _columns(synthetic: SyntheticImages) -> dict[str, NDArray[Any]]:
    """Return what is known of each image beside its class, by the name of its column."""
    assert synthetic.seeds is not None
    columns = {"seed": synthetic.seeds.astype(np.int64), "scores": synthetic.scores, "anchors": synthetic.anchors}
    return {name: values for name, values in columns.items() if values is not None}


FORMATS = {"png": _Writer(folder_files, _write_png), "npz": _Writer(lambda class_names, labels: [NPZ], _write_npz)}
