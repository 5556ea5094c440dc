"""Trackers record tasks for TensorBoard and MLflow; whatever keeps them from it stops no work."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from augment.errors import ConfigError, OutputError
from augment.runtime import NOBODY, Task
from pipelines.trackers.common import flatten
from pipelines.trackers.registry import make_tracker

ROOT = Path(__file__).parents[3]
SETTINGS = {"data": {"name": "cats", "sizes": [3, 4]}, "rate": 0.25, "none+more": None, "long": "ab" * 5000}
FIT = Task("fit", 40, settings=SETTINGS)
FIT_LONGER = Task("fit", 50, settings={**SETTINGS, "rate": 0.5})
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")  # used by MLflow itself


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def client_of(database: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{database}")


def runs_in(database: Path) -> list[Any]:
    """All runs, the oldest first."""
    client = client_of(database)
    experiment = client.get_experiment_by_name("augment")
    return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"]))


def steps_of(database: Path, run: Any, metric: str) -> list[tuple[int, float]]:
    return [(m.step, m.value) for m in client_of(database).get_metric_history(run.info.run_id, metric)]


def events_in(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder / "tensorboard")).Reload()


def texts(events: Any, tag: str) -> list[tuple[int, str]]:
    return [(e.step, e.tensor_proto.string_val[0].decode()) for e in events.Tensors(f"{tag}/text_summary")]


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which MLflow recorded a fit, that was stopped at step 20 of 40."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        folder = tmp_path_factory.mktemp("interrupted")
        tracker = make_tracker(["mlflow"], folder, pytest.fail)
        tracker.on_note("One image is broken.")
        tracker.on_start(FIT)
        tracker.on_progress(FIT, 10, {"loss": 3.5, "none+more accuracy": 0.5})
        tracker.on_progress(FIT, 20, {"loss": 2.5})
    return folder


@pytest.fixture
def folder(interrupted: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    return Path(shutil.copytree(interrupted, tmp_path / "copy"))


def test_no_names_give_nobody(tmp_path: Path) -> None:
    assert make_tracker([], tmp_path) is NOBODY
    assert not list(tmp_path.iterdir())


def test_nested_settings_become_one_level_of_text() -> None:
    nested = {"a": {"b": {"c": 1}, "d": "two"}, "e": [1, {"f": None}], "g": {}, "h": True, "i": Path("x")}
    flat = {"a.b.c": "1", "a.d": "two", "e": '[1, {"f": null}]', "g": "{}", "h": "true", "i": '"x"'}
    assert flatten(nested) == flat


def test_tensorboard_has_each_metric_at_its_step(tmp_path: Path) -> None:
    tracker = make_tracker(["tensorboard"], tmp_path, pytest.fail)
    tracker.on_progress(FIT, 10, {"loss": 3.5, "none+more accuracy": 0.5})
    tracker.on_progress(FIT, 20, {"loss": 2.5}, "a label")
    tracker.on_end(FIT, {"loss": 1.5})
    events = events_in(tmp_path)
    assert events.Tags()["scalars"] == ["fit/loss", "fit/none+more accuracy"]
    assert [(e.step, e.value) for e in events.Scalars("fit/loss")] == [(10, 3.5), (20, 2.5), (40, 1.5)]


def test_tensorboard_has_settings_and_notes_as_text(tmp_path: Path) -> None:
    tracker = make_tracker(["tensorboard"], tmp_path, pytest.fail)
    tracker.on_note("One image is broken.")
    tracker.on_start(Task("fit", 40, settings={"data": {"name": "cats"}, "rate": 0.25}))
    tracker.on_progress(FIT, 10, {})
    tracker.on_note("Slow.")
    events = events_in(tmp_path)
    assert texts(events, "fit/settings") == [(0, "    data.name: cats\n    rate: 0.25")]
    assert texts(events, "notes") == [(0, "One image is broken.")]
    assert texts(events, "fit/notes") == [(10, "Slow.")]


def test_tensorboard_shows_an_interrupted_task_as_one(tmp_path: Path) -> None:
    for done in (10, 20):
        make_tracker(["tensorboard"], tmp_path, pytest.fail).on_progress(FIT, done, {"loss": 1.0})
    assert [e.step for e in events_in(tmp_path).Scalars("fit/loss")] == [10, 20]


def test_mlflow_has_settings_as_parameters_within_its_limits(interrupted: Path) -> None:
    (run,) = runs_in(interrupted / "mlflow.db")
    assert run.info.run_name == "fit"
    long = run.data.params.pop("long")
    assert (len(long), long[:4], long[-3:]) == (6000, "abab", "bab")
    assert run.data.params == {
        "data.name": "cats",
        "data.sizes": "[3, 4]",
        "rate": "0.25",
        "none_more": "null",
    }


def test_mlflow_has_each_metric_at_its_step(interrupted: Path) -> None:
    database = interrupted / "mlflow.db"
    (run,) = runs_in(database)
    assert steps_of(database, run, "loss") == [(10, 3.5), (20, 2.5)]
    assert steps_of(database, run, "none_more accuracy") == [(10, 0.5)]


def test_an_interrupted_task_goes_on_in_its_mlflow_run(folder: Path) -> None:
    tracker = make_tracker(["mlflow"], folder, pytest.fail)
    tracker.on_start(FIT)
    tracker.on_progress(FIT, 30, {"loss": 1.5})
    tracker.on_note("Slow.")
    tracker.on_end(FIT, {"score": 0.75})
    (run,) = runs_in(folder / "mlflow.db")
    assert steps_of(folder / "mlflow.db", run, "loss") == [(10, 3.5), (20, 2.5), (30, 1.5)]
    assert steps_of(folder / "mlflow.db", run, "score") == [(40, 0.75)]
    assert run.data.tags["mlflow.note.content"] == "One image is broken.\n\nSlow."
    assert run.info.status == "FINISHED"


def test_a_task_that_ended_or_differs_gets_a_new_mlflow_run(folder: Path) -> None:
    tracker = make_tracker(["mlflow"], folder, pytest.fail)
    for task in (FIT_LONGER, FIT_LONGER, Task("generate", 9)):
        tracker.on_start(task)
        tracker.on_end(task, {})
    runs = [(run.info.run_name, run.info.status) for run in runs_in(folder / "mlflow.db")]
    assert runs == [("fit", "KILLED"), ("fit", "FINISHED"), ("fit", "FINISHED"), ("generate", "FINISHED")]


def test_mlflow_takes_any_names_and_any_number_of_them(folder: Path) -> None:
    settings = {f"{'x' * 300}{i}/:é": i for i in range(150)} | {".hidden": 1, "": 2}
    task = Task("odd", 5, settings=settings)
    tracker = make_tracker(["mlflow"], folder, pytest.fail)
    tracker.on_start(task)
    tracker.on_progress(task, 1, {"../up": float("nan"), "a//b": float("inf")})
    for i in range(900):
        tracker.on_note(f"note {i}") if i in (0, 899) else None
    tracker.on_note("n" * 6000 + "end")
    run = runs_in(folder / "mlflow.db")[-1]
    assert len(run.data.params) == 152
    assert sorted(run.data.metrics) == ["_._up", "a__b"]
    assert run.data.tags["mlflow.note.content"].endswith("nnend")


def test_progress_may_come_from_another_thread(folder: Path) -> None:
    tracker = make_tracker(["mlflow", "tensorboard"], folder, pytest.fail)
    tracker.on_start(FIT)
    thread = threading.Thread(target=tracker.on_progress, args=(FIT, 25, {"loss": 9.0}))
    thread.start()
    thread.join()
    assert runs_in(folder / "mlflow.db")[0].data.metrics["loss"] == 9
    assert events_in(folder).Scalars("fit/loss")[0].step == 25


def test_the_environment_names_another_mlflow_store(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    for name in ("a", "b", "a"):
        make_tracker(["mlflow"], tmp_path / name, pytest.fail).on_start(FIT)
    assert len(runs_in(folder / "mlflow.db")) == 3  # the one that was there, one of a, and one of b
    assert not (tmp_path / "a").exists()


def test_a_full_disk_ends_the_record_and_not_the_work(folder: Path) -> None:
    failures: list[str] = []
    tracker = make_tracker(["tensorboard", "mlflow"], folder, failures.append)
    tracker.on_start(FIT)
    shutil.rmtree(folder / "tensorboard")
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        connection.execute("DROP TABLE metrics")
    for done in (25, 30):
        tracker.on_progress(FIT, done, {"loss": 9.0})
    tracker.on_note("Slow.")
    tracker.on_end(FIT, {})
    tensorboard, mlflow = failures
    assert tensorboard.startswith(
        "the tracker tensorboard failed and records nothing more (FileNotFoundError: [Errno 2] No"
    )
    assert mlflow.startswith("the tracker mlflow failed and records nothing more (OperationalError: no such")
    assert len(mlflow) < 300
    assert "\n" not in mlflow


def test_a_failure_is_logged_where_nobody_asks_for_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = make_tracker(["tensorboard"], tmp_path)
    shutil.rmtree(tmp_path / "tensorboard")
    tracker.on_note("Slow.")
    assert "the tracker tensorboard failed" in caplog.text


def test_an_unknown_name_is_refused_with_the_nearest_first(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such tracker: expected one of mlflow, tensorboard, got 'mlfow'"):
        make_tracker(["tensorboard", "mlfow"], tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_a_folder_that_cannot_be_written_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/out cannot be written \(Not a directory\); choose another folder"):
        make_tracker([name], tmp_path / "file/out")


@pytest.mark.parametrize(("name", "inner"), [("tensorboard", "tensorboard"), ("mlflow", "mlflow.db")])
def test_nothing_is_written_through_a_link(name: str, inner: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / inner).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="is a link"):
        make_tracker([name], tmp_path / "out")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(("content", "reason"), [(b"other" * 99, "file is not a database"), (None, "unable to open")])
def test_what_is_no_database_is_refused(content: bytes | None, reason: str, tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    database.write_bytes(content) if content else database.mkdir()
    with pytest.raises(OutputError, match=rf"mlflow\.db \(\w+: {reason}.*\); choose another folder"):
        make_tracker(["mlflow"], tmp_path)


@pytest.mark.parametrize("name", ["what?", "a%20b", "\udcff"])
def test_a_path_that_mlflow_would_misread_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"choose a folder without \? and %"):
        make_tracker(["mlflow"], tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_server_that_does_not_answer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]  # where nobody listens from now on
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_URI says") as caught:
        make_tracker(["mlflow"], tmp_path)
    assert "secret" not in str(caught.value)


IMPORTS = "import sys\nfrom pathlib import Path\nfrom pipelines.trackers.registry import *\n"


def run_python(code: str, folder: Path) -> str:
    """What a fresh process prints that has no sign of a test about it: MLflow sends nothing from tests of its own."""
    signs = ("CI", "PYTEST_CURRENT_TEST", "MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK")
    environment = {name: value for name, value in os.environ.items() if name not in signs}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{IMPORTS}{code}",
        ],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not done.stderr
    return done.stdout


def test_a_missing_package_is_named_with_its_installation(tmp_path: Path) -> None:
    code = (
        "for tracker, package in ('tensorboard', 'tensorboard'), ('mlflow', 'sqlalchemy'), ('mlflow', 'mlflow'):\n"
        "    sys.modules[package] = None\n"
        "    try: make_tracker([tracker], Path('out'))\n"
        "    except ConfigError as error: print(error)"
    )
    assert run_python(code, tmp_path).splitlines() == [
        "the tracker tensorboard needs tensorboard; run: pip install tensorboard",
        "the tracker mlflow needs sqlalchemy; run: pip install mlflow",
        "the tracker mlflow needs mlflow; run: pip install mlflow",
    ]
    assert not list(tmp_path.iterdir())


def test_mlflow_is_imported_when_it_is_used_and_sends_nothing(tmp_path: Path) -> None:
    code = (
        "print(sorted({'mlflow', 'tensorboard'} & set(sys.modules)))\n"
        "make_tracker(['mlflow'], Path('out'))\n"
        "from mlflow.telemetry import get_telemetry_client\n"
        "print(get_telemetry_client())"
    )
    assert run_python(code, tmp_path).splitlines() == ["[]", "None"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mlflow.db"]
