"""A source that cannot be used is refused in one sentence that names the reason."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import Augment, check_refused
from folders import contents


def broken(photos: Path) -> Path:
    file = min(photos.rglob("*.png"))
    file.write_bytes(file.read_bytes()[:60])
    return file


def test_a_broken_file_is_named_and_left_out_on_request(
    photos: Path, tiny: Path, tmp_path: Path, augment: Augment
) -> None:
    file = broken(photos)
    for command in (("inspect", photos), ("fit", photos, "--out", tmp_path / "run", "--config", tiny)):
        check_refused(augment(*command), f"{file} is not a readable picture")
        result = augment(*command, "--skip-broken")
        assert result.status == 0
        assert str(file) in result.out + result.err


def remove_all_but(count: int) -> Callable[[Path], None]:
    def change(photos: Path) -> None:
        for file in sorted(min(photos.iterdir()).iterdir())[count:]:
            file.unlink()

    return change


def one_class(photos: Path) -> None:
    for folder in sorted(photos.iterdir())[1:]:
        shutil.rmtree(folder)


SOURCES: list[tuple[Callable[[Path], object], str]] = [
    (shutil.rmtree, "there is no "),
    (lambda photos: [shutil.rmtree(folder) for folder in photos.iterdir()], "holds no class folders"),
    (remove_all_but(0), "is empty: add images or remove it"),
    (one_class, "has 1 class, "),
    (remove_all_but(1), "has 1 training image: at least 2 are needed"),
    (broken, ".png is not a readable picture"),
    (lambda photos: (min(photos.iterdir()) / "notes.txt").write_text("mine"), "notes.txt is not a readable picture"),
]


@pytest.mark.parametrize(("change", "message"), SOURCES)
@pytest.mark.parametrize("command", [("inspect",), ("fit", "--out", "OUT"), ("evaluate", "--out", "OUT")])
def test_a_source_that_cannot_be_learnt_from_is_refused(
    command: tuple[str, ...],
    change: Callable[[Path], object],
    message: str,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    augment: Augment,
) -> None:
    monkeypatch.chdir(photos.parent)
    change(photos)
    check_refused(augment(command[0], photos, *command[1:]), message)
    assert not Path("OUT").exists()


def test_an_error_stays_on_one_line_whatever_a_folder_is_called(photos: Path, augment: Augment) -> None:
    (photos / "two\nlines").mkdir()
    check_refused(augment("inspect", photos), "two lines is empty")


def test_a_label_outside_the_classes_is_refused(tmp_path: Path, augment: Augment) -> None:
    images, labels = np.zeros((4, 8, 8), np.uint8), np.array([0, 1, 2, 5])
    np.savez(tmp_path / "data.npz", train_images=images, train_labels=labels, class_names=np.array(["a", "b", "c"]))
    check_refused(augment("inspect", tmp_path / "data.npz"), "label 5 is outside the classes, 0 to 2")


@pytest.mark.parametrize("command", ["fit", "evaluate", "tune"])
def test_nothing_is_written_inside_a_source(command: str, photos: Path, augment: Augment) -> None:
    before = contents(photos)
    check_refused(augment(command, photos, "--out", photos / "new" / "deep"), "is inside the source")
    assert contents(photos) == before
