"""What people see in a terminal while something is computed, and the `Runtime` of a command."""

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
    """A console that escapes control characters in strings: a class or a file may be called anything."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print; a string is one line."""
        super().print(*(printable(part) if isinstance(part, str) else part for part in objects), **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Strings within tables; those of our own may have several lines."""
        return super().render_str("\n".join(map(printable, text.split("\n"))), **options)


OUT = _Console(highlight=False, soft_wrap=True, markup=False)  # a class may be called [b]
ERR = _Console(stderr=True, highlight=False, markup=False)


class Terminal(Observer):
    """A bar or lines for each task, one after the other, and notes. quiet: notes only."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.wants_estimates = not quiet
        self._stack = ExitStack()
        self._show: Callable[[int, str], None] = lambda done, words: None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def on_start(self, task: Task) -> None:
        """Show the task in place of the one before."""
        self._stack.close()
        bar = progress(ERR, task.name, task.total, quiet=self.quiet, expected=task.seconds)
        self._show = self._stack.enter_context(bar)

    def on_progress(self, task: Task, done: int, metrics: Mapping[str, float], label: str = "") -> None:
        """Show how far the task is."""
        self._show(done, ": ".join(filter(None, (label, ", ".join(map(_in_words, metrics.items()))))))

    def on_note(self, sentence: str) -> None:
        """Print the sentence."""
        ERR.print(f"note: {sentence}", soft_wrap=True)


def _in_words(metric: tuple[str, float]) -> str:
    name, value = metric
    return f"{value:,.0f} images/s" if name == "images_per_second" else f"{name.replace('_', ' ')} {value:.3f}"
