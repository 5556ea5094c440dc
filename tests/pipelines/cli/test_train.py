"""`augment train` keeps a classifier, by the recipe of a run or by the defaults."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import Augment, check_refused, next_command

QUICK = ("--steps", "3", "--members", "1", "--jobs", "1", "--quiet")
AS_RUN = ("--samples-per-class", "6", *QUICK)  # as many images as the run of the fixture


def rewrite_json(path: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def rewrite_yaml(path: Path, change: Callable[[Any], object]) -> None:
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))


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
    result = augment("train", image_folder, "--run", out, "--out", tmp_path / "model", *AS_RUN)
    assert result.status == 0
    assert "not that of this model" not in result.err
    metadata = json.loads((tmp_path / "model" / "model.json").read_text())
    assert metadata["image_size"] == 12
    assert metadata["recipe"]["measured"]["repeats"] == 2
    assert "Measured by the run" in (tmp_path / "model" / "README.md").read_text()


@pytest.mark.parametrize(
    ("options", "removed", "words"),
    [
        (("--image-size", "16"), 0, "another image size (12 px, this model 16 px)"),
        (("--resize", "crop"), 0, "pictures made square by pad (this model by crop)"),
        (("--steps", "2"), 0, "training for 3 steps (this model 2)"),
        (("--horizontal-flip",), 1, "other images and training without flips"),
        (("--drop-duplicates",), 0, "images with duplicates"),
    ],
)
def test_what_the_run_measured_otherwise_is_said(
    options: tuple[str, ...], removed: int, words: str, out: Path, image_folder: Path, tmp_path: Path, augment: Augment
) -> None:
    photos = Path(shutil.copytree(image_folder, tmp_path / "photos"))
    for file in list((photos / "train" / "sandal").iterdir())[:removed]:
        file.unlink()
    result = augment("train", photos, "--run", out, "--out", tmp_path / "model", *AS_RUN, *options)
    assert f"note: the run measured {words}, so its figure is not that of this model" in result.err
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"- The run measured {words}, for single classifiers: accuracy" in card
    assert "**Measured by the run" not in card


@pytest.mark.parametrize("drawn", [True, False])
def test_a_figure_on_few_images_is_not_that_of_a_model(
    drawn: bool, out: Path, image_folder: Path, tmp_path: Path, augment: Augment
) -> None:
    if drawn:  # by the protocol, and not by a limit
        rewrite_json(out / "evaluation" / "results.json", lambda results: results["protocol"].update(kind="imbalance"))
        rewrite_yaml(out / "config.yaml", lambda config: config["data"].update(samples_per_class=None))
    result = augment("train", image_folder, "--run", out, "--out", tmp_path / "model", *QUICK)
    assert "note: the run measured few images of each class, so its figure is not that of this model" in result.err
    result = augment("train", image_folder, "--run", out, "--out", tmp_path / "like", *AS_RUN)
    assert result.status == 0
    assert "not that of this model" not in result.err


def test_a_model_is_trained_without_duplicates_as_its_run_was(
    out: Path, image_folder: Path, tmp_path: Path, augment: Augment
) -> None:
    rewrite_yaml(
        out / "config.yaml", lambda config: config["data"].update(drop_duplicates=True, samples_per_class=None)
    )
    photos = Path(shutil.copytree(image_folder, tmp_path / "photos"))
    first = next((photos / "train" / "sandal").iterdir())
    shutil.copy(first, first.with_name("copy.png"))
    result = augment("train", photos, "--run", out, "--out", tmp_path / "model", *QUICK)
    assert "figure is not that of this model" not in result.err
    metadata = json.loads((tmp_path / "model" / "model.json").read_text())
    assert metadata["train_per_class"]["sandal"] == len(list((image_folder / "train" / "sandal").iterdir())) + 6
    assert metadata["differs_from_run"] == []


def test_a_run_of_an_earlier_version_does_not_know_its_images(
    out: Path, image_folder: Path, tmp_path: Path, augment: Augment
) -> None:
    rewrite_json(out / "evaluation" / "results.json", lambda results: results["dataset"].pop("fingerprint"))
    photos = Path(shutil.copytree(image_folder, tmp_path / "photos"))
    next((photos / "train" / "sandal").iterdir()).unlink()
    result = augment("train", photos, "--run", out, "--out", tmp_path / "model", *AS_RUN)
    assert result.status == 0
    assert "not that of this model" not in result.err
    assert "**Measured by the run" in (tmp_path / "model" / "README.md").read_text()


def test_a_source_without_a_class_of_the_run_is_refused(
    out: Path, image_folder: Path, tmp_path: Path, augment: Augment
) -> None:
    photos = Path(shutil.copytree(image_folder, tmp_path / "photos"))
    for split in ("train", "test"):
        shutil.rmtree(photos / split / "sandal")
    result = augment("train", photos, "--run", out, "--out", tmp_path / "model", *AS_RUN)
    check_refused(result, "the run compared classifiers of ankle-boot, sandal, trouser")
    assert not (tmp_path / "model").exists()


def test_an_unlabelled_folder_is_refused(image_folder: Path, tmp_path: Path, augment: Augment) -> None:
    result = augment("train", image_folder / "train" / "sandal", "--out", tmp_path / "model", *QUICK)
    check_refused(result, "holds no class folders")
