"""Pictures to be classified are found in every form, and decoded as those of a source are."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augment.dataset import pictures
from augment.dataset.pictures import Format, decoded, find_pictures
from augment.dataset.sources import read_source
from augment.errors import SourceError

GREY = Format(12, "pad", 1)


@pytest.fixture
def flat(image_folder: Path, tmp_path: Path) -> Path:
    """Three pictures in a folder without class folders."""
    folder = tmp_path / "flat"
    folder.mkdir()
    for i, file in enumerate(sorted((image_folder / "train" / "trouser").iterdir())[:3]):
        shutil.copy(file, folder / f"{i}.png")
    return folder


def test_a_folder_of_pictures_has_no_labels(flat: Path) -> None:
    found, notes = find_pictures(str(flat))
    assert [(Path(p.name).name, p.class_name) for p in found] == [("0.png", None), ("1.png", None), ("2.png", None)]
    assert notes == []


def test_an_archive_of_pictures_has_no_labels(flat: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "flat"), "zip", flat)
    found, notes = find_pictures(archive)
    assert [(p.name, p.class_name) for p in found] == [(f"{archive}/{i}.png", None) for i in range(3)]
    assert notes == []
    packed, plain = (
        next(decoded(pictures, GREY, 1, skip_broken=False)) for pictures in (found, find_pictures(str(flat))[0])
    )
    assert np.array_equal(packed.images, plain.images)


def test_only_the_test_images_of_a_source_are_listed(image_folder: Path) -> None:
    found, notes = find_pictures(str(image_folder))
    assert len(found) == 18
    assert {p.class_name for p in found} == {"trouser", "sandal", "ankle-boot"}
    assert notes == [f"only the test images of {image_folder.name} are classified, not its 36 train images"]


def test_pictures_beside_class_folders_are_mentioned(image_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(image_folder / "train", tmp_path / "photos"))
    shutil.copy(next(folder.rglob("*.png")), folder / "stray.png")
    pictures, notes = find_pictures(str(folder))
    assert len(pictures) == 36
    assert notes == [f"1 picture beside the class folders ignored: {folder}/stray.png; move them into class folders"]


def test_a_table_may_lack_labels(flat: Path) -> None:
    (flat / "table.csv").write_text("path\n1.png\n0.png\n")
    found, _ = find_pictures(str(flat / "table.csv"))
    assert [p.name for p in found] == [str(flat / "1.png"), str(flat / "0.png")]


def test_only_the_test_images_of_a_table_are_listed(flat: Path) -> None:
    (flat / "table.csv").write_text("path,split\n1.png,test\n0.png,train\n")
    found, notes = find_pictures(str(flat / "table.csv"))
    assert [p.name for p in found] == [str(flat / "1.png")]
    assert notes == ["only the test images of table.csv are classified, not its 1 train image"]


def test_arrays_are_named_by_their_places() -> None:
    found, _ = find_pictures("bundled:fashion")
    test = read_source("bundled:fashion").splits["test"]
    assert found[7].name == "test[7]"
    assert [p.class_name for p in found] == [test.class_names[label] for label in test.labels]


def test_pictures_are_decoded_as_a_source_is(image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "BATCH", 7)
    found, _ = find_pictures(str(image_folder))
    batches = list(decoded(found, GREY, 2, skip_broken=False))
    assert [len(batch.pictures) for batch in batches] == [7, 7, 4]
    expected = read_source(image_folder, image_size=12).splits["test"]
    assert np.array_equal(np.concatenate([batch.images for batch in batches]), expected.images)


def test_broken_files_are_named_or_skipped(flat: Path) -> None:
    (flat / "1.png").write_bytes(b"no picture")
    found, _ = find_pictures(str(flat))
    with pytest.raises(SourceError, match=r"1\.png is not a readable picture"):
        list(decoded(found, GREY, 1, skip_broken=False))
    (batch,) = decoded(found, GREY, 1, skip_broken=True)
    assert (len(batch.images), batch.broken) == (2, [str(flat / "1.png")])


def test_too_large_pictures_are_broken_as_in_a_source(flat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (40, 40)).save(flat / "1.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # more is a warning of Pillow, and twice as many an error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = list(warnings.filters)
        (batch,) = decoded(find_pictures(str(flat))[0], GREY, 4, skip_broken=True)
        assert warnings.filters == before
    assert batch.broken == [str(flat / "1.png")]


def test_colours_are_refused_where_the_model_is_grey(flat: Path) -> None:
    Image.new("RGB", (12, 12), (200, 10, 10)).save(flat / "1.png")
    found, _ = find_pictures(str(flat))
    with pytest.raises(SourceError, match="is in colour, but grey pictures are expected"):
        list(decoded(found, GREY, 1, skip_broken=True))
    (batch,) = decoded(found, Format(12, "pad", 3), 1, skip_broken=False)
    assert batch.images[1, :, 5, 5].tolist() == [200, 10, 10]


def test_grey_pictures_stored_with_three_channels_are_grey(flat: Path) -> None:
    grey = np.asarray(Image.open(flat / "1.png"))
    Image.open(flat / "1.png").convert("RGB").save(flat / "1.png")
    found, _ = find_pictures(str(flat))
    (batch,) = decoded(found, Format(28, "pad", 1), 1, skip_broken=False)
    assert np.array_equal(batch.images[1, 0], grey)


def test_grey_arrays_stored_with_three_channels_are_grey(image_folder: Path, tmp_path: Path) -> None:
    train = read_source(image_folder, image_size=12).splits["train"]
    colour = np.repeat(train.images.transpose(0, 2, 3, 1), 3, axis=3)
    np.savez(tmp_path / "grey.npz", train_images=colour, train_labels=train.labels)
    (batch, *_) = decoded(find_pictures(str(tmp_path / "grey.npz"))[0], GREY, 1, skip_broken=False)
    assert np.array_equal(batch.images, train.images[: len(batch.images)])
    colour[0, 0, 0, 0] ^= 1
    np.savez(tmp_path / "colour.npz", train_images=colour, train_labels=train.labels)
    with pytest.raises(SourceError, match="is in colour, but grey pictures are expected"):
        list(decoded(find_pictures(str(tmp_path / "colour.npz"))[0], GREY, 1, skip_broken=False))


@pytest.mark.parametrize("spec", ["", " "])
def test_an_empty_name_is_not_the_working_directory(
    spec: str, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(image_folder / "test" / "sandal")
    with pytest.raises(SourceError, match=r"^the source is empty: expected a folder of class folders"):
        find_pictures(spec)


@pytest.mark.parametrize(("name", "content", "message"), [("empty", None, "is empty"), ("no.csv", "path\n", "no pict")])
def test_nothing_to_classify_is_refused(name: str, content: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(content) if content else path.mkdir()
    with pytest.raises(SourceError, match=message):
        find_pictures(str(path))


def test_a_folder_with_an_archive_of_arrays_is_a_source(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 12, 12), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", train_images=images, train_labels=np.arange(8) % 2)
    (tmp_path / "README.md").write_text("two classes")
    found, _ = find_pictures(str(tmp_path))
    assert [p.class_name for p in found] == ["0", "1"] * 4
