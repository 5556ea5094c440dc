"""Unlabelled images are read from any source, whatever its form and its labels are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from augment.dataset.images import LabelledImages
from augment.dataset.sources import read_source
from augment.errors import SourceError
from pipelines.config.sections import DataConfig
from pipelines.experiment.loading import LoadedSource, load


def load_with(unlabelled: Path | str, source: Path, *, skip_broken: bool = False) -> LoadedSource:
    config = DataConfig(source=str(source), image_size=12, unlabelled=str(unlabelled), skip_broken=skip_broken)
    return load(config)


def images(data: LabelledImages | None) -> set[bytes]:
    return {image.tobytes() for image in data.images} if data else set()


def test_unlabelled_images_are_read_from_any_folder(image_folder: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for i, file in enumerate(sorted((image_folder / "train").rglob("*.png"))):
        Image.open(file).rotate(90 if i % 2 else 0).save(flat / f"{i:02}.png")
    loaded = load_with(flat, image_folder)
    assert loaded.unlabelled is not None
    assert (len(loaded.unlabelled), set(loaded.unlabelled.labels)) == (18, {0})
    assert not images(loaded.unlabelled) & (images(loaded.train) | images(loaded.test))
    assert loaded.warnings == (
        f"18 unlabelled images of {flat}",
        "18 unlabelled images left out: the same as a labelled image, pixel for pixel",
    )


def test_unlabelled_images_that_are_nearly_test_images_are_noted(image_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    for i, file in enumerate(sorted((image_folder / "test").rglob("*.png"))[::5]):
        with Image.open(file) as picture:
            mirrored = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if i % 2 else picture
            mirrored.save(tmp_path / "more" / f"{i}.jpg", quality=75)

    def notes(source: Path) -> list[str]:
        loaded = load(DataConfig(source=str(source), unlabelled=str(tmp_path / "more")))
        return [note for note in loaded.warnings if "nearly the same" in note]

    (note,) = notes(image_folder)
    assert note.startswith("4 unlabelled images are nearly the same as a test image: if these are copies, remove them")
    (note,) = notes(image_folder / "test")  # without a split of its own, any of its images may be tested on
    assert note.startswith(
        "4 unlabelled images are nearly the same as a labelled image, and each of these may be a test image: if"
    )
    assert notes(image_folder / "train") == []


def test_labels_of_unlabelled_images_are_not_looked_at(image_folder: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "all"), "zip", image_folder)
    loaded = load_with(archive, image_folder / "train")  # its test images are new here
    assert loaded.unlabelled is not None
    assert images(loaded.unlabelled) == images(read_source(image_folder / "test", image_size=12).train)


def test_unlabelled_images_have_to_be_new_readable_and_of_the_same_channels(image_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no unlabelled image that is not among the labelled ones"):
        load_with(image_folder / "train", image_folder)
    other = Path(shutil.copytree(image_folder / "test" / "trouser", tmp_path / "other"))
    (other / "broken.png").write_text("no picture")
    with pytest.raises(SourceError, match=r"broken.png is not a readable picture"):
        load_with(other, image_folder / "train")
    loaded = load_with(other, image_folder / "train", skip_broken=True)
    assert loaded.warnings[-1].startswith("1 broken file skipped: ")
    (other / "broken.png").unlink()
    for file in other.iterdir():
        grey = Image.open(file).convert("L")
        Image.merge("RGB", [grey.point(lambda v, c=c: v // c) for c in (1, 2, 3)]).save(file)
    with pytest.raises(SourceError, match="is in colour, but grey pictures are expected"):
        load_with(other, image_folder / "train")


def test_pictures_beside_folders_are_read_too(image_folder: Path, tmp_path: Path) -> None:
    mixed = Path(shutil.copytree(image_folder / "test", tmp_path / "mixed"))
    for file in (mixed / "sandal").iterdir():
        file.rename(mixed / file.name)
    (mixed / "sandal").rmdir()
    loaded = load_with(mixed, image_folder / "train")
    assert images(loaded.unlabelled) == images(read_source(image_folder / "test", image_size=12).train)
    assert loaded.warnings == (f"18 unlabelled images of {mixed}",)
