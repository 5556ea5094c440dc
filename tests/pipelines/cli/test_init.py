"""`augment init` writes a definition that `augment run` plans, and replaces only its own files."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Augment, check_refused, next_command

from pipelines.config.reading import load_pipeline


def test_the_written_pipeline_can_be_planned(image_folder: Path, tmp_path: Path, augment: Augment) -> None:
    command = ("init", image_folder, "--image-size", "12", "--out", tmp_path / "mine.yaml")
    result = augment(*command)
    assert (result.status, result.err) == (0, "")
    following = next_command(result)
    assert following == ["augment", "run", str(tmp_path / "mine.yaml"), "--dry-run"]
    planned = augment(*following[1:], "--set", "evaluate.arms=[classical,classical+fresh]", "--out", tmp_path / "out")
    assert planned.status == 0
    assert "fit has to run" in planned.out
    check_refused(augment(*command), "already exists")
    assert augment(*command, "--overwrite").status == 0
    (tmp_path / "mine.yaml").write_text("mine")
    check_refused(augment(*command, "--overwrite"), "was not written by `augment init`")


def test_a_folder_after_a_prefix_is_found_from_another_folder(
    image_folder: Path, tmp_path: Path, augment: Augment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(image_folder)
    out = tmp_path / "mine.yaml"
    assert augment("init", "torchvision:ImageFolder:train", "--out", out).status == 0
    monkeypatch.chdir(tmp_path)
    assert load_pipeline(str(out)).data.source == f"torchvision:ImageFolder:{image_folder.resolve() / 'train'}"


def test_the_head_names_the_file_as_a_shell_needs_it(image_folder: Path, tmp_path: Path, augment: Augment) -> None:
    out = tmp_path / "my files" / "my pipe.yaml"
    assert augment("init", image_folder, "--out", out).status == 0
    assert f"augment run '{out}' --dry-run" in out.read_text()
