"""Trackers: observers that record tasks for TensorBoard and for MLflow. `TRACKERS` lists them by name.

Both write into a folder on this machine. Nothing is sent over the network, unless the environment variable
MLFLOW_TRACKING_URI names an MLflow server. A tracker that cannot be used raises an error when it is created, before any
work starts. A tracker that fails later reports the failure once and records nothing more, and the work continues.

A continued task repeats the steps since its last checkpoint, and these steps are recorded twice, because neither format
can delete what was recorded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from augment.errors import ConfigError
from augment.fields import check_name
from augment.runtime import NO_OBSERVER, Observer, Observers, Task
from pipelines.trackers.common import root_cause
from pipelines.trackers.mlflow import mlflow_tracker
from pipelines.trackers.tensorboard import tensorboard_tracker

TRACKERS: dict[str, Callable[[Path], Observer]] = {"tensorboard": tensorboard_tracker, "mlflow": mlflow_tracker}


def log_failure(sentence: str) -> None:
    """Log the sentence as a warning. Python writes warnings to standard error unless logging is configured."""
    logging.getLogger(__name__).warning("%s", sentence)


def make_tracker(names: Sequence[str], folder: Path, on_failure: Callable[[str], None] = log_failure) -> Observer:
    """Return one observer for all trackers in `names`, which write into `folder`; `NO_OBSERVER` if there are no names.

    on_failure: called with one sentence when a tracker fails during the work. Raises `ConfigError` for an unknown name,
    for a missing package and for a server that does not answer, and `OutputError` if `folder` cannot be written.
    """
    for name in names:
        try:
            check_name(name, TRACKERS)
        except ValueError as error:
            raise ConfigError(f"no such tracker: {error}") from error
    members = [StopOnFailure(name, TRACKERS[name](folder), on_failure) for name in dict.fromkeys(names)]
    if not members:
        return NO_OBSERVER
    return members[0] if len(members) == 1 else Observers(members)


class StopOnFailure(Observer):
    """Forward the events of tasks, and notes, to a tracker until it raises an error; then call `on_failure` once."""

    def __init__(self, name: str, tracker: Observer, on_failure: Callable[[str], None]) -> None:
        self._name, self._tracker, self._on_failure = name, tracker, on_failure
        self._failed = False

    def on_start(self, task: Task) -> None:
        """Forward the event."""
        self._call(self._tracker.on_start, task)

    def on_progress(self, task: Task, done: int, metrics: Mapping[str, float], label: str = "") -> None:
        """Forward the event."""
        self._call(self._tracker.on_progress, task, done, metrics, label)

    def on_end(self, task: Task, metrics: Mapping[str, float]) -> None:
        """Forward the event."""
        self._call(self._tracker.on_end, task, metrics)

    def on_note(self, sentence: str) -> None:
        """Forward the event."""
        self._call(self._tracker.on_note, sentence)

    def _call(self, method: Callable[..., None], *arguments: Any) -> None:
        if self._failed:
            return
        try:
            method(*arguments)
        except Exception as error:  # any kind, because the trackers' packages do not document what they raise
            self._failed = True
            self._on_failure(f"the tracker {self._name} failed and records nothing more ({root_cause(error)})")
