"""How far a command is and how long it will still take: a bar on a terminal, a line now and then in a log file.

The time left is never blank: before there is anything to measure by, it is what a probe expected.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from augment.words import printable

SECONDS_A_LINE, SECONDS_TO_FIRST = 30, 2  # between lines in a log file, and before the first one


class TimeLeft:
    """The time left of `total` equal parts. expected: seconds of all of them, as far as that is known beforehand."""

    def __init__(self, total: int, expected: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.expected, self.clock = total, expected, clock
        self.began = self.first_at = self.last_at = clock()
        self.first: int | None = None  # parts done at the first report: a continued run begins in the middle
        self.done = 0

    def report(self, done: int) -> None:
        """Note that `done` parts are done."""
        self.last_at, self.done = self.clock(), done
        if self.first is None:
            self.first, self.first_at = done, self.last_at

    def seconds(self) -> float | None:
        """Seconds left: by the speed so far, before that by what was expected, None where nothing is known."""
        now, left = self.clock(), self.total - self.done
        if self.first is not None and self.done > self.first:
            each = (self.last_at - self.first_at) / (self.done - self.first)
            return max(each * left - (now - self.last_at), 0.0)
        if self.expected is None:
            return None
        since = now - (self.began if self.first is None else self.last_at)
        return max(self.expected * left / max(self.total, 1) - since, 0.0)

    def words(self) -> str:
        """The time left in words."""
        seconds = self.seconds()
        if self.done >= self.total:
            return "done"
        if seconds is None:
            return "time left: measuring"
        if seconds < 10:
            return "a few seconds left"
        return f"{seconds:.0f} s left" if seconds < 100 else f"{seconds / 60:.0f} min left"


@contextmanager
def progress(
    console: Console, name: str, total: int, *, quiet: bool, expected: float | None = None
) -> Iterator[Callable[[int, str], None]]:
    """A function of (done, figures) that shows how far `name` is. expected: seconds of the whole."""
    left = TimeLeft(total, expected)
    if quiet or not console.is_terminal:
        yield _Lines(console, name, left, quiet)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(30),
        MofNCompleteColumn(),
        _Left(left),
        TextColumn("{task.fields[figures]}", markup=False),
    )

    def show(done: int, figures: str) -> None:
        left.report(done)
        bar.update(task, completed=done, figures=printable(figures))

    with Progress(*columns, console=console) as bar:
        task = bar.add_task(name, total=total, figures="")
        try:
            yield show
        except BaseException:
            bar.live.transient = True  # it vanishes, and the sentence that says what is wrong stands alone
            raise


class _Left(ProgressColumn):
    """The time left, counted down between reports."""

    def __init__(self, left: TimeLeft) -> None:
        super().__init__()
        self.left = left

    def render(self, task: Task) -> Text:
        """The words."""
        return Text(self.left.words())


class _Lines:
    """Progress for a log file: a line after two seconds, and one every half minute from then on."""

    def __init__(self, console: Console, name: str, left: TimeLeft, quiet: bool) -> None:
        self.console, self.name, self.left, self.quiet = console, name, left, quiet
        self.next_at = left.began + SECONDS_TO_FIRST

    def __call__(self, done: int, figures: str) -> None:
        self.left.report(done)
        now = self.left.last_at
        if self.quiet or now < self.next_at:
            return
        self.next_at = now + SECONDS_A_LINE
        parts = ", ".join(filter(None, (self.left.words(), figures)))
        self.console.print(f"{self.name} {done}/{self.left.total}: {parts}", soft_wrap=True)
