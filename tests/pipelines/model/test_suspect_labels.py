"""Images in the folder of another class are named, with the class that they seem to be of."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_model import recipe

from augment.dataset.duplicates import group_copies
from augment.runtime import Runtime
from classifiers.ensemble import Ensemble
from classifiers.networks import build
from pipelines.config.sections import DataConfig
from pipelines.experiment.loading import load
from pipelines.model.cross_validation import OutOfFoldPredictions
from pipelines.model.suspect_labels import Suspect, as_csv, find_suspects
from pipelines.model.training import train


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "suspect-labels.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_an_image_in_the_wrong_folder_is_named(image_folder: Path, tmp_path: Path) -> None:
    photos = Path(shutil.copytree(image_folder / "train", tmp_path / "photos"))
    moved = photos / "sandal" / "moved.png"
    sorted((photos / "trouser").iterdir())[0].rename(moved)
    source = DataConfig(source=str(photos), image_size=12)
    metadata = train(source, recipe(), tmp_path / "model", Runtime(), members=1)
    assert metadata is not None
    found = rows(tmp_path / "model")
    assert metadata.suspect_labels == len(found) < 8
    row = next(row for row in found if row["path"] == str(moved))
    assert (row["label"], row["suggested"]) == ("sandal", "trouser")
    assert 0 <= float(row["probability_of_label"]) < 0.3 < float(row["probability_of_suggested"]) <= 1
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"{len(found)} training image" in card
    assert "suspect-labels.csv" in card


def test_a_picture_in_two_classes_is_named_by_the_file_of_each(image_folder: Path, tmp_path: Path) -> None:
    photos = Path(shutil.copytree(image_folder / "train", tmp_path / "photos"))
    first = sorted((photos / "sandal").iterdir())[0]
    copy = Path(shutil.copy(first, photos / "trouser" / "copy.png"))
    loaded = load(DataConfig(source=str(photos), image_size=12))
    data = loaded.pool
    (same,) = (group for group in group_copies(data).values() if len(group) > 1)
    suspects = [Suspect(i, int(data.labels[i]), 0, 0.1, 0.9) for i in same]
    table = list(csv.DictReader(io.StringIO(as_csv(suspects, data, loaded.names))))
    assert [(row["path"], row["label"]) for row in table] == [(str(first), "sandal"), (str(copy), "trouser")]


def test_the_surest_come_first_with_calibrated_probabilities() -> None:
    labels, p = np.repeat(np.arange(2), 20), np.full((40, 2), 0.05)
    p[np.arange(40), labels] = 0.95
    p[3], p[25] = (0.06, 0.94), (0.99, 0.01)  # the second is surer
    network = Ensemble([build("small", 2, 1, 12, 4, seed=0)], 2)
    found = find_suspects(OutOfFoldPredictions(np.arange(40) + 100, labels, np.log(p), np.array([70, 70])), network)
    assert [(one.image, one.label, one.suggested) for one in found] == [(125, 1, 0), (103, 0, 1)]
    assert found[1].probability == pytest.approx(0.06)
    network.temperature.fill_(2.0)
    found = find_suspects(OutOfFoldPredictions(np.arange(40), labels, np.log(p), np.array([20, 20])), network)
    assert found[1].probability == pytest.approx(0.06**0.5 / (0.06**0.5 + 0.94**0.5))


def test_without_the_extra_labels_are_not_checked(
    data: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.model.training.can_check_labels", lambda: False)
    metadata = train(data, recipe(), tmp_path / "model", Runtime(), members=1)
    assert metadata is not None
    assert metadata.suspect_labels is None
    assert not (tmp_path / "model" / "suspect-labels.csv").exists()
