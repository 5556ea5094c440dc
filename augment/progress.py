"""The progress callback of functions that take seconds and need neither an observer nor torch."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]  # called with the number of parts that are done, and of all


def no_progress(done: int, total: int) -> None:
    """Do nothing: the default of a function that takes a `Progress`."""
