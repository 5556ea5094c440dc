"""The one opener of `.csv` tables with a header: the sources of `path,label[,split]` and the scores beside images."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TextIO

from augment.errors import SourceError
from augment.files import describe_irregular
from augment.words import quoted, shortened

LONGEST_LINE = 2**20  # characters; a file without line ends is not read whole

Row = dict[str, str | None]  # by column; None where the line is too short


def read_rows(path: Path, used: Collection[str], needed: Collection[str] = ()) -> Iterator[tuple[str, Row]]:
    """(where it stands, the row) of each row that is not blank.

    Raises `SourceError` if `path` is no CSV, lacks one of the columns `needed` or has one of those `used` twice.
    """
    if kind := describe_irregular(path):
        raise SourceError(f"{path} is {kind}: expected a CSV file")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(_lines(file), strict=True)  # strict: a quote that is never closed is an error
            _check_columns(path, reader.fieldnames or (), used, needed)
            for row in reader:
                yield f"{path} line {reader.line_num}", row
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path} is no CSV in UTF-8 ({shortened(str(error))}); save it as one") from error


def _lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise csv.Error(f"a line has {LONGEST_LINE:,} characters or more")
        yield line


def _check_columns(path: Path, columns: Iterable[str], used: Collection[str], needed: Collection[str]) -> None:
    found = list(columns)
    if missing := [name for name in needed if name not in found]:
        raise SourceError(f"{path} line 1: the column {missing[0]!r} is missing; found {quoted(found)}")
    if twice := [name for name in used if found.count(name) > 1]:
        raise SourceError(f"{path} line 1: the column {twice[0]!r} is there {found.count(twice[0])} times; keep one")
