"""Commands name copies, and leave them out on request."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import pytest
from command_line import Augment
from PIL import Image

TINY = "width: 4\nlatent_dim: 8\nbatch_size: 8\nsteps: 2\n"
PIPELINE = """
data: {{source: {source}, image_size: 28}}
gan: {{width: 4, latent_dim: 8, steps: 2, batch_size: 8}}
generate: {{per_class: 12}}
protocol: {{kind: holdout, redraw_generator: false}}
evaluate: {{arms: [none, none+synthetic], repeats: 2, classifier: {{width: 4, steps: 3, batch_size: 6}}}}
"""


@pytest.fixture
def folder(image_folder: Path, tmp_path: Path) -> Path:
    """36 training images of three classes, one of them copied, one nearly, and one also among 18 test images."""
    copied = Path(shutil.copytree(image_folder, tmp_path / "photos"))
    train, test = (sorted((copied / split).iterdir())[0] for split in ("train", "test"))
    first, second, third = sorted(train.iterdir())[:3]
    shutil.copy(first, train / "z-again.png")
    Image.open(second).save(train / "z-saved.jpg", quality=75)
    shutil.copy(third, test / "z-leak.png")
    return copied


DROPPED = "note: 3 of 38 training images were dropped as copies: 2 that repeat another one, 1 that are also in test"


def test_inspect_writes_a_table_of_copies_by_their_files(folder: Path, tmp_path: Path, augment: Augment) -> None:
    table = tmp_path / "new" / "copies.csv"
    status, out, _ = augment("inspect", folder, "--duplicates", table)
    assert (status, f"3 pairs of copies: {table}" in out) == (0, True)
    assert "splits: train (38 images) is for training generators and classifiers; test (19 images)" in out
    with table.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["kind"], row["second_split"], Path(row["second"]).name) for row in rows] == [
        ("exact", "train", "z-again.png"),
        ("near", "train", "z-saved.jpg"),
        ("exact", "test", "z-leak.png"),
    ]
    assert all(Path(row[side]).is_file() for row in rows for side in ("first", "second"))


def test_a_table_that_is_there_is_replaced_only_on_request(folder: Path, tmp_path: Path, augment: Augment) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("mine")
    status, out, error = augment("inspect", folder, "--duplicates", table)
    assert (status, out, table.read_text()) == (2, "", "mine")
    assert "mine.csv already exists; choose another file, or give --overwrite" in error
    status, out, error = augment("inspect", folder, "--duplicates", table, "--overwrite")
    assert (status, out, table.read_text()) == (2, "", "mine")
    assert "mine.csv was not written by `augment inspect`; choose another file" in error
    table.unlink()
    assert augment("inspect", folder, "--duplicates", table)[0] == 0
    table.write_text(table.read_text() + "older")
    assert augment("inspect", folder, "--duplicates", table, "--overwrite")[0] == 0
    assert "older" not in table.read_text()
    assert table.read_text().startswith("kind,first_split,first,")


def test_images_of_arrays_are_named_by_their_places(tmp_path: Path, augment: Augment) -> None:
    assert augment("inspect", "bundled:fashion", "--duplicates", tmp_path / "copies.csv")[0] == 0
    (first, *_) = csv.DictReader((tmp_path / "copies.csv").read_text().splitlines())
    assert (first["kind"], first["first"], first["second"]) == ("near", "train image 20", "test image 934")


def test_fit_leaves_copies_out_of_training_with_a_note(folder: Path, tmp_path: Path, augment: Augment) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    options = ("--config", tmp_path / "tiny.yaml", "--quiet", "--out", tmp_path / "run", "--image-size", "28")
    status, _, error = augment("fit", folder, *options, "--drop-duplicates", "--samples-per-class", "11")
    assert (status, DROPPED in error) == (0, True)
    assert "note: at most 11 images of each class are used: 33 of 35 training images" in error


def test_a_run_leaves_copies_out_and_reports_it(folder: Path, tmp_path: Path, augment: Augment) -> None:
    (tmp_path / "small.yaml").write_text(PIPELINE.format(source=folder))
    out = tmp_path / "out"
    assert augment("run", tmp_path / "small.yaml", "--out", out, "--quiet", "--jobs", "1", "--drop-duplicates")[0] == 0
    results = json.loads((out / "evaluation" / "results.json").read_text())
    assert any(DROPPED.removeprefix("note: ") in warning for warning in results["warnings"])
    assert not any("pixel for pixel" in warning for warning in results["warnings"])
    assert sum(results["dataset"]["train_per_class"].values()) == 35
    assert results["dataset"]["test_size"] == 19
    assert DROPPED.removeprefix("note: ") in (out / "evaluation" / "report.html").read_text()


def test_names_that_are_not_utf_8_are_escaped(folder: Path, tmp_path: Path, augment: Augment) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    shutil.copytree(folder, odd)
    picture = next((odd / "train").rglob("z-again.png"))
    picture.rename(Path(os.fsdecode(os.fsencode(picture.parent) + b"/\xe9.png")))
    assert augment("inspect", odd, "--duplicates", tmp_path / "copies.csv").status == 0
    assert "\\xe9.png" in (tmp_path / "copies.csv").read_text()
    settings = tmp_path / "tiny.yaml"
    settings.write_text(TINY)
    assert augment("fit", odd, "--config", settings, "--out", tmp_path / "run").status == 0
    assert augment("generate", tmp_path / "run", "--per-class", "2", "--out", tmp_path / "images").status == 0
