"""Work between tasks is shown once it takes long, beside the task that is running if there is one."""

from __future__ import annotations

import io
from functools import partial

import pytest
from rich.console import Console

from augment.runtime import Task
from pipelines.cli import progress, terminal
from pipelines.cli.progress import TimeLeft
from pipelines.cli.terminal import Terminal


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(terminal.time, "monotonic", clock)
    monkeypatch.setattr(progress, "TimeLeft", partial(TimeLeft, clock=clock))
    return clock


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is written to standard error, which is a log file."""
    text = io.StringIO()
    monkeypatch.setattr(terminal, "ERR", Console(file=text, width=200))
    return text


def test_short_work_is_not_shown(clock: Clock, log: io.StringIO) -> None:
    with Terminal() as shown:
        for done in range(1, 11):
            clock.now += 0.19
            shown.on_work("read pictures", done, 10)
    assert log.getvalue() == ""


def test_long_work_is_shown_with_the_time_left(clock: Clock, log: io.StringIO) -> None:
    with Terminal() as shown:
        for done in range(1, 101):
            clock.now += 1
            shown.on_work("read pictures", done, 100)
    lines = log.getvalue().splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "read pictures 6/100",
        "read pictures 36/100",
        "read pictures 66/100",
        "read pictures 96/100",
    ]
    assert lines[0].endswith(": 94 s left")


def test_other_work_begins_anew(clock: Clock, log: io.StringIO) -> None:
    with Terminal() as shown:
        for name in ("read pictures", "search for copies"):
            shown.on_work(name, 1, 3)
            clock.now += 1.5
            shown.on_work(name, 2, 3)
            shown.on_work(name, 3, 3)
    assert log.getvalue() == ""


def test_work_within_a_task_is_shown_beside_it(clock: Clock, log: io.StringIO) -> None:
    task = Task("evaluate", 50)
    with Terminal() as shown:
        shown.on_start(task)
        shown.on_progress(task, 7, {})
        clock.now += 3
        shown.on_work("compute features", 4, 9)
        shown.on_end(task, {})
    assert log.getvalue().splitlines() == ["evaluate 7/50: estimating the time left, compute features 4/9"]


def test_work_before_the_first_part_does_not_count_as_its_speed(clock: Clock, log: io.StringIO) -> None:
    with Terminal() as shown:
        shown.on_start(Task("evaluate", 50, 100.0))
        for done in range(5):
            clock.now += 100
            shown.on_work("compute features", done, 5)
        for part in (1, 2):
            clock.now += 31
            shown.on_progress(Task("evaluate", 50), part, {})
    assert log.getvalue().splitlines()[-1] == "evaluate 2/50: 25 min left"  # 48 times 31 s


def test_quiet_hides_the_work(clock: Clock, log: io.StringIO) -> None:
    with Terminal(quiet=True) as shown:
        for done in range(1, 50):
            clock.now += 1
            shown.on_work("read pictures", done, 50)
    assert log.getvalue() == ""
