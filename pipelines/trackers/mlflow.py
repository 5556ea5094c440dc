"""Record each task as an MLflow run, in a database in a folder or on the server that MLFLOW_TRACKING_URI names.

To see the runs: `mlflow ui --backend-store-uri sqlite:///FOLDER/mlflow.db`. This command needs the package mlflow; the
package mlflow-skinny can only record.
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
from pipelines.trackers.common import converting_import_errors, converting_os_errors, flatten, root_cause

MAX_KEY, MAX_VALUE, MAX_NOTES = 250, 6000, 5000  # characters; limits of MLflow
MAX_BATCH = 100  # MLflow's limit of parameters per call; its limit for metrics is higher
IDENTITY, DESCRIPTION = "augment.identity", "mlflow.note.content"  # tags of a run; MLflow shows the second as text
MLFLOW_DEFAULTS = {  # environment variables of MLflow; values that the user has set are kept
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # MLflow's own default of 7 can delay the work by minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",  # seconds
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # at lower levels MLflow prints tracebacks
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


class MlflowTracker(Observer):
    """Record each task as one MLflow run: settings become its parameters, notes become its description.

    A run that has not ended belongs to an interrupted task. It is continued if its parameters are the same.
    """

    def __init__(self, client: Any, experiment: str, location: str = "") -> None:
        """client: an `MlflowClient`. experiment: its id. location: distinguishes folders that share an experiment."""
        from mlflow import entities

        self._entities = entities
        self._client, self._experiment, self._location = client, experiment, location
        self._runs: dict[str, str] = {}  # run id of each task that has started
        self._newest = ""  # id of the run that notes belong to
        self._early_notes: list[str] = []  # notes from before the first run

    def on_start(self, task: Task) -> None:
        """Continue the interrupted run of the task, or create a new run."""
        parameters = {_valid_key(name): shortened(text, MAX_VALUE) for name, text in flatten(task.settings).items()}
        identity = hashlib.sha256(f"{self._location}\0{task.name}".encode("utf-8", "surrogateescape")).hexdigest()
        run, logged = self._find_interrupted(identity, parameters)
        if not run:
            run = self._client.create_run(self._experiment, None, {IDENTITY: identity}, task.name).info.run_id
        self._runs[task.name] = self._newest = run
        new = [self._entities.Param(name, text) for name, text in parameters.items() if name not in logged]
        self._log(run, "params", new)
        while self._early_notes:
            self.on_note(self._early_notes.pop(0))

    def on_progress(self, task: Task, done: int, metrics: Mapping[str, float], label: str = "") -> None:
        """Log each metric at the step `done`."""
        if task.name not in self._runs:
            self.on_start(task)
        now = int(time.time() * 1000)  # milliseconds
        entries = [self._entities.Metric(_valid_key(name), float(value), now, done) for name, value in metrics.items()]
        self._log(self._runs[task.name], "metrics", entries)

    def on_end(self, task: Task, metrics: Mapping[str, float]) -> None:
        """Log the final metrics at the last step and end the run."""
        self.on_progress(task, task.total, metrics)
        self._client.set_terminated(self._runs.pop(task.name))

    def on_note(self, sentence: str) -> None:
        """Append the sentence to the description of the newest run; a description that is too long loses its start."""
        if not self._newest:
            self._early_notes.append(sentence)
            return
        before = self._client.get_run(self._newest).data.tags.get(DESCRIPTION)
        text = f"{before}\n\n{sentence}" if before else sentence
        self._client.set_tag(self._newest, DESCRIPTION, text[-MAX_NOTES:])

    def _find_interrupted(self, identity: str, parameters: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
        """Return the id of the run to continue ("" if there is none) and its parameters.

        An interrupted run with other parameters is marked as killed.
        """
        condition = f"tags.`{IDENTITY}` = '{identity}' and attributes.status = 'RUNNING'"
        for run in self._client.search_runs([self._experiment], condition, max_results=1):
            if run.data.params.items() <= parameters.items():  # a process may be killed before it has logged all
                return run.info.run_id, run.data.params
            self._client.set_terminated(run.info.run_id, "KILLED")
        return "", {}

    def _log(self, run: str, kind: Literal["metrics", "params"], entries: Sequence[Any]) -> None:
        for i in range(0, len(entries), MAX_BATCH):
            self._client.log_batch(run, **{kind: entries[i : i + MAX_BATCH]}, synchronous=True)


def mlflow_tracker(folder: Path) -> Observer:
    """Return a tracker that writes to MLFLOW_TRACKING_URI, or to `folder`/mlflow.db if that variable is not set.

    Raises the errors of `make_tracker`.
    """
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # MLflow reads these variables when it is imported
    for name, value in MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)
    address = os.environ.get("MLFLOW_TRACKING_URI")
    with converting_import_errors("mlflow"):
        from mlflow import MlflowClient

        if not address:
            import alembic  # noqa: F401
            import sqlalchemy  # noqa: F401
    if not address:
        return _local_tracker(MlflowClient, folder)
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "augment")
    try:
        client = MlflowClient(tracking_uri=address)
        return MlflowTracker(client, _experiment_id(client, name), f"{platform.node()}:{folder.resolve()}")
    except Exception as error:
        reason = root_cause(error)
        raise ConfigError(
            f"MLflow cannot record to the address in MLFLOW_TRACKING_URI ({reason}); correct it, or unset it"
        ) from error


def _local_tracker(make_client: Any, folder: Path) -> Observer:
    """Return a tracker with a database in `folder`.

    The database is opened with sqlite3 first, because MLflow retries for 100 seconds if it cannot open it.
    """
    folder = folder.absolute()
    database, artifacts = path_inside(folder, "mlflow.db"), path_inside(folder, "mlartifacts")
    path = str(database)
    if "?" in path or "%" in path or not path.isprintable():
        raise OutputError(f"MLflow cannot use the path {printable(path)}; choose a folder without ? and % in its path")
    with converting_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with closing(sqlite3.connect(path, timeout=5)) as connection:  # seconds to wait for another program's lock
            connection.execute("BEGIN IMMEDIATE")  # fails if the file cannot be written or is not a database
        client = make_client(tracking_uri=f"sqlite:///{path}")
        return MlflowTracker(client, _experiment_id(client, "augment", artifacts.as_uri()))
    except Exception as error:  # from sqlite3, SQLAlchemy, Alembic or MLflow
        reason = root_cause(error)
        raise OutputError(f"MLflow cannot use the database {path} ({reason}); choose another folder") from error


def _experiment_id(client: Any, name: str, artifacts: str | None = None) -> str:
    """Return the id of the experiment `name`, which is created if it does not exist."""
    experiment = client.get_experiment_by_name(name)
    identifier: str = experiment.experiment_id if experiment else client.create_experiment(name, artifacts)
    return identifier


def _valid_key(name: str) -> str:
    """Replace what MLflow does not allow in a key: all but letters, digits, "_-. ", and a dot at the start."""
    return shortened(re.sub(r"^\.|[^\w.\- ]", "_", name), MAX_KEY) or "_"
