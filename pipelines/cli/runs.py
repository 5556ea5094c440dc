"""`augment runs DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder with outputs of augment, at any depth.")]


def runs(folder: Folder) -> None:
    """List the outputs in a folder: their kind, whether they are finished, their main result, and their date."""
    from augment.errors import ConfigError
    from augment.words import printable
    from pipelines.cli.output import print_line
    from pipelines.output_listing import list_outputs

    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder: expected one with outputs of augment")
    outputs = list_outputs(folder)
    if not outputs:
        print_line(f"{folder} holds no outputs of augment")
    for output in outputs:
        print_line(f"{output.path}  {output.command}, {output.state}, {output.changed:%Y-%m-%d %H:%M}")
        if output.headline:
            print_line(f"    {printable(output.headline)}")
