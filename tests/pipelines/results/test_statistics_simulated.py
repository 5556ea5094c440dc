"""Intervals and tests keep in simulated experiments what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from gains import table

from pipelines.results.statistics import corrected_t_interval, repeats_needed, sign_flip_p
from pipelines.results.two_way import two_way_interval


def covered(intervals, truth):
    low, high = np.transpose(intervals)
    return np.mean((low <= truth) & (truth <= high))


def gains_without_difference(rng, experiments, repeats, images=500):
    """Accuracy of one arm less that of another, both trained again in each repeat, on one test set: E is 0."""
    difficulty = rng.normal(1, 1.5, images).astype(np.float32)
    gains = []
    for _ in range(experiments):
        of_repeats = rng.normal(0, 0.2, (repeats, 1)) + rng.normal(0, 0.15, (2, repeats, 1))
        chances = 1 / (1 + np.exp(-difficulty - of_repeats.astype(np.float32)))
        right = rng.random((2, repeats, images), np.float32) < chances
        gains.append(right[0].mean(1) - right[1].mean(1))
    return gains


@pytest.mark.parametrize("repeats", [6, 10, 20])
def test_without_a_difference_the_interval_covers_zero_and_the_test_rarely_rejects(repeats):
    gains = gains_without_difference(np.random.default_rng(repeats), 2000, repeats)
    assert 0.93 <= covered([corrected_t_interval(g) for g in gains], 0) <= 0.97
    assert np.mean([sign_flip_p(g, seed=0) < 0.05 for g in gains]) <= 0.06


@pytest.mark.parametrize("repeats", [6, 10, 20])
def test_subsets_of_one_pool_need_the_correction(repeats):
    rng, truth, pool, subset = np.random.default_rng(repeats), 0.4, 80, 20
    experiments = []
    for _ in range(1000):
        influence = rng.normal(truth, 3.0, pool)  # of each image of the pool, on the gain
        chosen = np.argsort(rng.random((repeats, pool)), axis=1)[:, :subset]
        experiments.append(influence[chosen].mean(1))
    assert 0.93 <= covered([corrected_t_interval(g, subset / pool) for g in experiments], truth) <= 0.97
    assert covered([corrected_t_interval(g) for g in experiments], truth) < 0.85


@pytest.mark.parametrize("repeats", [6, 10, 20])
def test_other_test_images_need_both_ways(repeats):
    rng = np.random.default_rng(repeats)
    tables = [table(rng, repeats, 100, gains=0.03) for _ in range(500)]
    assert 0.93 <= covered([two_way_interval(d, seed=0) for d in tables], 0.03) <= 0.99
    assert covered([corrected_t_interval(d.mean(1)) for d in tables], 0.03) < 0.9


def test_both_ways_cover_a_balanced_mean_over_unequal_classes():
    rng = np.random.default_rng(5)
    labels = np.repeat([0, 1], [90, 20])
    gains, weights = np.array([-0.1, 0.2])[labels], 1 / (2 * np.bincount(labels)[labels])
    tables = [table(rng, 8, 110, gains, spread=0.4) for _ in range(500)]
    assert 0.93 <= covered([two_way_interval(d, seed=0, weights=weights) for d in tables], 0.05) <= 0.99


def test_the_repeats_needed_do_show_the_gain_in_four_of_five_experiments():
    """The repeats are simulated with a shared part, for which the interval has to allow."""
    gain, deviation, correlation = 0.8, 1.0, 0.05
    repeats = repeats_needed(gain, deviation, correlation)
    rng = np.random.default_rng(5)
    shared = rng.normal(0, (correlation / (1 - correlation)) ** 0.5, (3000, 1))
    samples = gain + shared * deviation + rng.normal(0, deviation, (3000, repeats))
    shown = np.mean([corrected_t_interval(sample, correlation)[0] > 0 for sample in samples])
    assert repeats > repeats_needed(gain, deviation)
    assert 0.77 < shown < 0.86
