"""The time left is told from the first second on, and from then on by the speed that there is."""

from __future__ import annotations

import io

from rich.console import Console

from pipelines.cli.progress import TimeLeft, progress
from pipelines.experiment.time_estimate import format_duration


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_before_anything_is_done_it_is_what_was_expected() -> None:
    clock = Clock()
    left = TimeLeft(50, 300, clock)
    assert (left.seconds(), left.words()) == (300, "5 min left")
    clock.now += 250
    assert left.words() == "50 s left"
    clock.now += 250
    assert left.words() == "a few seconds left"


def test_where_nothing_is_expected_it_is_never_blank() -> None:
    assert TimeLeft(50, None, Clock()).words() == "time left: measuring"


def test_the_speed_so_far_takes_the_place_of_what_was_expected() -> None:
    clock = Clock()
    left = TimeLeft(50, 10_000, clock)
    left.report(10)
    clock.now += 30
    left.report(20)
    assert left.seconds() == 90
    clock.now += 20
    assert left.seconds() == 70


def test_a_continued_run_is_not_measured_by_what_was_done_before() -> None:
    clock = Clock()
    left = TimeLeft(1000, 2000, clock)
    clock.now += 1
    left.report(900)  # most of it was done yesterday
    assert left.seconds() == 200
    clock.now += 10
    left.report(910)
    assert left.seconds() == 90
    left.report(1000)
    assert left.words() == "done"


def test_a_log_file_has_a_line_after_two_seconds_and_then_every_half_minute() -> None:
    text = io.StringIO()
    with progress(Console(file=text), "fit", 100, quiet=False, expected=60) as show:
        show(1, "")
        assert text.getvalue() == ""
        lines = show  # a function that holds its clock
        lines.next_at -= 2  # type: ignore[attr-defined]
        show(2, "loss 0.5")
        show(3, "")
    (line,) = text.getvalue().splitlines()
    assert line.startswith("fit 2/100: ")
    assert line.endswith("left, loss 0.5")


def test_quiet_progress_is_silent() -> None:
    text = io.StringIO()
    with progress(Console(file=text), "fit", 100, quiet=True, expected=60) as show:
        show.next_at -= 10  # type: ignore[attr-defined]
        show(5, "")
    assert text.getvalue() == ""


def test_a_terminal_shows_the_time_left_at_once() -> None:
    text = io.StringIO()
    with progress(Console(file=text, force_terminal=True, width=100), "fit", 100, quiet=False, expected=600) as show:
        show(0, "loss 0.5")
    assert "10 min left" in text.getvalue()
    assert "loss 0.5" in text.getvalue()


def test_times_are_told_as_people_say_them() -> None:
    seconds = (3, 38, 95, 60 * 20, 3600 * 2.5)
    expected = ["a few seconds", "40 seconds", "2 minutes", "20 minutes", "2.5 hours"]
    assert [format_duration(s) for s in seconds] == expected
