"""Labelled images are counted, drawn, split, concatenated and resized."""

import numpy as np
import pytest
from PIL import Image

from augment.dataset.images import (
    LabelledImages,
    check_size,
    concatenate,
    fit_to_square,
    image_hashes,
    nearest_size,
    resize_images,
    split_per_class,
    subset_per_class,
    to_signed,
    to_uint8,
)
from augment.errors import ConfigError, SourceError

NAMES = ("ant", "bee", "cat")


@pytest.fixture
def data():
    """12 images, 8 x 8 px, RGB, all different: 2 ants, 3 bees, 7 cats."""
    images = np.random.default_rng(0).integers(0, 256, (12, 3, 8, 8), dtype=np.uint8)
    return LabelledImages(images, np.array([2, 0, 2, 1, 2, 2, 1, 0, 2, 2, 1, 2]), NAMES)


def test_counts_list_every_class_even_an_empty_one():
    data = LabelledImages(np.zeros((3, 1, 8, 8), np.uint8), np.array([2, 0, 2]), NAMES)
    assert data.counts().tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 1, 8, 8), np.float32), [0, 1], "expected uint8 images"),
        (np.zeros((2, 8, 8), np.uint8), [0, 1], "N x C x H x W"),
        (np.zeros((2, 1, 8, 8), np.uint8), [0, 1, 2], "expected 2 labels"),
        (np.zeros((2, 1, 8, 8), np.uint8), [0, 3], "label 3 is outside"),
        (np.zeros((2, 1, 8, 8), np.uint8), [-1, 0], "label -1 is outside"),
    ],
)
def test_images_labels_and_names_that_do_not_fit_are_refused(images, labels, message):
    with pytest.raises(SourceError, match=message):
        LabelledImages(images, np.array(labels), NAMES)


def test_images_that_are_not_square_have_no_size():
    with pytest.raises(SourceError, match="8 x 12 px"):
        _ = LabelledImages(np.zeros((1, 1, 8, 12), np.uint8), np.array([0]), NAMES).size


def test_a_subset_has_at_most_count_images_a_class_with_their_labels(data):
    subset = subset_per_class(data, 3, seed=1)
    assert subset.counts().tolist() == [2, 3, 3]
    place = {image.tobytes(): i for i, image in enumerate(data.images)}
    chosen = [place[image.tobytes()] for image in subset.images]
    assert chosen == sorted(chosen)
    assert data.labels[chosen].tolist() == subset.labels.tolist()


def test_a_subset_follows_its_seed(data):
    first, again, other = (subset_per_class(data, 3, seed).fingerprint for seed in (1, 1, 2))
    assert first == again != other


def test_a_split_takes_its_share_of_each_class_and_loses_nothing(data):
    kept, held_out = split_per_class(data, 0.4, seed=0)
    assert (kept.counts().tolist(), held_out.counts().tolist()) == ([1, 2, 4], [1, 1, 3])
    together = {image.tobytes() for part in (kept, held_out) for image in part.images}
    assert together == {image.tobytes() for image in data.images}


def test_a_split_refuses_a_class_with_one_image():
    data = LabelledImages(np.zeros((3, 1, 8, 8), np.uint8), np.array([0, 1, 1]), ("ant", "bee"))
    with pytest.raises(SourceError, match="'ant' has 1 image"):
        split_per_class(data, 0.5, seed=0)


def test_parts_are_concatenated_in_order_and_must_agree(data):
    both = concatenate([data.take(np.array([3, 0])), data.take(np.array([1]))])
    assert both.labels.tolist() == [1, 2, 0]
    assert np.array_equal(both.images, data.images[[3, 0, 1]])
    with pytest.raises(SourceError, match="classes differ"):
        concatenate([data, LabelledImages(data.images, data.labels, ("ant", "bee", "dog"))])
    with pytest.raises(SourceError, match="shapes differ"):
        concatenate([data, LabelledImages(data.images[:, :1], data.labels, NAMES)])


@pytest.mark.parametrize(("size", "nearest"), [(1, 8), (9.9, 8), (10, 12), (30, 32), (28, 28), (500, 128)])
def test_the_nearest_size_is_a_multiple_of_4_from_8_to_128(size, nearest):
    assert nearest_size(size) == nearest


def test_a_wrong_size_names_the_nearest():
    assert check_size(28) == 28
    with pytest.raises(ConfigError, match=r"image size 33 .* nearest is 32"):
        check_size(33)


def test_pad_crop_and_stretch_treat_the_longer_side_differently():
    pixels = np.full((10, 20), 50, np.uint8)
    pixels[:, 8:12] = 200  # a bright bar in the middle fifth of a picture twice as wide as high
    wide = Image.fromarray(pixels)
    pad, crop, stretch = (np.asarray(fit_to_square(wide, 20, way)) for way in ("pad", "crop", "stretch"))
    assert [int((image[10] > 125).sum()) for image in (pad, crop, stretch)] == [4, 8, 4]
    assert [int((image[:, 10] > 125).sum()) for image in (pad, crop, stretch)] == [10, 20, 20]


def test_a_long_picture_is_cropped_before_it_is_enlarged(monkeypatch):
    sizes, resize = [], Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda picture, size, *a: sizes.append(size) or resize(picture, size, *a)
    )
    picture = Image.fromarray(np.arange(300, dtype=np.uint16).astype(np.uint8)[None].repeat(3, 0))
    assert np.asarray(fit_to_square(picture, 3, "crop")).tolist() == [[148, 149, 150]] * 3
    assert fit_to_square(picture, 128, "crop").size == (128, 128)
    assert sizes == [(3, 3), (128, 128)]


def test_padding_has_the_colour_of_the_border():
    picture = Image.new("RGB", (20, 10), (10, 120, 230))
    assert np.asarray(fit_to_square(picture, 20, "pad"))[0, 0].tolist() == [10, 120, 230]


@pytest.mark.parametrize("resize", ["pad", "crop", "stretch"])
def test_arrays_are_resized_as_pictures_are(resize):
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 16, 24), dtype=np.uint8)
    expected = fit_to_square(Image.fromarray(images[1].transpose(1, 2, 0)), 12, resize)
    assert np.array_equal(resize_images(images, 12, resize)[1].transpose(1, 2, 0), np.asarray(expected))


def test_images_of_the_right_size_are_not_copied(data):
    assert resize_images(data.images, 8, "pad") is data.images


def test_the_fingerprint_sees_pixels_labels_and_names(data):
    brighter = data.images.copy()
    brighter[5, 1, 2, 3] ^= 1
    variants = [
        data,
        LabelledImages(brighter, data.labels, NAMES),
        LabelledImages(data.images, data.labels[::-1], NAMES),
        LabelledImages(data.images, data.labels, ("ant", "bee", "dog")),
    ]
    assert len({variant.fingerprint for variant in variants}) == 4
    strided = np.ascontiguousarray(data.images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert LabelledImages(strided, data.labels, NAMES).fingerprint == data.fingerprint


def test_hashes_tell_pixels_and_shapes_apart(data):
    images = data.images
    changed = images.copy()
    changed[:, 0, 3, 5] ^= 1
    wide = images.reshape(12, 3, 4, 16)
    hashes = image_hashes(images)
    different = [*hashes, *image_hashes(changed), *image_hashes(wide), *image_hashes(images[..., ::-1])]
    assert len(set(different)) == 48
    assert image_hashes(images[::-1]) == hashes[::-1]


def test_pixels_survive_the_way_to_floats_and_back():
    torch = pytest.importorskip("torch")
    values = torch.arange(256, dtype=torch.uint8)
    signed = to_signed(values)
    assert (signed.dtype, signed.min(), signed.max()) == (torch.float32, -1, 1)
    assert torch.equal(to_uint8(signed), values)
    assert to_uint8(torch.tensor([-1.5, 0.02, 7.0])).tolist() == [0, 130, 255]
