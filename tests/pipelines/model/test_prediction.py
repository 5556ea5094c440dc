"""`augment predict` writes a line for each picture, and measures the accuracy of labelled ones."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from fitting import stop_after
from observing import Kept
from PIL import Image

from augment.dataset.sources import read_source
from augment.errors import ConfigError
from augment.runtime import Runtime
from classifiers.training import predict as predict_logits
from pipelines.model.prediction import predict
from pipelines.model.saved_model import SavedModel, load_model

CLASSES = ["ankle-boot", "sandal", "trouser"]


@pytest.fixture(scope="module")
def saved(model: Path) -> SavedModel:
    return load_model(model, torch.device("cpu"))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_picture_has_a_line_with_its_probabilities(saved: SavedModel, image_folder: Path, tmp_path: Path) -> None:
    predict(saved, [str(image_folder)], tmp_path / "p.csv", Runtime())
    test = read_source(image_folder, image_size=12).splits["test"]
    p = predict_logits(saved.network, test.images).exp().numpy()
    table = rows(tmp_path / "p.csv")
    assert list(table[0]) == ["path", "class", "entropy", "label", *CLASSES]
    np.testing.assert_allclose([[float(row[name]) for name in CLASSES] for row in table], p, atol=1e-6)
    assert [row["class"] for row in table] == [CLASSES[k] for k in p.argmax(1)]
    np.testing.assert_allclose([float(row["entropy"]) for row in table], -(p * np.log(p)).sum(1), atol=1e-5)


def test_a_class_called_like_a_column_has_a_column_of_its_own(
    saved: SavedModel, image_folder: Path, tmp_path: Path
) -> None:
    classes = ("path", "label", "trouser")
    odd = SavedModel(saved.network, saved.metadata.model_copy(update={"classes": classes}))
    predict(odd, [str(image_folder / "test" / "trouser")], tmp_path / "p.csv", Runtime())
    columns = ["path", "class", "entropy", "probability of path", "label", "trouser"]
    assert list(rows(tmp_path / "p.csv")[0]) == columns


def test_labelled_pictures_give_figures(saved: SavedModel, image_folder: Path, tmp_path: Path) -> None:
    found = predict(saved, [str(image_folder)], tmp_path / "p.csv", Runtime())
    assert found is not None
    assert found.scores is not None
    table = rows(tmp_path / "p.csv")
    assert [row["label"] for row in table] == [Path(row["path"]).parent.name for row in table]
    right = sum(row["class"] == row["label"] for row in table)
    assert found.scores.accuracy == pytest.approx(right / 18)
    assert found.scores.confusion.sum(1).tolist() == [6, 6, 6]
    assert np.trace(found.scores.confusion) == right
    assert found.scores.balanced_accuracy == pytest.approx(right / 18)


def test_pictures_that_the_model_was_trained_on_are_noted(
    saved: SavedModel, image_folder: Path, tmp_path: Path
) -> None:
    inputs = [str(image_folder / split / name) for split, name in (("train", "sandal"), ("test", "trouser"))]
    folder = tmp_path / "both"
    for path in inputs:
        shutil.copytree(path, folder / Path(path).name)
    kept = Kept()
    predict(saved, [str(folder)], tmp_path / "p.csv", Runtime(observer=kept))
    (note,) = kept.notes
    assert note.startswith(
        "the model was trained on 12 of these 18 pictures, so these scores are too optimistic for new ones;"
    )
    kept = Kept()
    predict(saved, [str(image_folder)], tmp_path / "p.csv", Runtime(observer=kept), top=1)
    assert [note for note in kept.notes if "trained on" in note] == []
    predict(saved, inputs, tmp_path / "p.csv", Runtime(observer=kept))  # without labels there are no scores
    assert kept.notes[-1] == (
        "the model was trained on 12 of these 18 pictures, so it is more confident of them than of new ones; "
        "`augment train --keep-test` leaves test images out"
    )


def test_files_and_folders_may_be_mixed(saved: SavedModel, image_folder: Path, tmp_path: Path) -> None:
    folder = image_folder / "test" / "sandal"
    one = next((image_folder / "test" / "trouser").iterdir())
    found = predict(saved, [str(folder), str(one)], tmp_path / "p.csv", Runtime())
    assert found is not None
    assert (found.pictures, found.scores) == (7, None)
    assert "label" not in rows(tmp_path / "p.csv")[0]
    assert rows(tmp_path / "p.csv")[-1]["path"] == str(one)


def test_the_most_probable_classes_may_be_enough(saved: SavedModel, image_folder: Path, tmp_path: Path) -> None:
    predict(saved, [str(image_folder)], tmp_path / "p.csv", Runtime(), top=2)
    first = rows(tmp_path / "p.csv")[0]
    assert list(first) == ["path", "class", "entropy", "label", "class_1", "probability_1", "class_2", "probability_2"]
    assert first["class"] == first["class_1"]
    assert 1 >= float(first["probability_1"]) >= float(first["probability_2"])
    with pytest.raises(ConfigError, match="--top 4: expected 1 to 3"):
        predict(saved, [str(image_folder)], tmp_path / "q.csv", Runtime(), top=4)


def test_labels_of_other_classes_are_noted(saved: SavedModel, image_folder: Path, tmp_path: Path) -> None:
    photos, kept = Path(shutil.copytree(image_folder / "test", tmp_path / "photos")), Kept()
    (photos / "sandal").rename(photos / "slipper")
    found = predict(saved, [str(photos)], tmp_path / "p.csv", Runtime(observer=kept))
    assert found is not None
    assert found.scores is None
    assert kept.notes[0].startswith(
        "no accuracy: the model has no class 'slipper'; its classes are 'ankle-boot', 'sandal'"
    )


def test_what_is_lost_of_pictures_is_noted(saved: SavedModel, image_folder: Path, tmp_path: Path) -> None:
    photos, kept = Path(shutil.copytree(image_folder / "test" / "sandal", tmp_path / "photos")), Kept()
    with Image.open(next(photos.iterdir())) as picture:
        values = np.asarray(picture).astype(np.uint16)
        picture.save(photos / "pages.tif", save_all=True, append_images=[picture])
    Image.fromarray(values * 16).save(photos / "12-bits.png")
    (photos / "torn.png").write_bytes(b"no picture")
    one = next((image_folder / "train" / "sandal").iterdir())
    inputs = [str(photos), str(one)]
    found = predict(saved, inputs, tmp_path / "p.csv", Runtime(observer=kept), skip_broken=True)
    assert found is not None
    assert (found.pictures, found.broken) == (9, [str(photos / "torn.png")])
    frames, dark, seen = kept.notes
    assert frames.startswith("1 file with several frames or pages: only the first of each is read")
    assert dark.startswith("1 file of 16 bits with values below an eighth of their range become nearly black")
    assert seen.startswith("the model was trained on 1 of these 9 pictures")


def test_pictures_without_a_label_leave_no_accuracy(saved: SavedModel, image_folder: Path, tmp_path: Path) -> None:
    kept = Kept()
    inputs = [str(image_folder), str(image_folder / "test" / "sandal")]
    found = predict(saved, inputs, tmp_path / "p.csv", Runtime(observer=kept))
    assert found is not None
    assert found.scores is None
    assert "no accuracy: some of the pictures have no label" in kept.notes
    assert [row["label"] for row in rows(tmp_path / "p.csv")][-6:] == [""] * 6


def test_a_stopped_command_leaves_no_table(saved: SavedModel, image_folder: Path, tmp_path: Path) -> None:
    assert predict(saved, [str(image_folder)], tmp_path / "p.csv", Runtime(stopped=stop_after(0))) is None
    assert list(tmp_path.iterdir()) == []
