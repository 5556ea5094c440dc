"""Copies that a person would call copies are found; pictures that are merely alike are not."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_image

from augment.dataset import duplicates
from augment.dataset.duplicates import Pairs, find_leaks, measure_duplicates, measure_matches
from augment.dataset.images import LabelledImages
from augment.dataset.sources import read_source

Picture = NDArray[np.uint8]  # C x H x W


def near_duplicates(data: LabelledImages) -> Pairs:
    return tuple(measure_duplicates(data))


def near_matches(train: LabelledImages, other: LabelledImages) -> Pairs:
    return tuple(measure_matches(train, other))


@pytest.fixture(scope="module")
def clothes() -> tuple[Picture, Picture]:
    """Training and test images of the bundled set: 1,000 and 2,000, grey, 28 px."""
    source = read_source("bundled:fashion")
    assert source.test
    return source.train.images, source.test.images


def tiles(shrink: int, size: int) -> Picture:
    """Tiles of two photographs: RGB, the 60 of most contrast, in a drawn order."""
    found = []
    for name in ("china.jpg", "flower.jpg"):
        photo = Image.fromarray(load_sample_image(name)).reduce(shrink)
        rows, columns = photo.height // size, photo.width // size
        cut = np.asarray(photo)[-rows * size :, : columns * size].reshape(rows, size, columns, size, 3)
        found.append(cut.transpose(0, 2, 4, 1, 3).reshape(-1, 3, size, size))
    cut = np.concatenate(found)
    return cut[np.random.default_rng(0).permutation(np.argsort(cut.std((1, 2, 3)))[-60:])]


@pytest.fixture(scope="module")
def photos() -> Picture:
    """60 tiles of photographs, RGB, 32 px."""
    return tiles(2, 32)


def of(*images: Picture) -> LabelledImages:
    pixels = np.stack(images)
    return LabelledImages(pixels, np.zeros(len(pixels), np.int64), ("all",))


def drawn(image: Picture) -> Image.Image:
    return Image.fromarray(image.transpose(1, 2, 0).squeeze())


def pixels(picture: Image.Image) -> Picture:
    array = np.asarray(picture)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def saved(image: Picture, quality: int = 75) -> Picture:
    buffer = io.BytesIO()
    drawn(image).save(buffer, "JPEG", quality=quality)
    return pixels(Image.open(buffer))


def brightened(image: Picture, factor: float = 1.1) -> Picture:
    return np.clip(np.rint(image * factor), 0, 255).astype(np.uint8)


def noisy(image: Picture, deviation: float = 5, seed: int = 0) -> Picture:
    noise = np.random.default_rng(seed).normal(0, deviation, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def cropped(image: Picture, share: float) -> Picture:
    size, edge = image.shape[-1], image.shape[-1] * share / 2
    box = (edge, edge, size - edge, size - edge)
    return pixels(drawn(image).resize((size, size), Image.Resampling.BICUBIC, box=box))


def reduced(image: Picture, factor: float) -> Picture:
    size = image.shape[-1]
    return pixels(drawn(image).resize((round(size * factor),) * 2).resize((size, size)))


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "saved as JPEG": saved,
    "brightened": brightened,
    "darkened": lambda image: brightened(image, 0.9),
    "noise": noisy,
    "cropped by 3 %": lambda image: cropped(image, 0.03),
    "mirrored and saved": lambda image: saved(image[..., ::-1]),
}
CHANGES_OF_PHOTOS = CHANGES | {
    "moved to the right": lambda image: np.pad(image, ((0, 0), (0, 0), (1, 0)), "edge")[..., :-1],
    "moved up": lambda image: np.pad(image, ((0, 0), (0, 1), (0, 0)), "edge")[:, 1:],
}
GREATER_CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "cropped by 5 %": lambda image: cropped(image, 0.05),
    "half the size": lambda image: reduced(image, 0.5),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changed_copies_are_found_among_clothes(change, clothes):
    train, test = clothes[0][::25], clothes[1][:600]  # 40 and 600, more than a block
    copies = [(i, 600 + i // 2) for i in range(0, 40, 2)]
    found = near_matches(of(*train), of(*test, *(change(train[i]) for i, _ in copies)))
    assert set(copies) <= set(found)
    assert len(found) <= len(copies) + 1


@pytest.mark.parametrize("change", CHANGES_OF_PHOTOS.values(), ids=CHANGES_OF_PHOTOS)
def test_changed_copies_are_found_among_photos(change, photos):
    found = near_matches(of(*photos[:30]), of(*photos[30:], *map(change, photos[:30])))
    assert set(found) <= {(i, 30 + i) for i in range(30)}
    assert len(found) >= 29


@pytest.mark.parametrize("change", GREATER_CHANGES.values(), ids=GREATER_CHANGES)
def test_most_copies_with_greater_changes_are_found_among_photos(change, photos):
    found = near_matches(of(*photos[:30]), of(*photos[30:], *map(change, photos[:30])))
    assert set(found) <= {(i, 30 + i) for i in range(30)}
    assert len(found) >= 20


@pytest.mark.parametrize("crop", [0, 1])
def test_copies_of_larger_photos_are_found(crop):
    """64 px are halved, and so is a shift by 2 px; 63 px are halved without their last row and column."""
    large = tiles(1, 64)[..., crop:, crop:]
    moved = [np.pad(tile, ((0, 0), (0, 0), (2, 0)), "edge")[..., :-2] for tile in large[:30]]
    for copies, least in (([saved(tile) for tile in large[:30]], 29), (moved, 27)):
        found = near_matches(of(*large[:30]), of(*large[30:], *copies))
        assert set(found) <= {(i, 30 + i) for i in range(30)}
        assert len(found) >= least


def test_hundreds_of_copies_are_found(clothes):
    train = clothes[0][:300]
    found = set(near_matches(of(*train), of(*map(saved, train))))
    assert len(found & {(i, i) for i in range(300)}) >= 297


def test_changed_copies_within_a_set_are_paired_once_in_their_order(clothes):
    images = clothes[0].copy()
    before = near_duplicates(of(*images))
    images[903], images[14], images[500] = saved(images[21]), brightened(images[700]), images[333][..., ::-1]
    assert set(near_duplicates(of(*images))) - set(before) == {(21, 903), (14, 700), (333, 500)}


@pytest.mark.parametrize("name", ["t-shirt", "trouser"])
def test_clothes_of_one_cut_are_no_copies(name):
    """The hash alone would pair most of them with others."""
    data = read_source("bundled:fashion").test
    assert data
    alike = data.take(np.flatnonzero(data.labels == data.class_names.index(name)))
    assert len(alike) == 200
    assert near_duplicates(alike) == ()


def test_photos_in_the_same_frame_are_no_copies(photos):
    framed = [np.pad(tile[:, 2:-2, 2:-2], ((0, 0), (2, 2), (2, 2)), constant_values=255) for tile in photos]
    assert len(near_duplicates(of(*framed))) <= 1


def test_exact_copies_are_not_near_ones_too(clothes):
    a, b, *others = clothes[0][:12]
    assert near_duplicates(of(a, b, a, *others)) == ()
    assert near_matches(of(b, a, *others), of(*clothes[1][:9], a)) == ()


def test_a_near_copy_of_exact_copies_is_paired_with_the_first(clothes):
    a, b, *others = clothes[0][:12]
    assert near_duplicates(of(b, a, a, *others, saved(a), a)) == ((1, 13),)


def test_each_training_image_is_paired_with_its_nearest_copy(clothes):
    a, b, *others = clothes[0][:12]
    train, copies = of(b, a, *others, a), (noisy(a, 12), noisy(a, 4), noisy(a, 8), noisy(a, 4))
    assert near_matches(train, of(*clothes[1][:9], *copies)) == ((1, 10), (12, 10))
    assert near_matches(of(a, *others), of(*clothes[1][:9], *copies[::-1])) == ((0, 9),)


def test_exact_copies_in_both_sets_are_left_to_find_leaks(clothes):
    a, b, *others = clothes[0][:12]
    train, test = of(*others, a, b), of(saved(a), *clothes[1][:9], a, saved(b))
    assert find_leaks(train, test) == ((10, 10),)
    assert near_matches(train, test) == ((11, 11),)


@pytest.mark.parametrize(("copies", "pairs"), [(5, 10), (6, 0)])
def test_up_to_five_copies_of_one_image_are_all_paired(copies, pairs, photos):
    """Among more of them each has five others as near, and the rest of the set is no measure any longer."""
    group = [noisy(photos[7], 8, seed) for seed in range(copies)]
    assert len(near_duplicates(of(*photos[8:40], *group))) == pairs


def test_many_hardly_changed_copies_are_paired_all_the_same(photos):
    group = [noisy(photos[7], 2, seed) for seed in range(8)]
    assert len(near_duplicates(of(*photos[8:40], *group))) == 28


@pytest.mark.parametrize("faint", [False, True])
def test_differences_are_those_of_centred_pictures_moved_by_a_pixel_at_most(faint, photos):
    images = photos // 64 + 240 if faint else photos
    i, j = np.arange(50), np.arange(10, 60)
    found = duplicates._differences(images, images[..., ::-1], i, j)
    for difference, x, y in zip(found, images[i].astype(float), images[j, :, :, ::-1].astype(float), strict=True):
        y = y[:, 1:31, 1:31] - y[:, 1:31, 1:31].mean()
        moved = [x[:, a : a + 30, b : b + 30] for a in (0, 1, 2) for b in (0, 1, 2)]
        least = min(
            np.square(part - part.mean() - y).sum() / (2 * np.linalg.norm(part - part.mean()) * np.linalg.norm(y))
            for part in moved
        )
        assert difference == pytest.approx(least, rel=1e-4)


def test_a_change_of_contrast_counts_as_a_difference(clothes):
    image, *others = clothes[0][::25]
    assert near_matches(of(image), of(*others, brightened(image, 0.8))) == ((0, 39),)
    assert near_matches(of(image), of(*others, brightened(image, 0.5))) == ()


@pytest.mark.parametrize("size", [8, 28])  # at 28 px rounding leaves constant images some low frequencies
def test_pictures_of_one_grey_level_are_no_copies_of_each_other(size):
    assert near_duplicates(of(*(np.full((1, size, size), level, np.uint8) for level in (0, 50, 51, 200, 255)))) == ()


def test_two_images_are_enough(clothes):
    image = clothes[0][5]
    assert near_duplicates(of(image)) == ()
    assert near_duplicates(of(image, noisy(image, 2))) == ((0, 1),)
    assert near_matches(of(image), of(noisy(image, 2))) == ((0, 0),)
    assert near_matches(of(image), of(clothes[1][0])) == ()


def exhaustive(first: NDArray[np.float32], second: NDArray[np.float32], left: Any, right: Any) -> set[tuple[int, int]]:
    """Every pair compared: for each i the eight j most alike, of those with 16 differing bits or fewer."""
    hashes, others = duplicates._hashes(first), duplicates._hashes(second)
    found = set()
    for i in left:
        alike = [j for j in right[np.bitwise_count(hashes[i] ^ others[right]) <= 16] if j != i]
        near = sorted((-float(first[i] @ second[j]), j) for j in alike if first[i] @ second[j] >= 0.9)
        found |= {(int(i), int(j)) for _, j in near[:8]}
    return found


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("within", [False, True])
def test_no_pair_of_an_exhaustive_search_is_missed(mirrored, within, clothes, monkeypatch):
    """The blocks are so small that shortlists are shortened many times; 200 of the 1,200 images are changed copies."""
    changes = list(CHANGES.values())
    images = np.stack([*clothes[0], *(changes[i % 6](clothes[0][i]) for i in range(200))])
    plain, turned = duplicates._low_frequencies(images)
    everything = np.arange(1200)
    left, right = (everything, everything) if within else (everything[1000:], everything[:1000])
    expected = exhaustive(turned if mirrored else plain, plain, left, right)
    for name, value in (("ROWS", 50), ("COLUMNS", 70), ("MAX_PENDING", 3000)):
        monkeypatch.setattr(duplicates, name, value)
    i, j = duplicates._candidates(turned if mirrored else plain, plain, left, right, lambda done: None)
    assert set(zip(i.tolist(), j.tolist(), strict=True)) == expected
    assert len(i) == len(expected) > 200  # and none twice


@pytest.mark.parametrize("width", [5, 40, 129, 1000])
def test_the_largest_of_each_row_are_found(width):
    values = np.random.default_rng(4).normal(size=(7, width)).astype(np.float32)
    places = duplicates._largest(values, 5)
    assert np.array_equal(np.sort(places, axis=1), np.sort(np.argsort(-values, axis=1)[:, :5], axis=1))


def test_progress_covers_the_images_and_their_mirror_images(clothes: tuple[Picture, Picture]) -> None:
    calls: list[tuple[int, int]] = []
    measure_duplicates(of(*clothes[0][:300]), lambda done, total: calls.append((done, total)))
    assert calls == [(256, 600), (300, 600), (556, 600), (600, 600)]


def test_a_class_that_mirrors_another_has_no_copies_in_it(clothes):
    right = of(*clothes[0][:20])
    left = LabelledImages(right.images[..., ::-1], right.labels + 1, ("right", "left"))
    both = LabelledImages(np.concatenate([right.images, left.images]), np.repeat([0, 1], 20), ("right", "left"))
    assert near_duplicates(both) == ()
    assert near_matches(LabelledImages(right.images, right.labels, both.class_names), left) == ()
    one_class = LabelledImages(both.images, np.zeros(40, np.int64), both.class_names)
    assert len(near_duplicates(one_class)) == 20
