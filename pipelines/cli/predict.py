"""`augment predict MODEL PICTURES... --out FILE.csv`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import (
    Device,
    Jobs,
    Model,
    Overwrite,
    Quiet,
    SkipBroken,
    check_outside_sources,
    check_replaceable,
    resolve_jobs,
)
from pipelines.cli.output import print_line

Pictures = Annotated[
    list[str],
    typer.Argument(
        metavar="PICTURES...",
        help="Picture files, folders of pictures, or sources as for augment train; labelled or not.",
    ),
]
Table = Annotated[Path, typer.Option("--out", metavar="FILE.csv", help="The table of predictions.")]
Top = Annotated[
    int | None,
    typer.Option("--top", min=1, metavar="K", help="Write only the K most probable classes of each picture."),
]


def predict(
    model: Model,
    pictures: Pictures,
    out: Table,
    top: Top = None,
    skip_broken: SkipBroken = False,
    device: Device = "auto",
    jobs: Jobs = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Classify pictures, write their classes and probabilities, and measure the accuracy if they have labels."""
    from augment.devices import find_device
    from augment.runtime import Runtime
    from pipelines.cli.model_tables import print_predictions
    from pipelines.cli.terminal import Terminal
    from pipelines.model.prediction import HEADER
    from pipelines.model.prediction import predict as predict_pictures
    from pipelines.model.saved_model import load_model
    from pipelines.process import stop_on_signal

    check_outside_sources(out, str(model), *pictures)
    check_replaceable(out, overwrite, "predict", [HEADER])
    torch_device = find_device(device)
    saved = load_model(model, torch_device)
    with stop_on_signal() as stopped, Terminal(quiet) as terminal:
        runtime = Runtime(torch_device, resolve_jobs(jobs, torch_device.type), stopped, terminal)
        predictions = predict_pictures(saved, pictures, out, runtime, top=top, skip_broken=skip_broken)
    if predictions is None:
        raise KeyboardInterrupt
    print_predictions(predictions, saved.metadata.classes)
    print_line(f"predictions: {out}")
