"""`Runtime`: the device, the number of processes, the stop condition and the observer of a long computation.

Observers receive five events: the start, the progress and the end of a task, a note for the user, and the progress of
work between tasks. Progress bars, log files and trackers are observers; `Observers` combines several into one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True)
class Task:
    """A computation that an observer can follow.

    total: the number of its parts (steps, images or classifiers). seconds: the expected duration of the whole task, or
    None if unknown. settings: the settings of the computation, as plain values.
    """

    name: str
    total: int
    seconds: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


class Observer:
    """Base class of observers. Its methods do nothing; a subclass overrides those that it needs."""

    wants_estimates: bool = False  # whether to estimate the duration of tasks, which takes a few seconds

    def on_start(self, task: Task) -> None:
        """Called when a task starts, or continues after an interruption."""

    def on_progress(self, task: Task, done: int, metrics: Mapping[str, float], label: str = "") -> None:
        """Called when `done` parts are complete. metrics: by name. label: describes the part that has just ended."""

    def on_end(self, task: Task, metrics: Mapping[str, float]) -> None:
        """Called when a task has ended, with its final metrics; not called if the task was stopped."""

    def on_note(self, sentence: str) -> None:
        """Called with a sentence about something that the user might not expect."""

    def on_work(self, name: str, done: int, total: int) -> None:
        """Called when `done` of `total` parts of some work between tasks are complete, such as reading pictures."""


class Observers(Observer):
    """Pass every event on to several observers, in their order."""

    def __init__(self, members: Sequence[Observer]) -> None:
        self._members = members
        self.wants_estimates = any(member.wants_estimates for member in members)

    def pass_on(self, event: Callable[[Observer], None]) -> None:
        """Call `event` with each observer."""
        for member in self._members:
            event(member)

    def on_start(self, task: Task) -> None:
        """Pass the event on."""
        self.pass_on(lambda member: member.on_start(task))

    def on_progress(self, task: Task, done: int, metrics: Mapping[str, float], label: str = "") -> None:
        """Pass the event on."""
        self.pass_on(lambda member: member.on_progress(task, done, metrics, label))

    def on_end(self, task: Task, metrics: Mapping[str, float]) -> None:
        """Pass the event on."""
        self.pass_on(lambda member: member.on_end(task, metrics))

    def on_note(self, sentence: str) -> None:
        """Pass the event on."""
        self.pass_on(lambda member: member.on_note(sentence))

    def on_work(self, name: str, done: int, total: int) -> None:
        """Pass the event on."""
        self.pass_on(lambda member: member.on_work(name, done, total))


def never() -> bool:
    """Return False: the default of `Runtime.stopped`, which never stops a computation."""
    return False


CPU, NO_OBSERVER = torch.device("cpu"), Observer()


@dataclass(frozen=True)
class Runtime:
    """The resources of a long computation.

    stopped: called regularly; once it returns True, the computation saves its state and ends.
    """

    device: torch.device = CPU
    jobs: int = 1  # processes; if there are several, each uses one torch thread
    stopped: Callable[[], bool] = never
    observer: Observer = NO_OBSERVER


DEFAULT_RUNTIME = Runtime()
