"""Trackers: observers that record tasks for TensorBoard and for MLflow; `TRACKERS` has them by name.

Both write into a folder on this machine. Nothing is sent anywhere, unless the environment variable MLFLOW_TRACKING_URI
names an MLflow server. A tracker that cannot be used is refused when it is made, before any work; one that fails later
says so once and records nothing more, since the work is worth more than its record.

A continued task does the steps since its last checkpoint again, and they are recorded again: neither format has a way
to take back what was recorded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from augment.errors import ConfigError
from augment.fields import check_name
from augment.runtime import NO_OBSERVER, Observer, Observers, Task
from pipelines.trackers.common import reason_of
from pipelines.trackers.mlflow import mlflow_tracker
from pipelines.trackers.tensorboard import tensorboard_tracker

TRACKERS: dict[str, Callable[[Path], Observer]] = {"tensorboard": tensorboard_tracker, "mlflow": mlflow_tracker}


def log_failure(sentence: str) -> None:
    """Log the sentence as a warning, which Python writes to standard error unless logging is set up otherwise."""
    logging.getLogger(__name__).warning("%s", sentence)


def make_tracker(names: Sequence[str], folder: Path, on_failure: Callable[[str], None] = log_failure) -> Observer:
    """One observer for all the trackers `names`, which write into `folder`; `NO_OBSERVER` if there are no names.

    on_failure: is given one sentence when a tracker fails in the middle of the work. Raises `ConfigError` for an
    unknown name, a missing package and a server that does not answer, `OutputError` if `folder` cannot be written.
    """
    for name in names:
        try:
            check_name(name, TRACKERS)
        except ValueError as error:
            raise ConfigError(f"no such tracker: {error}") from error
    members = [UntilFailure(name, TRACKERS[name](folder), on_failure) for name in dict.fromkeys(names)]
    if not members:
        return NO_OBSERVER
    return members[0] if len(members) == 1 else Observers(members)


class UntilFailure(Observer):
    """Passes all events on to a tracker until it raises for the first time; then `on_failure` gets one sentence."""

    def __init__(self, name: str, tracker: Observer, on_failure: Callable[[str], None]) -> None:
        self._name, self._tracker, self._on_failure = name, tracker, on_failure
        self._failed = False

    def on_start(self, task: Task) -> None:
        """Pass it on."""
        self._call(self._tracker.on_start, task)

    def on_progress(self, task: Task, done: int, metrics: Mapping[str, float], label: str = "") -> None:
        """Pass it on."""
        self._call(self._tracker.on_progress, task, done, metrics, label)

    def on_end(self, task: Task, metrics: Mapping[str, float]) -> None:
        """Pass it on."""
        self._call(self._tracker.on_end, task, metrics)

    def on_note(self, sentence: str) -> None:
        """Pass it on."""
        self._call(self._tracker.on_note, sentence)

    def _call(self, method: Callable[..., None], *event: Any) -> None:
        if self._failed:
            return
        try:
            method(*event)
        except Exception as error:  # of any kind: what a tracker's package raises is not documented
            self._failed = True
            self._on_failure(f"the tracker {self._name} failed and records nothing more ({reason_of(error)})")
