"""Options of the command line that several commands share, and what their values mean."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from augment.errors import ConfigError
from augment.words import quoted

if TYPE_CHECKING:
    from pipelines.config.sections import DataConfig


class ResizeMode(StrEnum):
    """How images that are not square become square."""

    pad = "pad"
    crop = "crop"
    stretch = "stretch"


class Format(StrEnum):
    """How generated images are written."""

    png = "png"
    npz = "npz"


class Trainer(StrEnum):
    """How G and D take turns."""

    one_stage = "one-stage"
    two_stage = "two-stage"
    two_stage_published = "two-stage-published"


SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A folder of class folders (also below train/ and test/), a .npz, a .csv of path,label[,split], "
        "sklearn:digits or bundled:fashion.",
    ),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what this command wrote there before.")]
LAST_SEED = 2**32 - 1  # augment.fields.SEEDS - 1; that module is too heavy to import for `--help`
MOST_IMAGES = 10**7  # of a class
Seed = Annotated[int, typer.Option("--seed", min=0, max=LAST_SEED, help="Everything random follows from it.")]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda[:n]|mps", help="Where to compute.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, only the result.")]
ImageSize = Annotated[int | None, typer.Option("--image-size", metavar="PX", help="Multiple of 4 from 8 to 128.")]
Resizing = Annotated[ResizeMode, typer.Option("--resize", help="How images that are not square become square.")]
SkipBroken = Annotated[bool, typer.Option("--skip-broken", help="Leave out files that are no image.")]
PerClassUsed = Annotated[int | None, typer.Option("--samples-per-class", metavar="N", help="Use at most N a class.")]
Flip = Annotated[bool, typer.Option("--horizontal-flip", help="Classes look the same mirrored: allow flips.")]
Drop = Annotated[
    bool, typer.Option("--drop-duplicates", help="Leave copies, and what is in test or val too, out of training.")
]
Jobs = Annotated[
    int | None, typer.Option("--jobs", min=1, max=1024, help="Processes; default: the cores on a CPU, 1 on a GPU.")
]

Track = Annotated[
    list[str] | None,
    typer.Option("--track", metavar="NAME", help="Also log to tensorboard or mlflow, in a folder beside the output."),
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, max=1024, help="Of the generator's training; another number rounds differently."),
]


def data_config(
    source: str,
    test: str | None,
    samples_per_class: int | None,
    image_size: int | None,
    resize: ResizeMode,
    skip_broken: bool,
    seed: int,
    drop_duplicates: bool = False,
) -> DataConfig:
    """Which images the options ask for. Raises `ConfigError` for values that are out of range."""
    from pipelines.config.reading import parse
    from pipelines.config.sections import DataConfig

    options = {
        "source": source,
        "test": test,
        "samples_per_class": samples_per_class,
        "image_size": image_size,
        "resize": resize.value,
        "skip_broken": skip_broken,
        "seed": seed,
        "drop_duplicates": drop_duplicates,
    }
    return parse(DataConfig, options, "the options")


def as_options(
    samples_per_class: int | None, image_size: int | None, resize: ResizeMode, skip_broken: bool
) -> list[str]:
    """Which images of a source are taken, and how, as options of the next command."""
    options = [] if samples_per_class is None else ["--samples-per-class", str(samples_per_class)]
    options += [] if image_size is None else ["--image-size", str(image_size)]
    options += [] if resize == ResizeMode.pad else ["--resize", resize.value]
    return [*options, "--skip-broken"] if skip_broken else options


def parse_counts(pairs: list[str]) -> dict[str, int]:
    """CLASS=N, repeated, as a dict. Raises `ConfigError` for anything else."""
    counts = {}
    for pair in pairs:
        name, _, number = pair.rpartition("=")
        if not name or not number.isdecimal():
            raise ConfigError(f"--count {quoted(pair)}: expected CLASS=N, for example --count shirt=50")
        digits = number.lstrip("0") or "0"
        if len(digits) > len(str(MOST_IMAGES)) or int(digits) > MOST_IMAGES:
            raise ConfigError(f"--count {quoted(pair)}: expected at most {MOST_IMAGES:,} images of a class")
        counts[name] = int(digits)
    return counts


def resolve_jobs(jobs: int | None, device_type: str) -> int:
    """As many processes as asked for; otherwise one a core on a CPU, and one on a GPU."""
    import joblib

    return jobs or (joblib.cpu_count() if device_type == "cpu" else 1)  # it counts what a container may use


def refuse_existing(file: Path | None, overwrite: bool) -> None:
    """Raise `ConfigError` if `file` is there and is no output of `augment inspect` that may be replaced."""
    if file is None or not os.path.lexists(file):
        return
    if file.is_dir() or not overwrite:
        raise ConfigError(f"{file} already exists; choose another file" + ("" if file.is_dir() else ", or --overwrite"))
    from augment.dataset.inspection import wrote

    if not wrote(file):
        raise ConfigError(f"{file} was not written by `augment inspect`; choose another file")


def refuse_into_source(out: Path | None, *sources: str | None) -> None:
    """Raise `ConfigError` if `out` is a source or lies in the folder of one, whose images are nobody's output."""
    for source in sources:
        # Those of os.path are false for a name that is too long, where those of Path raise.
        if out is None or not source or not os.path.exists(source):
            continue
        if os.path.exists(out) and out.samefile(source):
            raise ConfigError(f"{out} is the source itself; choose another place for the output")
        if os.path.isdir(source) and out.resolve().is_relative_to(Path(source).resolve()):
            raise ConfigError(f"{out} is inside the source {source}; choose another place for the output")


def set_threads(threads: int | None) -> None:
    """Let torch use so many threads in this process; without a number, as many as it likes."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
