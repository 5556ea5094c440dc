"""`augment generate RUN --out DIR`."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from augment.words import counted
from pipelines.cli.options import MAX_IMAGES, Device, Out, Overwrite, Quiet, Seed, check_outside_sources, parse_counts
from pipelines.cli.output import print_line, print_next_command, print_notes

if TYPE_CHECKING:
    from augment.generators.runs import GeneratorMetadata


RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Output folder of augment fit.")]
PerClass = Annotated[
    int | None,
    typer.Option("--per-class", metavar="N", min=1, max=MAX_IMAGES, help="Generate N images of each class."),
]
Balance = Annotated[bool, typer.Option("--balance", help="Fill up each class to the size of the largest one.")]
Count = Annotated[
    list[str] | None,
    typer.Option("--count", metavar="CLASS=N", help="Generate N images of one class; may be repeated."),
]
FileFormat = Annotated[
    Literal["png", "npz"], typer.Option("--format", help="PNG files with a manifest, or one .npz file.")
]


def generate(
    run: RunFolder,
    out: Out,
    per_class: PerClass = None,
    balance: Balance = False,
    count: Count = None,
    format: FileFormat = "png",
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Generate labelled images with a trained generator: give one of --per-class, --balance and --count."""
    from augment.devices import find_device
    from augment.generators.collapse import collapse_notes
    from augment.generators.generated_folder import generate_folder, requested_counts
    from augment.generators.registry import load_model
    from augment.generators.runs import unfinished_notes
    from pipelines.cli.terminal import Terminal

    model = load_model(run, find_device(device))
    check_outside_sources(out, *model.metadata.origin[:1])
    counts = requested_counts(model, per_class=per_class, balance=balance, counts=parse_counts(count or []))
    print_notes(unfinished_notes(run, model.metadata))
    with Terminal(quiet) as terminal:
        generated = generate_folder(model, counts, out, format, seed=seed, overwrite=overwrite, observer=terminal)
    print_notes(collapse_notes(generated.data) if generated else ())
    kept = "" if generated else " exist already and are kept"
    images, classes = sum(counts.values()), sum(count > 0 for count in counts.values())
    print_line(f"{counted(images, 'image')} of {counted(classes, 'class')}{kept}: {out}")
    _print_next(run, out, model.metadata, counts, balance=balance, seed=seed)


def _print_next(
    run: Path, out: Path, metadata: GeneratorMetadata, counts: Mapping[str, int], *, balance: bool, seed: int
) -> None:
    fewest = min(counts.get(name, 0) for name in metadata.classes)
    real = sum(metadata.train_per_class.values()) / len(metadata.classes)
    ratio = () if balance or fewest >= real else ("--ratio", f"{max(floor(100 * fewest / real), 1) / 100:g}")
    if metadata.origin and metadata.tested and (balance or fewest):
        print_next_command(
            "augment", "evaluate", *metadata.origin, "--synthetic", out, *ratio, "--out", f"{out}-evaluation"
        )
    elif metadata.origin and not metadata.tested:
        source, *arguments = metadata.origin
        print_next_command("augment", "run", "auto", source, *arguments, "--out", "runs/mine")
    else:
        more = ("--per-class", "200", "--seed", str(seed + 1))
        print_next_command("augment", "generate", run, "--out", f"{out}-more", *more)
