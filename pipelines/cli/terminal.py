"""Consoles that are safe for text of unknown origin, and the observer that shows the progress of a command."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Self

from rich.console import Console
from rich.text import Text

from augment.runtime import Observer, Task
from augment.words import printable
from pipelines.cli.progress import progress


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
    """Show the progress of one task after another, and notes. quiet: show only notes."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.wants_estimates = not quiet
        self._stack = ExitStack()
        self._show: Callable[[int, str], None] = lambda done, figures: None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def on_start(self, task: Task) -> None:
        """Show the task instead of the previous one."""
        self._stack.close()
        bar = progress(ERR, task.name, task.total, quiet=self.quiet, expected=task.seconds)
        self._show = self._stack.enter_context(bar)

    def on_progress(self, task: Task, done: int, metrics: Mapping[str, float], label: str = "") -> None:
        """Show the progress of the task, with the label and the metrics."""
        self._show(done, ": ".join(filter(None, (label, ", ".join(map(_format_metric, metrics.items()))))))

    def on_note(self, sentence: str) -> None:
        """Print the sentence."""
        ERR.print(f"note: {sentence}", soft_wrap=True)


def _format_metric(metric: tuple[str, float]) -> str:
    name, value = metric
    return f"{value:,.0f} images/s" if name == "images_per_second" else f"{name.replace('_', ' ')} {value:.3f}"
