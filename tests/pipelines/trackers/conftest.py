"""A folder in which MLflow recorded a task that was interrupted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tracking import FIT

from pipelines.trackers.registry import make_tracker


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="session")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which MLflow recorded a fit that was stopped at step 20 of 40."""
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
    """A copy of the interrupted folder that may be changed."""
    return Path(shutil.copytree(interrupted, tmp_path / "copy"))
