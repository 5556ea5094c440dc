"""Options of the command line, each declared once. Options that several commands share form groups (dataclasses)."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields, is_dataclass
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from augment.errors import ConfigError
from augment.words import quoted

if TYPE_CHECKING:
    from augment.runtime import Runtime
    from pipelines.config.sections import DataConfig

LAST_SEED = 2**32 - 1  # augment.fields.SEEDS - 1; importing that module would slow down `--help`
MAX_IMAGES = 10**7  # per class
TRACKING = "tracking"  # trackers write into this folder, beside the output folder


SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A folder with one folder per class (optionally below train/ and test/), such a folder as .zip or .tar, a "
        ".npz file, a .csv file with the columns path,label[,split], a .parquet file, datasets:NAME of Hugging Face, "
        "torchvision:NAME:DIR, sklearn:digits or bundled:fashion.",
    ),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Output folder.")]
SEED = typer.Option("--seed", min=0, max=LAST_SEED, help="Seed of all random numbers.")
Seed = Annotated[int, SEED]
OptionalSeed = Annotated[int | None, SEED]
Flip = Annotated[
    bool, typer.Option("--horizontal-flip", help="Allow flips; only for classes that look the same when mirrored.")
]
Drop = Annotated[
    bool,
    typer.Option(
        "--drop-duplicates",
        help="Leave out training images that are exact or near copies of others, or of images in test or val; of "
        "copies with different labels, all.",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", min=1, max=1024, help="Number of processes; default: one per CPU core, or 1 on a GPU."),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        max=1024,
        help="CPU threads that train the generator; results are only identical with the same number.",
    ),
]
ClassifierSteps = Annotated[
    int | None, typer.Option("--steps", min=1, help="Optimiser steps with which each classifier is trained.")
]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda[:n]", help="Where to compute.")]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="Folder that augment train wrote.")]
SkipBroken = Annotated[bool, typer.Option("--skip-broken", help="Skip files that cannot be read as images.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace earlier output of this command.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress, only notes and the result.")]
Track = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        metavar="NAME",
        help="Also record progress with tensorboard or mlflow, in tracking/ beside the output folder; may be repeated.",
    ),
]


@dataclass(frozen=True)
class ReadingOptions:
    """How the images of a source are read."""

    image_size: Annotated[
        int | None,
        typer.Option(
            "--image-size",
            metavar="PX",
            help="Height and width: a multiple of 4 from 8 to 128. Default: that of the images, up to 64, or 32 in "
            "auto, imbalance and quickstart.",
        ),
    ] = None
    resize: Annotated[
        Literal["pad", "crop", "stretch"] | None,
        typer.Option("--resize", help="How to make non-square images square; default: pad."),
    ] = None
    skip_broken: SkipBroken = False

    def settings(self) -> dict[str, Any]:
        """Return the options that were given, under the names of their fields in `DataConfig`."""
        given = {"image_size": self.image_size, "resize": self.resize, "skip_broken": self.skip_broken or None}
        return {name: value for name, value in given.items() if value is not None}

    def arguments(self) -> list[str]:
        """Return the options that were given as command line arguments, for the next command."""
        options = {f"--{name.replace('_', '-')}": value for name, value in self.settings().items()}
        return [part for name, value in options.items() for part in ([name] if value is True else [name, str(value)])]


@dataclass(frozen=True)
class ImageOptions(ReadingOptions):
    """How the images of a source are read, and how many of them are used."""

    samples_per_class: Annotated[
        int | None, typer.Option("--samples-per-class", metavar="N", help="Use at most N training images per class.")
    ] = None

    def settings(self) -> dict[str, Any]:
        """Return the options that were given, under the names of their fields in `DataConfig`."""
        limit = {} if self.samples_per_class is None else {"samples_per_class": self.samples_per_class}
        return {**limit, **super().settings()}

    def config(self, source: str, **settings: Any) -> DataConfig:
        """Return the `DataConfig` of these options. Raises `ConfigError` for values that are out of range."""
        from pipelines.config.reading import parse
        from pipelines.config.sections import DataConfig

        return parse(DataConfig, {"source": source, **settings, **self.settings()}, "the options")


@dataclass(frozen=True)
class ComputingOptions:
    """The device of a command, how it reports its progress, and whether it may replace earlier output."""

    device: Device = "auto"
    track: Track = None
    overwrite: Overwrite = False
    quiet: Quiet = False

    @contextmanager
    def runtime(self, out: Path, jobs: int | None = None, trackers: tuple[str, ...] = ()) -> Iterator[Runtime]:
        """Yield the runtime of a command that writes into `out`.

        Signals stop the command, and the terminal and the trackers show its progress. trackers: names that are used if
        the options name none. Raises `DeviceError` for a device that does not exist, and `ConfigError` or `OutputError`
        for a tracker that cannot be used.
        """
        from augment.devices import find_device
        from augment.runtime import Observers, Runtime
        from pipelines.cli.terminal import Terminal
        from pipelines.process import stop_on_signal
        from pipelines.trackers.registry import make_tracker

        device = find_device(self.device)
        with stop_on_signal() as stopped, Terminal(self.quiet) as terminal:
            tracker = make_tracker(self.track or trackers, out.absolute().parent / TRACKING, terminal.on_note)
            yield Runtime(device, resolve_jobs(jobs, device.type), stopped, Observers([terminal, tracker]))


def expand_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return a function like `command` whose option groups are replaced by their single options, as Typer requires.

    A group is a parameter whose type is a dataclass of options.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}

    def run(**options: Any) -> None:
        for name, group in groups.items():
            options[name] = group(**{field.name: options.pop(field.name) for field in fields(group)})
        command(**options)

    parameters = []
    for parameter in signature(command).parameters.values():
        if parameter.name not in groups:
            parameters.append((parameter.name, hints[parameter.name], parameter.default))
            continue
        group = groups[parameter.name]
        group_hints = get_type_hints(group, include_extras=True)
        defaults = {field.name: field.default for field in fields(group)}
        parameters += [
            (name, group_hints[name], Parameter.empty if default is MISSING else default)
            for name, default in defaults.items()
        ]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__annotations__ = {name: hint for name, hint, _ in parameters}
    run.__signature__ = Signature(  # type: ignore[attr-defined]
        [
            Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=hint)
            for name, hint, default in parameters
        ]
    )
    return run


def parse_counts(pairs: list[str]) -> dict[str, int]:
    """Return pairs of the form CLASS=N as a dict. Raises `ConfigError` for any other form or a class twice."""
    counts = {}
    for pair in pairs:
        name, _, number = pair.rpartition("=")
        if not name or not number.isdecimal():
            raise ConfigError(f"--count {quoted(pair)}: expected CLASS=N, for example --count shirt=50")
        digits = number.lstrip("0") or "0"
        if len(digits) > len(str(MAX_IMAGES)) or int(digits) > MAX_IMAGES:
            raise ConfigError(f"--count {quoted(pair)}: expected at most {MAX_IMAGES:,} images per class")
        if name in counts:
            raise ConfigError(f"--count {quoted(pair)}: the class {quoted(name)} is given twice")
        counts[name] = int(digits)
    return counts


def resolve_jobs(jobs: int | None, device_type: str) -> int:
    """Return the number of processes: `jobs` if it is given, otherwise one per core on a CPU and one on a GPU."""
    import joblib

    return jobs or (joblib.cpu_count() if device_type == "cpu" else 1)  # cpu_count respects the limits of containers


def check_replaceable(file: Path | None, overwrite: bool, command: str, marks: Collection[bytes]) -> None:
    """Raise `ConfigError` if `file` exists, unless `overwrite` is true and `augment <command>` wrote the file.

    marks: what the files of this command begin with; see `augment.files.has_mark`.
    """
    if file is None or not os.path.lexists(file):
        return
    if file.is_dir() or not overwrite:
        raise ConfigError(
            f"{file} already exists; choose another file" + ("" if file.is_dir() else ", or give --overwrite")
        )
    from augment.files import has_mark

    if not has_mark(file, marks):
        raise ConfigError(f"{file} was not written by `augment {command}`; choose another file")


def check_outside_sources(out: Path | None, *sources: str | None) -> None:
    """Raise `ConfigError` if the output path `out` is one of the sources or lies inside the folder of one."""
    from augment.dataset.sources import find_path

    for source in (find_path(spec)[1] for spec in sources if spec is not None):
        if out is None or source is None:
            continue
        if os.path.exists(out) and out.samefile(source):
            raise ConfigError(f"{out} is the source itself; choose another path for the output")
        if os.path.isdir(source) and out.resolve().is_relative_to(source.resolve()):
            raise ConfigError(f"{out} is inside the source {source}; choose another path for the output")


def set_threads(threads: int | None) -> None:
    """Set the number of threads that torch uses in this process; None keeps torch's default."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
