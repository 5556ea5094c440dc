"""Flips are advised by a paired comparison with an interval, not by the difference of two shares."""

import math

import numpy as np
import pytest

from augment.dataset.flips import Flips, Verdict, advise_on_flips, measure_flips, paired_accuracy_drop
from augment.dataset.images import LabelledImages, concatenate, subset_per_class
from augment.dataset.sources import read_source


@pytest.fixture(scope="module")
def everything():
    return read_source("bundled:fashion")


def of_classes(data, *names, count):
    """The first `count` images of some classes."""
    members = [np.flatnonzero(data.labels == data.class_names.index(name))[:count] for name in names]
    labels = np.repeat(np.arange(len(names)), [len(m) for m in members])
    return LabelledImages(data.images[np.concatenate(members)], labels, names)


@pytest.mark.parametrize("names", [("trouser", "pullover"), ("trouser", "bag"), ("t-shirt", "shirt")])
def test_flips_look_safe_for_clothes_that_are_symmetric(names, fashion):
    flips = measure_flips(of_classes(fashion, *names, count=100))
    assert flips.verdict == Verdict.SAFE
    assert advise_on_flips(flips).startswith("horizontal flips look safe (of 200 images, ")


def test_flips_do_not_look_safe_for_shoes_that_all_point_one_way(fashion):
    flips = measure_flips(of_classes(fashion, "sandal", "sneaker", "ankle-boot", count=100))
    assert flips.verdict == Verdict.UNSAFE


def test_flips_do_not_look_safe_for_digits():
    digits = read_source("sklearn:digits").train
    flips = measure_flips(digits)
    assert flips.verdict == Verdict.UNSAFE
    assert 0.6 < flips.accuracy_drop[0] < flips.plain - flips.mirrored < flips.accuracy_drop[1] < 0.7
    assert measure_flips(subset_per_class(digits, 10, seed=0)).verdict == Verdict.UNSAFE


def test_images_are_compared_with_those_of_all_blocks(fashion, monkeypatch):
    data = of_classes(fashion, "trouser", "pullover", count=90)
    expected = measure_flips(data)
    monkeypatch.setattr("augment.dataset.flips.BLOCK", 50)
    assert measure_flips(data) == expected


@pytest.mark.parametrize("names", [("trouser", "pullover"), ("t-shirt", "shirt")])
def test_few_images_cannot_decide_on_flips(names, fashion):
    flips = measure_flips(of_classes(fashion, *names, count=20))
    assert flips.verdict == Verdict.UNKNOWN
    assert advise_on_flips(flips).startswith("horizontal flips may or may not be safe (of 40 images, ")


def test_a_loss_of_three_points_of_a_hundred_images_is_noise():
    """0.67 less 0.64 is above 0.03 in floats, and 10 lost against 7 won is chance in any case."""
    before = np.arange(100) < 67
    after = (np.arange(100) >= 10) & (np.arange(100) < 74)
    low, high = paired_accuracy_drop(before, after)
    assert low < 0 < 0.03 < high
    assert Flips(0.67, 0.64, 100, (low, high)).verdict == Verdict.UNKNOWN


def test_the_interval_is_agresti_and_mins():
    """12 lost and 5 won of 80, by the formula for the 2 x 2 table, each cell with half a pair more."""
    before, after = (
        np.repeat([True, True, False, False], [40, 12, 5, 23]),
        np.repeat([True, False, True, False], [40, 12, 5, 23]),
    )
    p_lost, p_won = 12.5 / 82, 5.5 / 82
    half = 1.959964 * math.sqrt((p_lost + p_won - (p_lost - p_won) ** 2) / 82)
    assert paired_accuracy_drop(before, after) == pytest.approx((p_lost - p_won - half, p_lost - p_won + half))


@pytest.mark.parametrize(("count", "verdict"), [(40, Verdict.UNKNOWN), (63, Verdict.UNKNOWN), (64, Verdict.SAFE)])
def test_without_changed_predictions_the_number_of_images_decides(count, verdict):
    answers = np.arange(count) % 3 > 0
    low, high = paired_accuracy_drop(answers, answers)
    assert low == -high < 0
    assert Flips(2 / 3, 2 / 3, count, (low, high)).verdict == verdict


def test_a_significant_but_small_loss_looks_safe():
    assert Flips(0.9, 0.88, 5000, (0.014, 0.026)).verdict == Verdict.SAFE
    assert Flips(0.9, 0.88, 1000, (0.004, 0.036)).verdict == Verdict.UNSAFE


@pytest.mark.parametrize(("half", "mirrored"), [(np.s_[:, :, :4], 1.0), (np.s_[:, :, :, :4], 0.0)])
def test_flips_are_left_to_right(half, mirrored):
    """Class 0 is bright above (or at the left), class 1 is not."""
    images = np.random.default_rng(3).integers(0, 50, (10, 1, 8, 8), dtype=np.uint8)
    images[:5][half] += 200
    images[5:][..., ::-1, ::-1][half] += 200
    flips = measure_flips(LabelledImages(images, np.repeat([0, 1], 5), ("above", "below")))
    assert (flips.plain, flips.mirrored) == (1.0, mirrored)


def test_a_mirror_image_is_not_compared_with_its_own_original():
    """Both classes are symmetric, so each mirror image equals its original; only others may vouch for it."""
    half = np.random.default_rng(3).integers(0, 256, (4, 1, 8, 4), dtype=np.uint8)
    images = np.concatenate([half, half[..., ::-1]], axis=3)
    flips = measure_flips(LabelledImages(images, np.array([0, 1, 2, 3]), tuple("abcd")))
    assert (flips.plain, flips.mirrored, flips.images) == (0, 0, 4)


def test_flips_are_measured_on_2000_images_at_most(everything):
    assert measure_flips(concatenate([everything.train, everything.test])).images == 2000
