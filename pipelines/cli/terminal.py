"""Consoles that are safe for text of unknown origin, and the observer that shows the progress of a command."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Self

from rich.console import Console
from rich.text import Text

from augment.runtime import Observer, Task
from augment.words import printable
from pipelines.cli.progress import SECONDS_TO_FIRST_LINE, progress


class _Console(Console):
    """A console that escapes control characters in strings, because names of classes and files may contain them."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print objects; line breaks in strings are escaped as well."""
        super().print(*(printable(part) if isinstance(part, str) else part for part in objects), **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Render a string of a table; line breaks are kept, because headers and cells use them."""
        return super().render_str("\n".join(map(printable, text.split("\n"))), **options)


OUT = _Console(highlight=False, soft_wrap=True, markup=False)  # without markup, because a class may be named [b]
ERR = _Console(stderr=True, highlight=False, markup=False)


class Terminal(Observer):
    """Show the progress of one task after another, work between tasks that takes long, and notes.

    quiet: show only notes.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.wants_estimates = not quiet
        self._stack = ExitStack()
        self._show: Callable[[int | None, str], None] | None = None  # of the task or the work that is shown
        self._task: str | None = None
        self._work, self._work_began = "", 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def on_start(self, task: Task) -> None:
        """Show the task instead of the previous one."""
        self._open(task.name, task.total, task.seconds)
        self._task = task.name

    def on_progress(self, task: Task, done: int, metrics: Mapping[str, float], label: str = "") -> None:
        """Show the progress of the task, with the label and the metrics."""
        if self._show is not None:
            self._show(done, ": ".join(filter(None, (label, ", ".join(map(_format_metric, metrics.items()))))))

    def on_end(self, task: Task, metrics: Mapping[str, float]) -> None:
        """Remember that the task has ended. Its bar stays until something else is shown."""
        self._task = None

    def on_work(self, name: str, done: int, total: int) -> None:
        """Show the work beside the task that is running, or else with a bar of its own once it has taken 2 seconds."""
        if self._task is not None and self._show is not None:
            self._show(None, f"{name} {done}/{total}")
            return
        if name != self._work:
            self._work, self._work_began, self._show = name, time.monotonic(), None
        if self._show is None and done < total and time.monotonic() - self._work_began > SECONDS_TO_FIRST_LINE:
            self._open(name, total, None)
        if self._show is not None:
            self._show(done, "")
        if done == total:
            self._work = ""

    def _open(self, name: str, total: int, seconds: float | None) -> None:
        self._stack.close()
        self._show = self._stack.enter_context(progress(ERR, name, total, quiet=self.quiet, expected=seconds))

    def on_note(self, sentence: str) -> None:
        """Print the sentence."""
        ERR.print(f"note: {sentence}", soft_wrap=True)


def _format_metric(metric: tuple[str, float]) -> str:
    name, value = metric
    return f"{value:,.0f} images/s" if name == "images_per_second" else f"{name.replace('_', ' ')} {value:.3f}"
