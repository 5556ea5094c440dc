"""`Runtime`: where a long computation runs, on how many processes, when it stops, and who follows it.

An observer is told of a few events: a task begins, it progresses, it ends, and something is worth a sentence. Progress
bars, log files and trackers are observers; several together are one, `Observers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True)
class Task:
    """A computation that an observer can follow.

    total: how many parts it has (steps, images, classifiers). seconds: how long all of them are expected to take, None
    if that is not known. settings: what it is made with, as plain values.
    """

    name: str
    total: int
    seconds: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


class Observer:
    """Somebody who follows a computation. The methods do nothing here; an observer overrides those that it needs."""

    wants_estimates: bool = False  # of the seconds that a task will take, which cost a probe of some seconds

    def on_start(self, task: Task) -> None:
        """A task begins, or goes on after an interruption."""

    def on_progress(self, task: Task, done: int, metrics: Mapping[str, float], label: str = "") -> None:
        """`done` of the task's parts are done. metrics: figures by name. label: words on the part that has ended."""

    def on_end(self, task: Task, metrics: Mapping[str, float]) -> None:
        """A task has ended, with these figures. A task that was stopped has no end."""

    def on_note(self, sentence: str) -> None:
        """Something is not as a person might expect."""


@dataclass(frozen=True)
class Observers(Observer):
    """Several observers, told in their order."""

    members: Sequence[Observer]

    def __post_init__(self) -> None:
        wanted = any(member.wants_estimates for member in self.members)
        object.__setattr__(self, "wants_estimates", wanted)  # the class is frozen

    def on_start(self, task: Task) -> None:
        """Tell all."""
        for member in self.members:
            member.on_start(task)

    def on_progress(self, task: Task, done: int, metrics: Mapping[str, float], label: str = "") -> None:
        """Tell all."""
        for member in self.members:
            member.on_progress(task, done, metrics, label)

    def on_end(self, task: Task, metrics: Mapping[str, float]) -> None:
        """Tell all."""
        for member in self.members:
            member.on_end(task, metrics)

    def on_note(self, sentence: str) -> None:
        """Tell all."""
        for member in self.members:
            member.on_note(sentence)


def never() -> bool:
    """Not stopped."""
    return False


CPU, NOBODY = torch.device("cpu"), Observer()


@dataclass(frozen=True)
class Runtime:
    """What a long computation is given. stopped: asked now and then; once it is true, the work is saved and ends."""

    device: torch.device = CPU
    jobs: int = 1  # processes, of one torch thread each if there are several
    stopped: Callable[[], bool] = never
    observer: Observer = NOBODY


DEFAULT = Runtime()
