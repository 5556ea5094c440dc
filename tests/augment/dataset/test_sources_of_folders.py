"""Folders that are nearly class folders are read, or refused in a sentence that says what to do."""

import numpy as np
import pytest

from augment.dataset.sources import read_source
from augment.errors import SourceError


def flatten(root, split):
    """Move the pictures of a split out of their class folders."""
    for folder in list((root / split).iterdir()):
        for file in folder.iterdir():
            file.rename(root / split / f"{folder.name}-{file.name}")
        folder.rmdir()


@pytest.mark.parametrize("names", [("Train", "Test"), ("training", "testing"), ("train", "validation")])
def test_splits_may_have_their_other_usual_names(photos, names):
    expected = read_source(photos)
    for old, new in zip(("train", "test"), names, strict=True):
        (photos / old).rename(photos / new)
    source = read_source(photos)
    assert np.array_equal(source.train.images, expected.train.images)
    other = source.val if names[1] == "validation" else source.test
    assert np.array_equal(other.images, expected.test.images)


def test_a_table_of_something_else_does_not_replace_the_class_folders(photos):
    expected = read_source(photos).train.fingerprint
    (photos / "manifest.csv").write_text("sku,price\n1,2\n")
    assert read_source(photos).train.fingerprint == expected


def test_a_split_of_broken_pictures_is_not_left_out(photos):
    for file in (photos / "test").rglob("*.png"):
        file.write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"photos: none of its 3 test images can be read"):
        read_source(photos, skip_broken=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: (p / "train" / "shoe").mkdir(), "shoe is empty"),
        (lambda p: (p / "test" / "coat").rename(p / "test" / "shoe"), "'shoe' is in test but not in train"),
        (lambda p: (p / "extra").mkdir(), "also extra/: expected train/, val/ and test/ only"),
        (lambda p: (p / "Test set").mkdir(), "also Test set/: expected train/, val/ and test/ only"),
        (lambda p: (p / "testing").mkdir(), "also testing/: expected train/, val/ and test/ only, each once"),
        (lambda p: (p / "val").mkdir(), "val holds 0 pictures and no class folders"),
        (lambda p: (p / "train" / "bag" / "more").mkdir(), "holds the folder more/.* give .*bag, and call"),
        (lambda p: (p / "train").rename(p / "fit"), "the class folder .*fit holds the folder bag/"),
        (lambda p: flatten(p, "test"), "test holds 3 pictures and no class folders"),
        (lambda p: [flatten(p, split) for split in ("train", "test")], "train holds no class folders: put the images"),
        (
            lambda p: (p / "test" / "coat").rename(p / "test" / "coat "),
            r"train \('coat ' looks like 'coat', but is another",
        ),
        (lambda p: [f.unlink() for f in sorted((p / "train" / "bag").iterdir())[1:]], "'bag' has 1 training image"),
        (lambda p: [(p / s / "bag").rename(p / f"{s} bag") for s in ("train", "test")], "expected train/"),
    ],
)
def test_folders_out_of_order_are_refused(photos, change, message):
    change(photos)
    with pytest.raises(SourceError, match=message):
        read_source(photos)


def test_all_broken_files_of_a_split_are_named_at_once(photos):
    for name in ("a movie.mp4", "notes.txt", "phone.heic"):
        (photos / "train" / "coat" / name).write_text("no picture")
    message = (
        r"coat.a movie\.mp4 is not a readable picture \(.*\), and \S+notes\.txt, \S+phone\.heic are not either; repair"
    )
    with pytest.raises(SourceError, match=message):
        read_source(photos)
