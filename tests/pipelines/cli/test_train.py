"""`augment train` keeps a classifier, by the recipe of a run or by the defaults."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from command_line import Augment, check_refused, next_command

QUICK = ("--steps", "3", "--members", "1", "--jobs", "1", "--quiet")


def test_train_and_predict_follow_each_other(image_folder: Path, tmp_path: Path, augment: Augment) -> None:
    model = tmp_path / "my model"
    result = augment("train", image_folder, "--out", model, "--image-size", "12", *QUICK)
    assert (result.status, result.err) == (0, "")
    assert "recipe: the defaults, and nothing was measured" in result.out
    assert "cross-validated accuracy" in result.out
    command = next_command(result)
    assert command[:4] == ["augment", "predict", str(model), str(image_folder)]
    result = augment(*command[1:], "--quiet")
    assert result.status == 0
    assert "18 pictures" in result.out
    assert len(Path(command[-1]).read_text().splitlines()) == 19


def test_train_follows_a_run(out: Path, image_folder: Path, tmp_path: Path, augment: Augment) -> None:
    result = augment("train", image_folder, "--run", out, "--out", tmp_path / "model", *QUICK)
    assert (result.status, result.err) == (0, "")
    metadata = json.loads((tmp_path / "model" / "model.json").read_text())
    assert metadata["image_size"] == 12
    assert metadata["recipe"]["measured"]["repeats"] == 2
    assert "Measured by the run" in (tmp_path / "model" / "README.md").read_text()


def test_a_source_without_a_class_of_the_run_is_refused(
    out: Path, image_folder: Path, tmp_path: Path, augment: Augment
) -> None:
    photos = Path(shutil.copytree(image_folder, tmp_path / "photos"))
    for split in ("train", "test"):
        shutil.rmtree(photos / split / "sandal")
    result = augment("train", photos, "--run", out, "--out", tmp_path / "model", *QUICK)
    check_refused(result, "the run compared classifiers of ankle-boot, sandal, trouser")
    assert not (tmp_path / "model").exists()


def test_an_unlabelled_folder_is_refused(image_folder: Path, tmp_path: Path, augment: Augment) -> None:
    result = augment("train", image_folder / "train" / "sandal", "--out", tmp_path / "model", *QUICK)
    check_refused(result, "holds no class folders")
