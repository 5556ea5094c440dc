"""MLflow: a run for each task, in a database in a folder, or on the server that MLFLOW_TRACKING_URI names.

`mlflow ui --backend-store-uri sqlite:///FOLDER/mlflow.db` shows them. The package mlflow has it, mlflow-skinny only
records.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from augment.errors import ConfigError, OutputError
from augment.files import path_inside
from augment.runtime import Observer, Task
from augment.words import printable, shortened
from pipelines.trackers.common import flatten, needing, reason_of, writing

LONGEST_KEY, LONGEST_VALUE, LONGEST_NOTES = 250, 6000, 5000  # characters that MLflow takes of each
LARGEST_BATCH = 100  # parameters that MLflow takes at once; it takes more metrics
IDENTITY, DESCRIPTION = "augment.identity", "mlflow.note.content"  # tags of a run; MLflow shows the second as text
QUICK_AND_QUIET = {  # defaults for MLflow; a value that the user has set in the environment is kept
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # its own default is 7, which holds the work up for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",  # seconds
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # below that it writes tracebacks
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


class MlflowTracker(Observer):
    """One MLflow run for each task: its settings are parameters, its notes the description.

    A run that has no end yet is continued if its parameters are the same: its task was interrupted.
    """

    def __init__(self, client: Any, experiment: str, place: str = "") -> None:
        """client: an `MlflowClient`. experiment: an id. place: tells apart the folders that share the experiment."""
        from mlflow import entities

        self._entities = entities
        self._client, self._experiment, self._place = client, experiment, place
        self._runs: dict[str, str] = {}  # ids of the runs that have begun, by task
        self._newest = ""  # id of the run that notes belong to
        self._early_notes: list[str] = []  # of the time before the first run

    def on_start(self, task: Task) -> None:
        """Open the run of the task, new or as an interruption left it."""
        parameters = {_key(name): shortened(text, LONGEST_VALUE) for name, text in flatten(task.settings).items()}
        identity = hashlib.sha256(f"{self._place}\0{task.name}".encode("utf-8", "surrogateescape")).hexdigest()
        run, present = self._unfinished(identity, parameters)
        if not run:
            run = self._client.create_run(self._experiment, None, {IDENTITY: identity}, task.name).info.run_id
        self._runs[task.name] = self._newest = run
        new = [self._entities.Param(name, text) for name, text in parameters.items() if name not in present]
        self._log(run, "params", new)
        while self._early_notes:
            self.on_note(self._early_notes.pop(0))

    def on_progress(self, task: Task, done: int, metrics: Mapping[str, float], label: str = "") -> None:
        """Log each metric at the step `done`."""
        if task.name not in self._runs:
            self.on_start(task)
        make, now = self._entities.Metric, int(time.time() * 1000)  # now: in milliseconds
        entries = [make(_key(name), float(value), now, done) for name, value in metrics.items()]
        self._log(self._runs[task.name], "metrics", entries)

    def on_end(self, task: Task, metrics: Mapping[str, float]) -> None:
        """Log the final metrics at the last step and end the run."""
        self.on_progress(task, task.total, metrics)
        self._client.set_terminated(self._runs.pop(task.name))

    def on_note(self, sentence: str) -> None:
        """Add the sentence to the description of the newest run; where that gets too long, its beginning goes."""
        if not self._newest:
            self._early_notes.append(sentence)
            return
        before = self._client.get_run(self._newest).data.tags.get(DESCRIPTION)
        text = f"{before}\n\n{sentence}" if before else sentence
        self._client.set_tag(self._newest, DESCRIPTION, text[-LONGEST_NOTES:])

    def _unfinished(self, identity: str, parameters: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
        """The id of the run to continue, or "", and the parameters that it has; a run of other ones is ended."""
        condition = f"tags.`{IDENTITY}` = '{identity}' and attributes.status = 'RUNNING'"
        for run in self._client.search_runs([self._experiment], condition, max_results=1):
            if run.data.params.items() <= parameters.items():  # a kill can come before all of them are logged
                return run.info.run_id, run.data.params
            self._client.set_terminated(run.info.run_id, "KILLED")
        return "", {}

    def _log(self, run: str, kind: Literal["metrics", "params"], entries: Sequence[Any]) -> None:
        for i in range(0, len(entries), LARGEST_BATCH):
            self._client.log_batch(run, **{kind: entries[i : i + LARGEST_BATCH]}, synchronous=True)


def mlflow_tracker(folder: Path) -> Observer:
    """A tracker that writes into `folder`/mlflow.db, or to where MLFLOW_TRACKING_URI says. Raises as `make_tracker`."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # MLflow reads these when it is imported
    for name, value in QUICK_AND_QUIET.items():
        os.environ.setdefault(name, value)
    address = os.environ.get("MLFLOW_TRACKING_URI")
    with needing("mlflow"):
        from mlflow import MlflowClient

        if not address:
            import alembic  # noqa: F401
            import sqlalchemy  # noqa: F401
    if not address:
        return _local_mlflow(MlflowClient, folder)
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "augment")
    try:
        client = MlflowClient(tracking_uri=address)
        return MlflowTracker(client, _experiment(client, name), f"{platform.node()}:{folder.resolve()}")
    except Exception as error:
        raise ConfigError(f"MLflow cannot record to where MLFLOW_TRACKING_URI says ({reason_of(error)})") from error


def _local_mlflow(make_client: Any, folder: Path) -> Observer:
    """A tracker on a database in `folder`; the database is tried first, since MLflow itself tries for 100 seconds."""
    folder = folder.absolute()
    database, artifacts = path_inside(folder, "mlflow.db"), path_inside(folder, "mlartifacts")
    path = str(database)
    if "?" in path or "%" in path or not path.isprintable():
        raise OutputError(f"MLflow cannot use the path {printable(path)}; choose a folder without ? and % in its path")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with closing(sqlite3.connect(path, timeout=5)) as connection:  # seconds that another program may hold it
            connection.execute("BEGIN IMMEDIATE")  # fails where the file cannot be written, or is something else
        client = make_client(tracking_uri=f"sqlite:///{path}")
        return MlflowTracker(client, _experiment(client, "augment", artifacts.as_uri()))
    except Exception as error:  # of sqlite3, SQLAlchemy, Alembic or MLflow
        reason = reason_of(error)
        raise OutputError(f"MLflow cannot use the database {path} ({reason}); choose another folder") from error


def _experiment(client: Any, name: str, artifacts: str | None = None) -> str:
    """The id of the experiment `name`, which is made if there is none."""
    present = client.get_experiment_by_name(name)
    identifier: str = present.experiment_id if present else client.create_experiment(name, artifacts)
    return identifier


def _key(name: str) -> str:
    """A name as MLflow takes it: no other signs than - and . and space, and no dot to begin with."""
    return shortened(re.sub(r"^\.|[^\w.\- ]", "_", name), LONGEST_KEY) or "_"
