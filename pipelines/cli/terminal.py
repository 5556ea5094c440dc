"""What people see in a terminal while something is computed, and the `Runtime` of a command."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.text import Text

from augment.devices import find_device
from augment.runtime import Observer, Observers, Runtime, Task
from augment.words import printable
from pipelines.cli.options import resolve_jobs
from pipelines.cli.progress import progress
from pipelines.process import stop_on_signal


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
    """A bar or lines for each task, one after the other, and notes. quiet: neither."""

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
        if not self.quiet:
            ERR.print(f"note: {sentence}", soft_wrap=True)


def _in_words(metric: tuple[str, float]) -> str:
    name, value = metric
    return f"{value:,.0f} images/s" if name == "images_per_second" else f"{name.replace('_', ' ')} {value:.3f}"


@contextmanager
def computing(
    device: str, jobs: int | None, quiet: bool, trackers: Sequence[str] | None, out: Path, dry: bool = False
) -> Iterator[Runtime]:
    """The runtime of a command: a signal stops it, the terminal and the trackers follow it.

    trackers: names; they write beside the folder `out`, and not at all in a dry run. Raises `DeviceError` for a device
    that is not there, `ConfigError` and `OutputError` for trackers that cannot be used.
    """
    where = find_device(device)
    with ExitStack() as stack:
        observers: list[Observer] = [terminal := Terminal(quiet)]
        if trackers and not dry:
            raise NotImplementedError
        stopped = stack.enter_context(stop_on_signal())
        stack.enter_context(terminal)
        yield Runtime(where, resolve_jobs(jobs, where.type), stopped, Observers(observers))
