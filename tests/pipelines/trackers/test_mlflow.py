"""MLflow has metrics, settings and notes of tasks, and a store that cannot be used is refused."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path

import pytest
from tracking import FIT, FIT_LONGER, run_python, runs_in, steps_of

from augment.errors import ConfigError, OutputError
from augment.runtime import Task
from pipelines.trackers.registry import make_tracker

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")  # used by MLflow itself


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


def test_the_environment_names_another_mlflow_store(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    for name in ("a", "b", "a"):
        make_tracker(["mlflow"], tmp_path / name, pytest.fail).on_start(FIT)
    assert len(runs_in(folder / "mlflow.db")) == 3  # the one that was there, one of a, and one of b
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(("content", "reason"), [(b"other" * 99, "file is not a database"), (None, "unable to open")])
def test_a_file_that_is_no_database_is_refused(content: bytes | None, reason: str, tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    database.write_bytes(content) if content else database.mkdir()
    with pytest.raises(OutputError, match=rf"mlflow\.db \(\w+: {reason}.*\); choose another folder"):
        make_tracker(["mlflow"], tmp_path, pytest.fail)


@pytest.mark.parametrize("name", ["what?", "a%20b", "\udcff"])
def test_a_path_that_mlflow_would_misread_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"choose a folder without \? and %"):
        make_tracker(["mlflow"], tmp_path / name, pytest.fail)
    assert not list(tmp_path.iterdir())


def test_a_server_that_does_not_answer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]  # where nobody listens from now on
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ConfigError, match="address in MLFLOW_TRACKING_URI") as caught:
        make_tracker(["mlflow"], tmp_path, pytest.fail)
    assert "secret" not in str(caught.value)


def test_mlflow_is_imported_when_it_is_used_and_sends_nothing(tmp_path: Path) -> None:
    code = (
        "print(sorted({'mlflow', 'tensorboard'} & set(sys.modules)))\n"
        "make_tracker(['mlflow'], Path('out'), print)\n"
        "from mlflow.telemetry import get_telemetry_client\n"
        "print(get_telemetry_client())"
    )
    assert run_python(code, tmp_path).splitlines() == ["[]", "None"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mlflow.db"]
