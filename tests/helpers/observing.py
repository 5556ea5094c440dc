"""An observer that keeps all that it receives, for tests of what a computation reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from augment.runtime import Observer, Task


@dataclass
class Kept(Observer):
    """Tasks that began and ended, notes, work, and by the task's name the parts that were done and their labels."""

    started: list[Task] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    done: dict[str, list[int]] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    work: list[tuple[str, int, int]] = field(default_factory=list)

    def on_start(self, task: Task) -> None:
        self.started.append(task)

    def on_progress(self, task: Task, done: int, metrics: Mapping[str, float], label: str = "") -> None:
        self.done.setdefault(task.name, []).append(done)
        self.labels.append(label)

    def on_end(self, task: Task, metrics: Mapping[str, float]) -> None:
        self.ended.append(task.name)

    def on_note(self, sentence: str) -> None:
        self.notes.append(sentence)

    def on_work(self, name: str, done: int, total: int) -> None:
        self.work.append((name, done, total))
