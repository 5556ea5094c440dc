"""`augment predict` refuses what it cannot read, and loses no earlier table."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from command_line import Augment, check_refused


@pytest.fixture(scope="module")
def model(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from small_model import recipe

    from augment.runtime import Runtime
    from pipelines.config.sections import DataConfig
    from pipelines.model.training import train

    folder = tmp_path_factory.mktemp("predict") / "model"
    train(DataConfig(source=str(image_folder), image_size=12), recipe(), folder, Runtime(), members=1, keep_test=True)
    return folder


def test_labelled_pictures_are_counted_and_measured(
    model: Path, image_folder: Path, tmp_path: Path, augment: Augment
) -> None:
    result = augment("predict", model, image_folder, "--out", tmp_path / "p.csv", "--jobs", "1", "--quiet")
    assert result.status == 0
    assert "note: only the test images" in result.err
    assert "true" in result.out
    assert "balanced accuracy" in result.out


def test_an_earlier_table_is_kept(model: Path, image_folder: Path, tmp_path: Path, augment: Augment) -> None:
    (tmp_path / "p.csv").write_text("mine")
    command = ("predict", model, image_folder, "--out", tmp_path / "p.csv", "--jobs", "1", "--quiet")
    check_refused(augment(*command), "already exists; choose another file, or give --overwrite")
    check_refused(augment(*command, "--overwrite"), "was not written by `augment predict`")
    assert (tmp_path / "p.csv").read_text() == "mine"
    (tmp_path / "p.csv").unlink()
    assert augment(*command).status == 0
    assert augment(*command, "--overwrite").status == 0
    assert (tmp_path / "p.csv").read_text().startswith("path,class")


def test_files_beside_the_table_are_left_alone(
    model: Path, image_folder: Path, tmp_path: Path, augment: Augment
) -> None:
    (tmp_path / "p.csv.part").write_text("mine")
    (tmp_path / "precious.txt").write_text("mine")
    (tmp_path / "q.csv.part").symlink_to("precious.txt")
    for name in ("p.csv", "q.csv"):
        assert augment("predict", model, image_folder, "--out", tmp_path / name, "--jobs", "1", "--quiet").status == 0
        assert (tmp_path / name).read_text().startswith("path,class")
        assert not (tmp_path / name).is_symlink()
    assert (tmp_path / "p.csv.part").read_text() == (tmp_path / "precious.txt").read_text() == "mine"
    assert not list(tmp_path.glob(".augment*"))


def test_broken_pictures_are_named_or_skipped(
    model: Path, image_folder: Path, tmp_path: Path, augment: Augment
) -> None:
    folder = Path(shutil.copytree(image_folder / "test" / "sandal", tmp_path / "new"))
    (folder / "broken.png").write_bytes(b"no picture")
    command = ("predict", model, folder, "--out", tmp_path / "p.csv", "--jobs", "1", "--quiet")
    check_refused(augment(*command), "broken.png is not a readable picture")
    assert not (tmp_path / "p.csv").exists()
    result = augment(*command, "--skip-broken")
    assert result.status == 0
    assert "1 broken file skipped" in result.out


def test_a_folder_that_is_no_model_is_refused(image_folder: Path, tmp_path: Path, augment: Augment) -> None:
    result = augment("predict", image_folder, image_folder / "test", "--out", tmp_path / "p.csv")
    check_refused(result, "holds no finished model")
