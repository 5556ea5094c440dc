"""The time left is shown from the first second on, and then follows the measured speed."""

from __future__ import annotations

import io

from rich.console import Console

from augment.words import format_duration
from pipelines.cli.progress import TimeLeft, progress


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_at_first_the_time_left_is_the_expected_one() -> None:
    clock = Clock()
    left = TimeLeft(50, 300, clock)
    assert (left.seconds(), left.describe()) == (300, "5 min left")
    clock.now += 250
    assert left.describe() == "50 s left"
    clock.now += 250
    assert left.describe() == "a few seconds left"


def test_without_an_expected_time_the_text_is_not_blank() -> None:
    assert TimeLeft(50, None, Clock()).describe() == "estimating the time left"


def test_the_speed_so_far_replaces_the_expected_time() -> None:
    clock = Clock()
    left = TimeLeft(50, 10_000, clock)
    left.report(10)
    clock.now += 30
    left.report(20)
    assert left.seconds() == 90
    clock.now += 20
    assert left.seconds() == 70


def test_earlier_steps_of_a_continued_run_do_not_count_for_its_speed() -> None:
    clock = Clock()
    left = TimeLeft(1000, 2000, clock)
    clock.now += 1
    left.report(900)  # most of it was done yesterday
    assert left.seconds() == 200
    clock.now += 10
    left.report(910)
    assert left.seconds() == 90
    left.report(1000)
    assert left.describe() == "done"


def test_a_log_file_has_a_line_at_first_and_every_half_minute() -> None:
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


def test_times_are_written_in_words() -> None:
    seconds = (3, 38, 95, 60 * 20, 3600 * 2.5)
    expected = ["a few seconds", "40 seconds", "2 minutes", "20 minutes", "2.5 hours"]
    assert [format_duration(s) for s in seconds] == expected
