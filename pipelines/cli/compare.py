"""`augment compare DIR DIR ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import Overwrite, check_replaceable
from pipelines.cli.output import print_line, print_next_command

Folders = Annotated[
    list[Path], typer.Argument(metavar="DIR DIR...", help="Folders that augment evaluate or augment run wrote.")
]
Page = Annotated[Path | None, typer.Option("--out", metavar="FILE.html", help="Write an HTML page too.")]


def compare(folders: Folders, out: Page = None, overwrite: Overwrite = False) -> None:
    """Show several evaluations on the same test images side by side."""
    from pipelines.cli.tables import print_evaluations
    from pipelines.results.side_by_side import MARK, read_evaluations, write_page

    check_replaceable(out, overwrite, "compare", [MARK])
    evaluations = read_evaluations(folders)
    print_evaluations(evaluations)
    if out is not None:
        write_page(evaluations, out)
        print_line(f"page: {out}")
    else:
        print_next_command("augment", "compare", *folders, "--out", "compare.html")
