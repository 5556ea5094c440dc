"""The interval over repeats and images agrees with independent references."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from gains import GAINS, table
from scipy import stats

from augment.errors import ConfigError
from pipelines.results.statistics import corrected_t_interval
from pipelines.results.two_way import two_way_interval


def interval_of_mean_squares(d, confidence):
    """Analysis of variance of R x N with both random, without a single resample."""
    repeats, images = d.shape
    rows, columns = d.mean(1), d.mean(0)
    of_rows, of_columns = images * rows.var(ddof=1), repeats * columns.var(ddof=1)
    left = d - rows[:, None] - columns + d.mean()
    of_chance = (left**2).sum() / ((repeats - 1) * (images - 1))
    variance = (of_rows + max(of_columns - of_chance, 0)) / (repeats * images)
    half = stats.t.ppf((1 + confidence) / 2, repeats - 1) * math.sqrt(variance)
    return d.mean() - half, d.mean() + half


@pytest.mark.parametrize("shape", [(3, 300), (6, 300), (20, 90), (40, 6)])
@pytest.mark.parametrize("confidence", [0.9, 1 - 0.05 / 20])
def test_the_two_way_interval_is_that_of_an_analysis_of_variance(shape, confidence):
    d = table(np.random.default_rng(1), *shape)
    expected = interval_of_mean_squares(d.astype(float), confidence)
    found = np.mean([two_way_interval(d, seed, confidence) for seed in range(8)], axis=0)
    assert found == pytest.approx(expected, abs=0.01 * np.ptp(expected))
    assert np.ptp(corrected_t_interval(d.mean(1), confidence=confidence)) < 0.9 * np.ptp(expected)


def test_images_that_differ_less_than_chance_makes_them_add_nothing():
    turned = np.add.outer(np.arange(4), np.arange(8)) % 4  # so that every image has the same mean
    d = np.array([-1.0, 0.0, 1.0, 1.0])[turned] + np.array(GAINS)[:4, None]
    assert two_way_interval(d, seed=0) == pytest.approx(corrected_t_interval(d.mean(1)))


def test_images_that_all_agree_leave_the_bootstrap_of_the_repeats():
    d = np.repeat(np.array(GAINS)[:, None], 50, axis=1)
    error = stats.bootstrap((GAINS,), np.mean, random_state=np.random.default_rng(1)).standard_error
    half = 2.5706 * math.sqrt(6 / 5) * error  # t at 0.975 with 5 degrees of freedom
    assert two_way_interval(d, seed=0) == pytest.approx((1.25 - half, 1.25 + half), abs=0.03 * half)


def test_repeats_that_all_agree_leave_the_bootstrap_of_the_images():
    of_images = np.random.default_rng(4).choice([-1.0, 0.0, 1.0], 30, p=[0.1, 0.5, 0.4])
    error = stats.bootstrap((of_images,), np.mean, random_state=np.random.default_rng(1)).standard_error
    half = 4.0321 * math.sqrt(30 / 29) * error  # t at 0.995 with 5 degrees of freedom
    mean = of_images.mean()
    found = two_way_interval(np.tile(of_images, (6, 1)), seed=0, confidence=0.99)
    assert found == pytest.approx((mean - half, mean + half), abs=0.05 * half)


def test_a_weighted_interval_is_that_of_resampled_balanced_means():
    labels, rng = np.repeat([0, 1], [40, 4]), np.random.default_rng(4)
    of_images = rng.choice([-1.0, 0.0, 1.0], 44, p=[0.1, 0.5, 0.4]) + 0.3 * labels
    weights = 1 / (2 * np.bincount(labels)[labels])
    mean = (of_images[:40].mean() + of_images[40:].mean()) / 2
    drawn = rng.integers(0, 44, (50_000, 44))
    means = np.average(of_images[drawn], axis=1, weights=weights[drawn])
    images = 1 / (0.5**2 / 40 + 0.5**2 / 4)
    half = 2.5706 * math.sqrt(images / (images - 1)) * means.std()
    d = np.tile(of_images, (6, 1))
    found = np.mean([two_way_interval(d, seed, weights=weights) for seed in range(40)], axis=0)
    assert found == pytest.approx((mean - half, mean + half), abs=0.01 * half)
    assert two_way_interval(d, seed=0, weights=50 * weights) == pytest.approx(two_way_interval(d, 0, weights=weights))


def test_the_seed_draws_the_resamples_of_both_ways():
    d = table(np.random.default_rng(2), 6, 40)
    assert two_way_interval(d, seed=3) == two_way_interval(d, seed=3)
    assert two_way_interval(d, seed=3) != two_way_interval(d, seed=4)


@pytest.mark.parametrize("value", [0.1, -1.0, 0.0])
def test_identical_differences_of_images_give_an_interval_of_no_width(value):
    assert two_way_interval(np.full((6, 20), value), seed=0) == (value, value)


def test_differences_that_cancel_everywhere_give_an_interval_of_no_width():
    assert two_way_interval(np.array([[1.0, -1.0], [-1.0, 1.0]]), seed=0) == (0.0, 0.0)


@pytest.mark.parametrize("shape", [(1, 20), (6, 1), (6,), (6, 2, 2)])
def test_two_ways_need_two_repeats_and_two_images(shape):
    with pytest.raises(ConfigError, match="at least 2 repeats x 2 images"):
        two_way_interval(np.ones(shape), seed=0)


def test_an_images_difference_that_is_not_finite_is_refused():
    with pytest.raises(ConfigError, match="finite differences of images' scores"):
        two_way_interval(np.array([[1.0, float("inf")], [0.0, 1.0]]), seed=0)


@pytest.mark.parametrize("weights", [[1.0, 2.0], [1.0, 0.0, 2.0], [1.0, float("nan"), 2.0], [[1.0, 1.0, 1.0]]])
def test_every_image_needs_a_positive_weight(weights):
    with pytest.raises(ConfigError, match="each of the 3 images"):
        two_way_interval(np.eye(3), seed=0, weights=np.array(weights))


def test_ten_thousand_images_are_resampled_in_little_memory():
    d = table(np.random.default_rng(2), 20, 10_000)
    tracemalloc.start()
    two_way_interval(d, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


def test_without_variance_of_images_the_two_way_interval_is_the_corrected_one():
    gain = np.array([0.1, 0.3, -0.05, 0.2])
    d = np.repeat(gain[:, None], 50, axis=1)  # a repeat gains the same on every image
    assert two_way_interval(d, seed=0, correlation=0.25) == pytest.approx(corrected_t_interval(gain, 0.25))
    assert two_way_interval(d, seed=0) == pytest.approx(corrected_t_interval(gain))
