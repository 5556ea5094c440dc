"""`augment bench`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from augment.errors import ConfigError
from pipelines.cli.options import Device, Overwrite, Quiet
from pipelines.cli.output import print_next_command


def bench(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for bench.json and bench.png.")
    ] = None,
    preset: Annotated[str, typer.Option("--preset", help="Networks and batch: quickstart or dcgan-64.")] = "quickstart",
    repeats: Annotated[
        int | None,
        typer.Option(
            "--repeats",
            min=3,
            max=10**6,
            help="Interleaved repeats of each step; default: 60 for quickstart, 5 for dcgan-64.",
        ),
    ] = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Compare the time of one-stage and two-stage training steps, with the same networks, batch and weights."""
    from augment.devices import find_device
    from augment.gan.step_benchmark import find_preset, measure, write_bench
    from augment.output_folders import open_output
    from augment.runtime import Runtime
    from pipelines.cli.tables import print_bench
    from pipelines.cli.terminal import Terminal

    torch_device, _ = find_device(device), find_preset(preset)
    with ExitStack() as stack:
        output = stack.enter_context(open_output(out, "bench", overwrite=overwrite)) if out is not None else None
        if output is not None and output.finished:
            raise ConfigError(f"{out} already holds a measurement; choose another folder, or give --overwrite")
        with Terminal(quiet) as terminal:
            result = measure(preset, Runtime(torch_device, observer=terminal), repeats=repeats)
        print_bench(result)
        if output is not None:
            write_bench(result, output)
    print_next_command("augment", "fit", "bundled:fashion", "--samples-per-class", "20", "--out", "runs/gan")
