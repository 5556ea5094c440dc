"""TensorBoard: scalars and texts; `tensorboard --logdir FOLDER/tensorboard` shows them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from augment.files import path_inside
from augment.runtime import Observer, Task
from pipelines.trackers.common import flatten, needing, writing


class TensorBoardTracker(Observer):
    """Metrics as scalars TASK/METRIC, settings and notes as texts TASK/settings and TASK/notes, in one file.

    The file is written here, event by event, and not by torch's SummaryWriter: that one writes from a thread of its
    own, where a full disk ends in a traceback on the terminal that nobody can catch.
    """

    def __init__(self, path: Path) -> None:
        """path: of a new event file, whose name has to contain "tfevents"."""
        from tensorboard.compat.proto.event_pb2 import Event
        from torch.utils.tensorboard import RecordWriter, summary

        self._path = path
        self._event, self._record_writer, self._summary = Event, RecordWriter, cast(Any, summary)
        self._task, self._done = "", 0  # what a note is about
        self._write(file_version="brain.Event:2")

    def on_start(self, task: Task) -> None:
        """Write the settings, one a line; four spaces keep TensorBoard from reading them as Markdown."""
        self._task, self._done = task.name, 0
        if task.settings:
            lines = [f"    {name}: {value}" for name, value in flatten(task.settings).items()]
            self._write(summary=self._summary.text(f"{task.name}/settings", "\n".join(lines)))

    def on_progress(self, task: Task, done: int, metrics: Mapping[str, float], label: str = "") -> None:
        """Write each metric at the step `done`."""
        self._task, self._done = task.name, done
        for name, value in metrics.items():
            self._write(step=done, summary=self._summary.scalar(f"{task.name}/{name}", value))

    def on_end(self, task: Task, metrics: Mapping[str, float]) -> None:
        """Write the final metrics at the last step."""
        self.on_progress(task, task.total, metrics)

    def on_note(self, sentence: str) -> None:
        """Write the sentence at the step to which the task has come."""
        tag = f"{self._task}/notes" if self._task else "notes"
        self._write(step=self._done, summary=self._summary.text(tag, sentence))

    def _write(self, **fields: Any) -> None:
        """Append one event. The file is not kept open, so every event is on its way to the disk on return."""
        event = self._event(wall_time=time.time(), **fields)
        with self._path.open("ab") as file:
            self._record_writer(file).write(event.SerializeToString())


def tensorboard_tracker(folder: Path) -> Observer:
    """A tracker that writes a new file into `folder`/tensorboard. Raises as `make_tracker` does."""
    path = path_inside(folder, "tensorboard") / f"events.out.tfevents.{time.time_ns()}.{os.getpid()}"  # sorted by time
    with needing("tensorboard"):
        import tensorboard  # noqa: F401
    with writing(folder):
        path.parent.mkdir(parents=True, exist_ok=True)
        return TensorBoardTracker(path)
