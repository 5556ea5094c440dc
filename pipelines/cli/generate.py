"""`augment generate RUN --out DIR`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import MOST_IMAGES, Device, Out, Overwrite, Quiet, Seed, parse_counts
from pipelines.cli.output import note, say, suggest


class Format(StrEnum):
    """How generated images are written."""

    png = "png"
    npz = "npz"


def generate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder that augment fit has finished.")],
    out: Out,
    per_class: Annotated[
        int | None, typer.Option("--per-class", metavar="N", min=1, max=MOST_IMAGES, help="N of each class.")
    ] = None,
    balance: Annotated[bool, typer.Option("--balance", help="Fill every class up to the largest one.")] = False,
    count: Annotated[
        list[str] | None, typer.Option("--count", metavar="CLASS=N", help="N of one class; may be repeated.")
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="PNG files with a manifest, or one .npz.")] = Format.png,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Make labelled images with a trained generator; the folder is itself a SOURCE."""
    from augment.devices import find_device
    from augment.generators.collapse import collapse_notes
    from augment.generators.generated_folder import generate_folder, requested_counts
    from augment.generators.registry import load_model
    from pipelines.cli.terminal import Terminal

    model = load_model(run, find_device(device))
    counts = requested_counts(model, per_class=per_class, balance=balance, counts=parse_counts(count or []))
    with Terminal(quiet) as terminal:
        new = generate_folder(model, counts, out, format.value, seed=seed, overwrite=overwrite, observer=terminal)
    note(collapse_notes(new.data) if new else ())
    done = "" if new else " were there already and are left as they are"
    say(f"{sum(counts.values())} images of {sum(c > 0 for c in counts.values())} classes{done}: {out}")
    origin = model.about.origin
    if origin and model.about.tested:
        suggest("augment", "evaluate", *origin, "--synthetic", out, "--out", f"{out}-evaluation")
    elif origin:
        suggest("augment", "run", "quickstart", "--set", f"data.source={origin[0]}", *origin[1:], "--out", "runs/mine")
    else:
        suggest("augment", "generate", run, "--out", f"{out}-more", "--per-class", "200", "--seed", str(seed + 1))
