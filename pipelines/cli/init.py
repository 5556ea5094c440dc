"""`augment init SOURCE --out FILE.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import ImageOptions, Overwrite, SourceArgument, check_outside_sources, check_replaceable
from pipelines.cli.output import print_line, print_next_command

File = Annotated[Path, typer.Option("--out", metavar="FILE.yaml", help="The pipeline definition.")]
MARK = b"written by augment init"


def init(source: SourceArgument, out: File, images: ImageOptions, overwrite: Overwrite = False) -> None:
    """Write a commented pipeline for your images, to be changed and run."""
    from augment.dataset.sources import find_path
    from augment.files import write_text
    from pipelines.cli.terminal import Terminal
    from pipelines.drafting import draft

    check_outside_sources(out, source)
    check_replaceable(out, overwrite, "init", [MARK])
    before, path, after = find_path(source)
    resolved = source if path is None else f"{before}{path.resolve()}{after}"
    settings = {"source": resolved, **images.settings()}
    with Terminal() as terminal:
        text = draft([f"data.{name}={value}" for name, value in settings.items()], out, terminal)
    write_text(out, text)
    print_line(f"{out} is written; read it, and change what you like")
    print_next_command("augment", "run", out, "--dry-run")
