"""Trackers are chosen by name, and whatever keeps them from recording stops no work."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from tracking import FIT, events_in, run_python, runs_in

from augment.errors import ConfigError, OutputError
from pipelines.trackers.registry import make_tracker

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")  # used by MLflow itself


def test_no_names_give_nobody(tmp_path: Path) -> None:
    make_tracker([], tmp_path, pytest.fail).on_start(FIT)
    assert not list(tmp_path.iterdir())


def test_progress_may_come_from_another_thread(folder: Path) -> None:
    tracker = make_tracker(["mlflow", "tensorboard"], folder, pytest.fail)
    tracker.on_start(FIT)
    thread = threading.Thread(target=tracker.on_progress, args=(FIT, 25, {"loss": 9.0}))
    thread.start()
    thread.join()
    assert runs_in(folder / "mlflow.db")[0].data.metrics["loss"] == 9
    assert events_in(folder).Scalars("fit/loss")[0].step == 25


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


def test_an_unknown_name_is_refused_with_the_nearest_first(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such tracker: expected one of mlflow, tensorboard, got 'mlfow'"):
        make_tracker(["tensorboard", "mlfow"], tmp_path, pytest.fail)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_a_folder_that_cannot_be_written_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/out cannot be written \(Not a directory\); choose another folder"):
        make_tracker([name], tmp_path / "file/out", pytest.fail)


@pytest.mark.parametrize(("name", "inner"), [("tensorboard", "tensorboard"), ("mlflow", "mlflow.db")])
def test_nothing_is_written_through_a_link(name: str, inner: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / inner).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="is a link"):
        make_tracker([name], tmp_path / "out", pytest.fail)
    assert not (tmp_path / "elsewhere").exists()


def test_a_missing_package_is_named_with_its_installation(tmp_path: Path) -> None:
    code = (
        "for tracker, package in ('tensorboard', 'tensorboard'), ('mlflow', 'sqlalchemy'), ('mlflow', 'mlflow'):\n"
        "    sys.modules[package] = None\n"
        "    try: make_tracker([tracker], Path('out'), print)\n"
        "    except ConfigError as error: print(error)"
    )
    assert run_python(code, tmp_path).splitlines() == [
        "the tracker tensorboard needs tensorboard; run: pip install tensorboard",
        "the tracker mlflow needs sqlalchemy; run: pip install mlflow",
        "the tracker mlflow needs mlflow; run: pip install mlflow",
    ]
    assert not list(tmp_path.iterdir())
