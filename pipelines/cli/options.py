"""Options of the command line, each declared once: single ones, and groups that several commands take whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import StrEnum
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from augment.errors import ConfigError
from augment.words import quoted

if TYPE_CHECKING:
    from augment.runtime import Runtime
    from pipelines.config.sections import DataConfig

LAST_SEED = 2**32 - 1  # augment.fields.SEEDS - 1; that module is too heavy to import for `--help`
MOST_IMAGES = 10**7  # of a class
TRACKING = "tracking"  # the folder beside the output that trackers write into


class ResizeMode(StrEnum):
    """How images that are not square become square."""

    pad = "pad"
    crop = "crop"
    stretch = "stretch"


SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A folder of class folders (also below train/ and test/), a .npz, a .csv of path,label[,split], "
        "sklearn:digits or bundled:fashion.",
    ),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write.")]
SEED = typer.Option("--seed", min=0, max=LAST_SEED, help="Everything random follows from it.")
Seed = Annotated[int, SEED]
OptionalSeed = Annotated[int | None, SEED]
Flip = Annotated[bool, typer.Option("--horizontal-flip", help="Classes look the same mirrored: allow flips.")]
Drop = Annotated[
    bool, typer.Option("--drop-duplicates", help="Leave copies, and what is in test or val too, out of training.")
]
Jobs = Annotated[
    int | None, typer.Option("--jobs", min=1, max=1024, help="Processes; default: the cores on a CPU, 1 on a GPU.")
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, max=1024, help="Of the generator's training; another number rounds differently."),
]
ClassifierSteps = Annotated[int | None, typer.Option("--steps", min=1, help="Steps of each classifier.")]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda[:n]|mps", help="Where to compute.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what this command wrote there before.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, only notes and the result.")]
Track = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        metavar="NAME",
        help="Also record to tensorboard or mlflow, in tracking/ beside the output; may be repeated.",
    ),
]


@dataclass(frozen=True)
class Reading:
    """How the pictures of a source are read."""

    image_size: Annotated[
        int | None, typer.Option("--image-size", metavar="PX", help="Multiple of 4 from 8 to 128.")
    ] = None
    resize: Annotated[
        ResizeMode | None, typer.Option("--resize", help="How images that are not square become square; pad.")
    ] = None
    skip_broken: Annotated[bool, typer.Option("--skip-broken", help="Leave out files that are no image.")] = False

    def settings(self) -> dict[str, Any]:
        """Those that were given, by the name of their field in `DataConfig`."""
        resize = self.resize and self.resize.value
        given = {"image_size": self.image_size, "resize": resize, "skip_broken": self.skip_broken or None}
        return {name: value for name, value in given.items() if value is not None}

    def arguments(self) -> list[str]:
        """Those that were given, for the next command."""
        arguments = [] if self.image_size is None else ["--image-size", str(self.image_size)]
        arguments += [] if self.resize is None else ["--resize", self.resize.value]
        return [*arguments, "--skip-broken"] if self.skip_broken else arguments


@dataclass(frozen=True)
class Images(Reading):
    """How the pictures of a source are read, and how many of them are used."""

    samples_per_class: Annotated[
        int | None, typer.Option("--samples-per-class", metavar="N", help="Use at most N a class.")
    ] = None

    def settings(self) -> dict[str, Any]:
        """Those that were given, by the name of their field in `DataConfig`."""
        used = {} if self.samples_per_class is None else {"samples_per_class": self.samples_per_class}
        return {**used, **super().settings()}

    def arguments(self) -> list[str]:
        """Those that were given, for the next command."""
        used = [] if self.samples_per_class is None else ["--samples-per-class", str(self.samples_per_class)]
        return [*used, *super().arguments()]

    def config(self, source: str, **settings: Any) -> DataConfig:
        """Which images are asked for. Raises `ConfigError` for values that are out of range."""
        from pipelines.config.reading import parse
        from pipelines.config.sections import DataConfig

        return parse(DataConfig, {"source": source, **settings, **self.settings()}, "the options")


@dataclass(frozen=True)
class Computing:
    """Where a command computes, who follows it, and what it may replace."""

    device: Device = "auto"
    track: Track = None
    overwrite: Overwrite = False
    quiet: Quiet = False

    @contextmanager
    def runtime(self, out: Path, jobs: int | None = None, trackers: tuple[str, ...] = ()) -> Iterator[Runtime]:
        """The runtime of a command that writes into `out`: a signal stops it, terminal and trackers follow it.

        trackers: that are used where the options name none. Raises `DeviceError` for a device that is not there,
        `ConfigError` and `OutputError` for trackers that cannot be used.
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


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with the options of its groups in place of the groups, as Typer needs it.

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
        of_group = get_type_hints(group, include_extras=True)
        defaults = {field.name: field.default for field in fields(group)}
        parameters += [
            (name, of_group[name], Parameter.empty if default is MISSING else default)
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
    from augment.dataset.inspection import is_own_file

    if not is_own_file(file):
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
