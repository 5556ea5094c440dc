"""Trackers: observers that record tasks for TensorBoard and for MLflow. `TRACKERS` lists them by name.

Both write into a folder on this machine. Nothing is sent over the network, unless the environment variable
MLFLOW_TRACKING_URI names an MLflow server. A tracker that cannot be used raises an error when it is created, before any
work starts. A tracker that fails later reports the failure once and records nothing more, and the work continues.

A continued task repeats the steps since its last checkpoint, and these steps are recorded twice, because neither format
can delete what was recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from augment.errors import ConfigError
from augment.fields import check_name
from augment.runtime import Observer, Observers
from pipelines.trackers.common import root_cause
from pipelines.trackers.mlflow import mlflow_tracker
from pipelines.trackers.tensorboard import tensorboard_tracker

TRACKERS: dict[str, Callable[[Path], Observer]] = {"tensorboard": tensorboard_tracker, "mlflow": mlflow_tracker}


def make_tracker(names: Sequence[str], folder: Path, on_failure: Callable[[str], None]) -> Observer:
    """Return one observer for all trackers in `names`, which write into `folder`.

    on_failure: called with one sentence when a tracker fails during the work. Raises `ConfigError` for an unknown name,
    for a missing package and for a server that does not answer, and `OutputError` if `folder` cannot be written.
    """
    for name in names:
        try:
            check_name(name, TRACKERS)
        except ValueError as error:
            raise ConfigError(f"no such tracker: {error}") from error
    return Observers([StopOnFailure(name, TRACKERS[name](folder), on_failure) for name in dict.fromkeys(names)])


class StopOnFailure(Observers):
    """Pass all events on to a tracker until it raises an error; then call `on_failure` once."""

    def __init__(self, name: str, tracker: Observer, on_failure: Callable[[str], None]) -> None:
        super().__init__([tracker])
        self._name, self._on_failure, self._failed = name, on_failure, False

    def pass_on(self, event: Callable[[Observer], None]) -> None:
        """Call `event` with the tracker, unless it has failed."""
        if self._failed:
            return
        try:
            super().pass_on(event)
        except Exception as error:  # any kind, because the trackers' packages do not document what they raise
            self._failed = True
            self._on_failure(f"the tracker {self._name} failed and records nothing more ({root_cause(error)})")
