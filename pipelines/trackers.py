"""Trackers: observers that record tasks for TensorBoard and for MLflow; `TRACKERS` has them by name.

Both write into a folder on this machine. Nothing is sent anywhere, unless the environment variable MLFLOW_TRACKING_URI
names an MLflow server. A tracker that cannot be used is refused when it is made, before any work; one that fails later
says so once and records nothing more, since the work is worth more than its record.

    tensorboard --logdir FOLDER/tensorboard
    mlflow ui --backend-store-uri sqlite:///FOLDER/mlflow.db      (of the package mlflow; mlflow-skinny only records)

A continued task does the steps since its last checkpoint again, and they are recorded again: neither format has a way
to take back what was recorded.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal, cast

from augment.errors import ConfigError, OutputError
from augment.fields import one_of
from augment.files import inside
from augment.runtime import NOBODY, Observer, Observers, Task
from augment.words import printable, shortened

LONGEST_KEY, LONGEST_VALUE, LONGEST_NOTES = 250, 6000, 5000  # characters that MLflow takes of each
LARGEST_BATCH = 100  # parameters that MLflow takes at once; it takes more metrics
IDENTITY, DESCRIPTION = "augment.identity", "mlflow.note.content"  # tags of a run; MLflow shows the second as text
QUICK_AND_QUIET = {  # defaults for MLflow; a value that the user has set in the environment is kept
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # its own default is 7, which holds the work up for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",  # seconds
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # below that it writes tracebacks
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def log_failure(sentence: str) -> None:
    """Log the sentence as a warning, which Python writes to standard error unless logging is set up otherwise."""
    logging.getLogger(__name__).warning("%s", sentence)


def make_tracker(names: Sequence[str], folder: Path, on_failure: Callable[[str], None] = log_failure) -> Observer:
    """One observer for all the trackers `names`, which write into `folder`; `NOBODY` if there are no names.

    on_failure: is given one sentence when a tracker fails in the middle of the work. Raises `ConfigError` for an
    unknown name, a missing package and a server that does not answer, `OutputError` if `folder` cannot be written.
    """
    for name in names:
        try:
            one_of(name, TRACKERS)
        except ValueError as error:
            raise ConfigError(f"no such tracker: {error}") from error
    members = [UntilFailure(name, TRACKERS[name](folder), on_failure) for name in dict.fromkeys(names)]
    if not members:
        return NOBODY
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
            self._on_failure(f"the tracker {self._name} failed and records nothing more ({_reason(error)})")


def flatten(settings: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Nested settings as one level of text: `{"a": {"b": 1}}` becomes `{"a.b": "1"}`; lists become JSON."""
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{above}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            flat[f"{above}{name}"] = text
    return flat


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
    path = inside(folder, "tensorboard") / f"events.out.tfevents.{time.time_ns()}.{os.getpid()}"  # sorted by time
    with _needing("tensorboard"), _writing(folder):
        path.parent.mkdir(parents=True, exist_ok=True)
        return TensorBoardTracker(path)


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
    with _needing("mlflow"):
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
        raise ConfigError(f"MLflow cannot record to where MLFLOW_TRACKING_URI says ({_reason(error)})") from error


def _local_mlflow(make_client: Any, folder: Path) -> Observer:
    """A tracker on a database in `folder`; the database is tried first, since MLflow itself tries for 100 seconds."""
    folder = folder.absolute()
    database, artifacts = inside(folder, "mlflow.db"), inside(folder, "mlartifacts")
    path = str(database)
    if "?" in path or "%" in path or not path.isprintable():
        raise OutputError(f"MLflow cannot use the path {printable(path)}; choose a folder without ? and % in its path")
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with closing(sqlite3.connect(path, timeout=5)) as connection:  # seconds that another program may hold it
            connection.execute("BEGIN IMMEDIATE")  # fails where the file cannot be written, or is something else
        client = make_client(tracking_uri=f"sqlite:///{path}")
        return MlflowTracker(client, _experiment(client, "augment", artifacts.as_uri()))
    except Exception as error:  # of sqlite3, SQLAlchemy, Alembic or MLflow
        reason = _reason(error)
        raise OutputError(f"MLflow cannot use the database {path} ({reason}); choose another folder") from error


def _experiment(client: Any, name: str, artifacts: str | None = None) -> str:
    """The id of the experiment `name`, which is made if there is none."""
    present = client.get_experiment_by_name(name)
    identifier: str = present.experiment_id if present else client.create_experiment(name, artifacts)
    return identifier


def _key(name: str) -> str:
    """A name as MLflow takes it: no other signs than - and . and space, and no dot to begin with."""
    return shortened(re.sub(r"^\.|[^\w.\- ]", "_", name), LONGEST_KEY) or "_"


@contextmanager
def _needing(package: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        missing = (error.name or "a package").partition(".")[0]
        raise ConfigError(f"the tracker {package} needs {missing}; run: pip install {package}") from error


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{folder} cannot be written ({error.strerror}); choose another folder") from error


def _reason(error: Exception) -> str:
    """What went wrong first, in one line, without the password that an address in it may hold."""
    first: BaseException = error
    while earlier := first.__cause__ or first.__context__:  # MLflow's own words come last and say less
        first = earlier
    text = re.sub(r"//[^/@\s]+@", "//", f"{type(first).__name__}: {first}")
    return printable(shortened(text.partition("\n")[0], 200))


TRACKERS: dict[str, Callable[[Path], Observer]] = {"tensorboard": tensorboard_tracker, "mlflow": mlflow_tracker}
