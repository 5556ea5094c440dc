"""`augment inspect SOURCE`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from augment.errors import ConfigError
from pipelines.cli.options import Overwrite, ReadingOptions, SourceArgument, check_outside_sources, check_replaceable
from pipelines.cli.output import print_line, print_next_command

Sheet = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="FILE.png", help="Write a contact sheet: one picture with sample images of each class."
    ),
]
Duplicates = Annotated[
    Path | None, typer.Option("--duplicates", metavar="FILE.csv", help="Write a table of all exact and near copies.")
]
SamplesPerClass = Annotated[
    int, typer.Option("--samples-per-class", min=1, help="Sample images of each class on the sheet.")
]


def inspect(
    source: SourceArgument,
    reading: ReadingOptions,
    out: Sheet = None,
    duplicates: Duplicates = None,
    samples_per_class: SamplesPerClass = 10,
    overwrite: Overwrite = False,
) -> None:
    """Report the classes, counts and sizes of a source, duplicates, leaks between its splits, and advice."""
    from augment.dataset.inspection import MARKS, contact_sheet, write_duplicates, write_sheet
    from augment.dataset.inspection import inspect as inspect_source
    from augment.dataset.sources import read_source
    from augment.words import counted
    from pipelines.cli.tables import print_inspection
    from pipelines.cli.terminal import Terminal
    from pipelines.experiment.loading import COMPARING, READING

    if out is not None and out == duplicates:
        raise ConfigError(f"--out and --duplicates are both {out}; give two files")
    for file in (out, duplicates):
        check_outside_sources(file, source)
        check_replaceable(file, overwrite, "inspect", MARKS)
    with Terminal() as terminal:
        data = read_source(source, **reading.settings(), progress=partial(terminal.on_work, READING))
        inspection = inspect_source(data, partial(terminal.on_work, COMPARING))
    print_inspection(inspection)
    if duplicates is not None:
        write_duplicates(inspection, data, duplicates)
        print_line(f"{counted(len(inspection.duplicate_pairs), 'pair')} of copies: {duplicates}")
    if out is not None:
        write_sheet(contact_sheet(data.train, samples_per_class), out)
        print_line(f"contact sheet: {out}")
    print_next_command("augment", "run", "auto", source, *reading.arguments(), "--out", "runs/mine")
