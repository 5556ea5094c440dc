"""Lines that commands print, each of them safe for a terminal: results, notes, and the next command to run."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import typer

from augment.words import printable, shell_word


def say(line: str) -> None:
    """Print one line on standard output."""
    typer.echo(printable(line))


def note(sentences: Iterable[str]) -> None:
    """Print sentences on standard error, each as a note."""
    for sentence in sentences:
        typer.echo(printable(f"note: {sentence}"), err=True)


def suggest(*command: str | Path) -> None:
    """Print the next command to run; it works when it is pasted into a shell."""
    say(f"next: {' '.join(shell_word(str(part)) for part in command)}")


def suggest_browser(page: Path) -> None:
    """Print the command that opens a page."""
    python = Path(sys.executable)  # by its name, where the shell finds this interpreter by it
    short = python.name if shutil.which(python.name) == sys.executable else sys.executable
    suggest(short, "-m", "webbrowser", "-t", page)
