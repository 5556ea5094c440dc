"""`augment export MODEL --out FILE.onnx`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import Model, Overwrite, check_replaceable
from pipelines.cli.output import print_line

File = Annotated[Path, typer.Option("--out", metavar="FILE.onnx", help="The ONNX file.")]


def export(model: Model, out: File, overwrite: Overwrite = False) -> None:
    """Write a classifier as one ONNX file for other programs: pixels in, probabilities out."""
    import torch

    from pipelines.model.exporting import PRODUCER, snippet
    from pipelines.model.exporting import export as export_model
    from pipelines.model.saved_model import load_model

    check_replaceable(out, overwrite, "export", [PRODUCER.encode()])
    saved = load_model(model, torch.device("cpu"))
    difference = export_model(saved, out)
    print_line(f"{out}: its probabilities differ from those of PyTorch by at most {difference:.1g}")
    print_line("to classify a square picture with it:")
    for line in snippet(saved.metadata, out).splitlines():
        print_line(f"    {line}")
