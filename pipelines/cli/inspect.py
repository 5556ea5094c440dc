"""`augment inspect SOURCE`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import Overwrite, Reading, SourceArgument, refuse_existing, refuse_into_source
from pipelines.cli.output import say, suggest

Sheet = Annotated[Path | None, typer.Option("--out", metavar="FILE.png", help="Write a contact sheet.")]
Duplicates = Annotated[
    Path | None, typer.Option("--duplicates", metavar="FILE.csv", help="Write all exact and near copies.")
]
SamplesPerClass = Annotated[int, typer.Option("--samples-per-class", min=1, help="Columns of the sheet.")]


def inspect(
    source: SourceArgument,
    reading: Reading,
    out: Sheet = None,
    duplicates: Duplicates = None,
    samples_per_class: SamplesPerClass = 10,
    overwrite: Overwrite = False,
) -> None:
    """Look at a source: classes, counts, sizes, duplicates, leaks between splits, and advice."""
    from augment.dataset.inspection import contact_sheet, write_duplicates, write_sheet
    from augment.dataset.inspection import inspect as inspect_source
    from augment.dataset.sources import read_source
    from augment.words import counted
    from pipelines.cli.tables import print_inspection

    for file in (out, duplicates):
        refuse_into_source(file, source)
        refuse_existing(file, overwrite)
    data = read_source(source, **reading.settings())
    inspection = inspect_source(data)
    print_inspection(inspection)
    if duplicates is not None:
        write_duplicates(inspection, data, duplicates)
        say(f"{counted(len(inspection.duplicate_pairs), 'pair')} of copies: {duplicates}")
    if out is not None:
        write_sheet(contact_sheet(data.train, samples_per_class), out)
        say(f"contact sheet: {out}")
    if data.test is not None or data.val is not None:
        suggest("augment", "fit", source, *reading.arguments(), "--out", "runs/gan")
    else:
        suggest(
            "augment", "run", "quickstart", "--set", f"data.source={source}", *reading.arguments(), "--out", "runs/mine"
        )
