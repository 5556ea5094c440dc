"""Show the progress of a command and the time left: as a bar on a terminal, as occasional lines in a log file.

Until the speed can be measured, the time left is the estimate that the caller gives.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from augment.words import printable

SECONDS_BETWEEN_LINES, SECONDS_TO_FIRST_LINE = 30, 2  # in a log file


class TimeLeft:
    """Estimate the time left of a task of `total` equal parts.

    expected: an estimate of the seconds of all parts, or None.
    """

    def __init__(self, total: int, expected: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.expected, self.clock = total, expected, clock
        self.started_at = self.first_at = self.last_at = clock()
        self.first: int | None = None  # parts done at the first report; above 0 if an earlier run is continued
        self.done = 0

    def report(self, done: int) -> None:
        """Record that `done` parts are done."""
        self.last_at, self.done = self.clock(), done
        if self.first is None:
            self.first, self.first_at = done, self.last_at

    def seconds(self) -> float | None:
        """Return the seconds left, from the speed so far or else from `expected`; None if both are unknown."""
        now, parts_left = self.clock(), self.total - self.done
        if self.first is not None and self.done > self.first:
            seconds_per_part = (self.last_at - self.first_at) / (self.done - self.first)
            return max(seconds_per_part * parts_left - (now - self.last_at), 0.0)
        if self.expected is None:
            return None
        elapsed = now - (self.started_at if self.first is None else self.last_at)
        return max(self.expected * parts_left / max(self.total, 1) - elapsed, 0.0)

    def describe(self) -> str:
        """Return the time left in words."""
        seconds = self.seconds()
        if self.done >= self.total:
            return "done"
        if seconds is None:
            return "estimating the time left"
        if seconds < 10:
            return "a few seconds left"
        return f"{seconds:.0f} s left" if seconds < 100 else f"{seconds / 60:.0f} min left"


@contextmanager
def progress(
    console: Console, name: str, total: int, *, quiet: bool, expected: float | None = None
) -> Iterator[Callable[[int | None, str], None]]:
    """Yield a function of (done, metrics) that shows the progress of `name`. expected: as in `TimeLeft`.

    done: None for metrics alone, while no part is worked on, which tells nothing about the time left.
    """
    time_left = TimeLeft(total, expected)
    if quiet or not console.is_terminal:
        yield _ProgressLines(console, name, time_left, quiet)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(30),
        MofNCompleteColumn(),
        _TimeLeftColumn(time_left),
        TextColumn("{task.fields[metrics]}", markup=False),
    )

    def show(done: int | None, metrics: str) -> None:
        if done is not None:
            time_left.report(done)
        bar.update(task, completed=time_left.done, metrics=printable(metrics))

    with Progress(*columns, console=console) as bar:
        task = bar.add_task(name, total=total, metrics="")
        try:
            yield show
        except BaseException:
            bar.live.transient = True  # remove the bar, so that only the error message remains
            raise


class _TimeLeftColumn(ProgressColumn):
    """Show the time left, which counts down between reports."""

    def __init__(self, time_left: TimeLeft) -> None:
        super().__init__()
        self.time_left = time_left

    def render(self, task: Task) -> Text:
        """Return the time left in words."""
        return Text(self.time_left.describe())


class _ProgressLines:
    """Print progress to a log file: one line after 2 seconds, then one every 30 seconds."""

    def __init__(self, console: Console, name: str, time_left: TimeLeft, quiet: bool) -> None:
        self.console, self.name, self.time_left, self.quiet = console, name, time_left, quiet
        self.next_at = time_left.started_at + SECONDS_TO_FIRST_LINE

    def __call__(self, done: int | None, metrics: str) -> None:
        if done is not None:
            self.time_left.report(done)
        now = self.time_left.clock()
        if self.quiet or now < self.next_at:
            return
        self.next_at = now + SECONDS_BETWEEN_LINES
        description = ", ".join(filter(None, (self.time_left.describe(), metrics)))
        self.console.print(f"{self.name} {self.time_left.done}/{self.time_left.total}: {description}", soft_wrap=True)
