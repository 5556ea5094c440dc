"""Record tasks for TensorBoard as scalars and texts. To see them: `tensorboard --logdir FOLDER/tensorboard`."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from augment.files import path_inside
from augment.runtime import Observer, Task
from pipelines.trackers.common import converting_import_errors, converting_os_errors, flatten


class TensorBoardTracker(Observer):
    """Write metrics as scalars TASK/METRIC and settings and notes as texts TASK/settings and TASK/notes into one file.

    The tracker writes each event itself instead of using torch's SummaryWriter, which writes from a background thread:
    there, a full disk causes a traceback on the terminal that the caller cannot catch.
    """

    def __init__(self, path: Path) -> None:
        """path: a new event file, whose name must contain "tfevents"."""
        from tensorboard.compat.proto.event_pb2 import Event
        from torch.utils.tensorboard import RecordWriter, summary

        self._path = path
        self._event, self._record_writer, self._summary = Event, RecordWriter, cast(Any, summary)
        self._task, self._done = "", 0  # the task and the step that the next note refers to
        self._write(file_version="brain.Event:2")

    def on_start(self, task: Task) -> None:
        """Write the settings, one per line; four leading spaces keep TensorBoard from treating them as Markdown."""
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
        """Write the sentence at the current step of the task."""
        tag = f"{self._task}/notes" if self._task else "notes"
        self._write(step=self._done, summary=self._summary.text(tag, sentence))

    def _write(self, **fields: Any) -> None:
        """Append one event. The file is closed each time, so that no event waits in a buffer of this process."""
        event = self._event(wall_time=time.time(), **fields)
        with self._path.open("ab") as file:
            self._record_writer(file).write(event.SerializeToString())


def tensorboard_tracker(folder: Path) -> Observer:
    """Return a tracker that writes a new file into `folder`/tensorboard. Raises the errors of `make_tracker`."""
    name = f"events.out.tfevents.{time.time_ns()}.{os.getpid()}"  # with the time first, so that names sort by it
    path = path_inside(folder, "tensorboard") / name
    with converting_import_errors("tensorboard"):
        import tensorboard  # noqa: F401
    with converting_os_errors(folder):
        path.parent.mkdir(parents=True, exist_ok=True)
        return TensorBoardTracker(path)
