"""All copies are listed, and each picture is kept once in the training images."""

import csv
import io

import numpy as np
import pytest
from PIL import Image

from augment.dataset.deduplication import COLUMNS, drop_duplicates, find_duplicate_pairs, format_csv
from augment.dataset.images import LabelledImages
from augment.errors import SourceError


def saved(image):
    """An image after it was saved as JPEG and read again: C x H x W, grey."""
    buffer = io.BytesIO()
    Image.fromarray(image[0]).save(buffer, "JPEG", quality=75)
    return np.asarray(Image.open(buffer))[None]


@pytest.fixture(scope="module")
def clean(fashion):
    """20 real images of each of two classes, bags first."""
    places = [np.flatnonzero(fashion.labels == fashion.class_names.index(name))[:20] for name in ("bag", "trouser")]
    return LabelledImages(fashion.images[np.concatenate(places)], np.repeat([0, 1], 20), ("bag", "trouser"))


def changed(data, images=(), labels=()):
    """`data` with other pixels or labels at some places."""
    pixels, classes = data.images.copy(), data.labels.copy()
    for place, image in dict(images).items():
        pixels[place] = image
    for place, label in dict(labels).items():
        classes[place] = label
    return LabelledImages(pixels, classes, data.class_names)


@pytest.fixture(scope="module")
def others(fashion):
    """Ten other bags and trousers."""
    places = [np.flatnonzero(fashion.labels == fashion.class_names.index(name))[50:55] for name in ("bag", "trouser")]
    return LabelledImages(fashion.images[np.concatenate(places)], np.repeat([0, 1], 5), ("bag", "trouser"))


def test_a_table_lists_copies_within_training_and_between_the_splits(clean, others):
    train = changed(clean, {7: clean.images[2], 9: clean.images[2], 31: saved(clean.images[12])})
    val = changed(others, {1: clean.images[30]})
    test = changed(others, {6: saved(clean.images[25][..., ::-1])})
    splits = {"train": train, "val": val, "test": test}
    rows = list(
        csv.reader(format_csv(find_duplicate_pairs(splits), splits, lambda split, i: f"{split}/{i}.png").splitlines())
    )
    assert tuple(rows[0]) == COLUMNS
    assert [tuple(row[:-1]) for row in rows[1:]] == [
        ("exact", "train", "train/2.png", "train", "train/7.png", "bag", "bag"),
        ("exact", "train", "train/2.png", "train", "train/9.png", "bag", "bag"),
        ("near", "train", "train/12.png", "train", "train/31.png", "bag", "trouser"),
        ("exact", "train", "train/30.png", "val", "val/1.png", "trouser", "bag"),
        ("near", "train", "train/25.png", "test", "test/6.png", "trouser", "trouser"),
    ]
    differences = [float(row[-1]) for row in rows[1:]]
    assert [d for d, row in zip(differences, rows[1:], strict=True) if row[0] == "exact"] == [0, 0, 0]
    assert all(0 < d < 0.1 for d, row in zip(differences, rows[1:], strict=True) if row[0] == "near")


def test_a_set_drop_duplicates_stays_as_it_is(clean, others):
    assert drop_duplicates(clean, {"test": others}) == (clean, ())


def test_all_but_the_first_of_a_group_are_dropped(clean):
    """Image 4 is nearly image 3, and image 8 is image 4 exactly: one group."""
    train = changed(clean, {4: saved(clean.images[3]), 8: saved(clean.images[3]), 30: clean.images[25]})
    kept, (said,) = drop_duplicates(train, {})
    assert np.array_equal(kept.images, np.delete(train.images, [4, 8, 30], axis=0))
    assert np.array_equal(kept.labels, np.delete(train.labels, [4, 8, 30]))
    assert said == "3 of 40 training images were dropped as copies: 3 that repeat another one"


@pytest.mark.parametrize("change", [lambda image: image, saved])
def test_a_group_of_several_classes_is_dropped_altogether(change, clean):
    train = changed(clean, {25: change(clean.images[3])})
    kept, (said,) = drop_duplicates(train, {})
    assert np.array_equal(kept.images, np.delete(train.images, [3, 25], axis=0))
    assert said == "2 of 40 training images were dropped as copies: 2 that are in more than one class"


def test_an_image_of_another_split_is_dropped_with_its_copies(clean, others):
    """Image 20 is in val; 21 is its copy and 22 nearly; 5 is nearly in test."""
    train = changed(clean, {21: clean.images[20], 22: saved(clean.images[20])})
    val, test = changed(others, {2: clean.images[20]}), changed(others, {8: saved(clean.images[5])})
    kept, (said,) = drop_duplicates(train, {"val": val, "test": test})
    assert np.array_equal(kept.images, np.delete(train.images, [5, 20, 21, 22], axis=0))
    assert said == (
        "4 of 40 training images were dropped as copies: 4 that are also in val or test, or copies of such images"
    )


def test_a_class_that_would_lose_its_images_is_refused(clean):
    train = changed(clean, dict.fromkeys(range(20), clean.images[0]))
    with pytest.raises(SourceError, match="class 'bag' has 20 training images and 1 without copies: at least 2"):
        drop_duplicates(train, {})
