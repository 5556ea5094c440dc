"""`augment inspect` counts images and draws them, and writes over nothing that is not its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import Augment, check_refused, next_command
from folders import contents
from PIL import Image


def test_inspect_counts_and_draws_a_contact_sheet(image_folder: Path, tmp_path: Path, augment: Augment) -> None:
    result = augment("inspect", image_folder, "--out", tmp_path / "new" / "sheet.png", "--samples-per-class", "4")
    assert (result.status, result.err) == (0, "")
    command = ["augment", "run", "auto", str(image_folder), "--out", "runs/mine"]
    assert next_command(result) == command
    with Image.open(tmp_path / "new" / "sheet.png") as sheet:
        assert sheet.width > 4 * 28
    before = contents(tmp_path)
    check_refused(augment("inspect", image_folder, "--out", tmp_path / "new" / "sheet.png"), "sheet.png already exists")
    check_refused(augment("inspect", image_folder, "--out", tmp_path, "--overwrite"), "already exists")
    assert contents(tmp_path) == before
    assert augment("inspect", image_folder, "--out", tmp_path / "new" / "sheet.png", "--overwrite").status == 0


def test_the_next_command_reads_the_images_in_the_same_way(
    photos: Path, tiny: Path, tmp_path: Path, augment: Augment
) -> None:
    command = next_command(augment("inspect", photos, "--image-size", "12", "--resize", "crop"))
    options = [str(photos), "--image-size", "12", "--resize", "crop"]
    assert command == ["augment", "run", "auto", *options, "--out", "runs/mine"]
    assert augment(*command[1:-1], tmp_path / "mine", "--dry-run").status == 0
    result = augment("fit", photos, "--out", tmp_path / "run", "--config", tiny, "--image-size", "12", "--quiet")
    assert result.err.startswith(
        f"note: {photos.name} has no test split, so images of this generator can only be evaluated on"
    )


def test_inspect_shows_class_names_as_they_are(photos: Path, augment: Augment) -> None:
    first, second, _ = sorted(photos.iterdir())
    first.rename(photos / "[bold]")
    second.rename(photos / "[red] a b")
    result = augment("inspect", photos)
    assert result.status == 0
    assert "[bold]" in result.out
    assert "[red] a b" in result.out


@pytest.mark.parametrize("out", ["photos/new/sheet.png", "photos/sheet.png", "photos", "data.npz"])
def test_inspect_writes_neither_into_a_source_nor_onto_one(
    out: str, photos: Path, tmp_path: Path, augment: Augment, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "data.npz", train_images=np.zeros((6, 12, 12), np.uint8), train_labels=np.arange(6) % 2)
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path)
    source = out if out == "data.npz" else "photos"
    check_refused(augment("inspect", source, "--out", out, "--overwrite"), "choose another path for the output")
    assert contents(tmp_path) == before


def test_inspect_replaces_a_contact_sheet_and_nothing_else(photos: Path, tmp_path: Path, augment: Augment) -> None:
    (tmp_path / "mine.png").write_bytes(b"mine")
    result = augment("inspect", photos, "--out", tmp_path / "mine.png", "--overwrite")
    check_refused(result, "mine.png was not written by `augment inspect`; choose another file")
    assert (tmp_path / "mine.png").read_bytes() == b"mine"
