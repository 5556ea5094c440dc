"""Images take the classes, size and channels of others."""

from __future__ import annotations

import numpy as np
import pytest

from augment.dataset.images import LabelledImages, match_format
from augment.errors import ConfigError


@pytest.fixture
def pool(fashion: LabelledImages) -> LabelledImages:
    """30 images of each of three classes."""
    members = np.concatenate([np.flatnonzero(fashion.labels == k)[:30] for k in (5, 7, 9)])
    return LabelledImages(fashion.images[members], np.repeat(np.arange(3), 30), ("sandal", "sneaker", "ankle-boot"))


def test_classes_are_matched_by_name(pool: LabelledImages, shoes: LabelledImages) -> None:
    other = LabelledImages(shoes.images, shoes.labels, ("sneaker", "ankle-boot", "sandal"))
    matched = match_format(other, pool, "synthetic images")
    assert matched.class_names == ("sandal", "sneaker", "ankle-boot")
    assert matched.counts().tolist() == [4, 9, 6]
    assert [matched.class_names[k] for k in matched.labels] == [other.class_names[k] for k in other.labels]


def test_classes_may_be_missing(pool: LabelledImages, shoes: LabelledImages) -> None:
    only = LabelledImages(shoes.images[:4], np.zeros(4, np.int64), ("ankle-boot",))
    matched = match_format(only, pool, "synthetic images")
    assert matched.labels.tolist() == [2] * 4
    assert matched.num_classes == 3


def test_sizes_and_channels_become_those_of_the_real_images(pool: LabelledImages, shoes: LabelledImages) -> None:
    colour = LabelledImages(np.repeat(pool.images, 3, axis=1), pool.labels, pool.class_names)
    matched = match_format(shoes, colour, "synthetic images")
    assert matched.images.shape == (19, 3, 28, 28)
    assert (matched.images == matched.images[:, :1]).all()
    enlarged = matched.images[:, 0, ::2, ::2][:, :12, :12]
    assert enlarged.std() > 20
    same = match_format(pool, pool, "synthetic images")
    assert np.array_equal(same.images, pool.images)
    assert np.array_equal(same.labels, pool.labels)


def test_an_unknown_class_is_named(pool: LabelledImages, shoes: LabelledImages) -> None:
    other = LabelledImages(shoes.images, shoes.labels, ("sandal", "slipper", "ankle-boot"))
    message = "a class 'slipper' that the training images do not have; the training images have sandal, s"
    with pytest.raises(ConfigError, match=message):
        match_format(other, pool, "test images")


def test_colour_is_not_thrown_away_silently(pool: LabelledImages, shoes: LabelledImages) -> None:
    colour = LabelledImages(np.repeat(shoes.images, 3, axis=1), shoes.labels, shoes.class_names)
    with pytest.raises(ConfigError, match="the synthetic images are in colour and the training images are grey"):
        match_format(colour, pool, "synthetic images")
