"""Read `.csv` tables with a header: sources of the form `path,label[,split]` and the scores of generated images."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TextIO

from augment.dataset.images import SPLIT_NAMES
from augment.errors import SourceError
from augment.files import describe_irregular
from augment.words import quoted, shortened

SEPARATORS = ",;\t"
MAX_LINE_LENGTH = 2**20  # characters; otherwise a file without line ends would be read at once

Row = dict[str, str | None]  # by column; None if the line is too short


def read_rows(path: Path, used: Collection[str], needed: Collection[str] = ()) -> Iterator[tuple[str, Row]]:
    """Yield (file and line number, row) for each row that is not blank.

    Columns are separated by commas, semicolons or tabs; the case of their names and spaces around them do not matter.
    Raises `SourceError` if `path` is not a CSV file, lacks a column of `needed`, or has a column of `used` twice.
    """
    if kind := describe_irregular(path):
        raise SourceError(f"{path} is {kind}: expected a CSV file")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = _lines(file)
            header = next(lines, "")
            separator = max(SEPARATORS, key=header.count)
            # strict: an unclosed quote is an error
            reader = csv.DictReader(chain([header], lines), delimiter=separator, strict=True)
            given = list(reader.fieldnames or ())
            reader.fieldnames = [clean if (clean := name.strip().lower()) in used else name for name in given]
            _check_columns(path, reader.fieldnames, used, needed)
            for row in reader:
                yield f"{path} line {reader.line_num}", row
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path} is not CSV in UTF-8 ({shortened(str(error))}); save it as such") from error


def names_pictures(path: Path) -> bool:
    """Return whether a CSV file names pictures and their classes, and is not a table of something else."""
    try:
        next(read_rows(path, used=("path", "label"), needed=("path", "label")), None)
    except SourceError:
        return False
    return True


def read_split(where: str, row: Row) -> str | None:
    """Return the split that a row names in its column `split`; None if it names none.

    Raises `SourceError` for an unknown name, which says `where` it is.
    """
    name = (row.get("split") or "").strip()
    if name and name.lower() not in SPLIT_NAMES:
        raise SourceError(f"{where}: expected the split train, val or test, got {quoted(name)}")
    return SPLIT_NAMES.get(name.lower())


def _lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(MAX_LINE_LENGTH):
        if len(line) == MAX_LINE_LENGTH:
            raise csv.Error(f"a line has {MAX_LINE_LENGTH:,} characters or more")
        yield line


def _check_columns(path: Path, columns: Iterable[str], used: Collection[str], needed: Collection[str]) -> None:
    present = list(columns)
    if missing := [name for name in needed if name not in present]:
        names = " and ".join(needed)
        raise SourceError(
            f"{path} line 1: the column {missing[0]!r} is missing; found {quoted(present)}: call the columns {names}"
        )
    if repeated := [name for name in used if present.count(name) > 1]:
        raise SourceError(
            f"{path} line 1: the column {repeated[0]!r} is there {present.count(repeated[0])} times; keep one"
        )
