"""Print lines: results, notes and the next command to run. Control characters are escaped, as in `printable`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from augment.words import printable, shell_word

if TYPE_CHECKING:
    from pipelines.config.sections import DataConfig
    from pipelines.results.document import Results


def print_line(line: str) -> None:
    """Print one line to standard output."""
    typer.echo(printable(line))


def print_notes(sentences: Iterable[str]) -> None:
    """Print each sentence to standard error, as a note."""
    for sentence in sentences:
        typer.echo(printable(f"note: {sentence}"), err=True)


def print_next_command(*command: str | Path, label: str = "next") -> None:
    """Print a command to run after this one, quoted so that it can be pasted into a shell. label: what it is for."""
    print_line(f"{label}: {' '.join(shell_word(str(part)) for part in command)}")


def print_commands_after(data: DataConfig, results: Results, folder: Path, *, of_run: bool) -> None:
    """Print the commands that keep a classifier, if `augment train` can do so from `folder`, and that open the report.

    of_run: whether `folder` is of an `augment run`, which has the generator that an arm with synthetic images needs,
    and not of an `augment evaluate`.
    """
    from pipelines.results.document import EVALUATION, REPORT

    flags = ["--skip-broken"] if data.skip_broken else []
    flags += ["--drop-duplicates"] if data.drop_duplicates else []
    flags += ["--resize", data.resize] if data.resize != "pad" else []
    command = ("augment", "train", data.source, *flags, "--run", str(folder), "--out", f"{folder}-model")
    if results.keep and (of_run or not results.recommendation.augment):
        print_next_command(*command, label="to keep a classifier")
    print_browser_command((folder / EVALUATION if of_run else folder) / REPORT)


def print_browser_command(page: Path) -> None:
    """Print the path of an HTML page, and the command that opens it in the browser."""
    print_line(f"report: {page}")
    name = Path(sys.executable).name  # the name is enough if the shell finds this interpreter by it
    python = name if shutil.which(name) == sys.executable else sys.executable
    print_next_command(python, "-m", "webbrowser", "-t", page)
