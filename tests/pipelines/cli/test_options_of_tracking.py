"""`--track` and `track:` record what a command does, beside its output."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from command_line import PIPELINE, QUICK, Augment, check_refused

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")  # used by MLflow itself


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def scalars_in(folder: Path) -> set[str]:
    """The names of all scalars that TensorBoard finds in a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return set(EventAccumulator(str(folder / "tensorboard")).Reload().Tags()["scalars"])


def metrics_in(folder: Path) -> dict[str, set[str]]:
    """The names of the metrics of each MLflow run, by the name of the run."""
    query = "SELECT r.name, m.key FROM runs r JOIN metrics m ON m.run_uuid = r.run_uuid"
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        rows = database.execute(query).fetchall()
    return {run: {key for name, key in rows if name == run} for run, _ in rows}


def test_fit_records_its_losses_in_both_trackers(photos: Path, tiny: Path, tmp_path: Path, augment: Augment) -> None:
    command = ("fit", photos, "--out", tmp_path / "run", "--config", tiny, "--image-size", "12", "--quiet")
    assert augment(*command, "--track", "tensorboard", "--track", "mlflow").status == 0
    losses = {"discriminator_loss", "generator_loss"}
    assert {f"fit/{name}" for name in losses} <= scalars_in(tmp_path / "tracking")
    assert losses <= metrics_in(tmp_path / "tracking")["fit"]


def test_evaluate_records_the_accuracy_of_each_arm(image_folder: Path, tmp_path: Path, augment: Augment) -> None:
    command = ("evaluate", image_folder, "--arms", "none,classical", "--out", tmp_path / "out", *QUICK)
    assert augment(*command, "--track", "tensorboard").status == 0
    assert {"evaluate/none accuracy", "evaluate/classical accuracy", "evaluate/gain"} <= scalars_in(
        tmp_path / "tracking"
    )


def test_tune_records_its_validation_score(image_folder: Path, tmp_path: Path, augment: Augment) -> None:
    command = (
        "tune",
        image_folder,
        "--trials",
        "1",
        "--splits",
        "1",
        "--steps",
        "2",
        "--image-size",
        "12",
        "--jobs",
        "1",
    )
    assert augment(*command, "--out", tmp_path / "out", "--track", "tensorboard", "--quiet").status == 0
    assert "tune/score" in scalars_in(tmp_path / "tracking")


def test_a_pipeline_names_its_trackers(photos: Path, tmp_path: Path, augment: Augment) -> None:
    (tmp_path / "mine.yaml").write_text(PIPELINE.format(source="photos") + "track: [mlflow]\n")
    command = ("run", tmp_path / "mine.yaml", "--out", tmp_path / "out", "--jobs", "1", "--quiet")
    assert augment(*command, "--dry-run").status == 0
    assert not (tmp_path / "tracking").exists()
    assert augment(*command).status == 0
    recorded = metrics_in(tmp_path / "tracking")
    assert "generator_loss" in recorded["fit"]
    assert "gain" in recorded["evaluate"]


def test_a_tracker_that_cannot_be_used_is_refused_before_any_work(
    photos: Path, tiny: Path, tmp_path: Path, augment: Augment
) -> None:
    command = ("fit", photos, "--out", tmp_path / "run", "--config", tiny, "--image-size", "12", "--track")
    check_refused(augment(*command, "tensorbord"), "expected one of tensorboard, mlflow, got 'tensorbord'")
    (tmp_path / "tracking").write_text("a file")
    check_refused(augment(*command, "tensorboard"), "tracking cannot be written")
    assert not (tmp_path / "run").exists()
