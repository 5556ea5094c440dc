from itertools import product

import numpy as np
import pytest
from scipy import stats

from augment.errors import ConfigError
from pipelines.statistics import holm, paired_t_interval, sign_flip_p

GAINS = [0.9, 2.1, -0.4, 1.6, 3.0, 0.3]


def brute_force_p(differences):
    n, observed = len(differences), abs(sum(differences))
    sums = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in product((1, -1), repeat=n)]
    return sum(s >= observed - 1e-9 for s in sums) / 2**n


def test_the_interval_is_the_one_from_a_t_table():
    mean = sum(GAINS) / 6
    variance = sum((g - mean) ** 2 for g in GAINS) / 5
    half = 2.5706 * (variance / 6) ** 0.5  # t(0.975) with 5 degrees of freedom
    assert paired_t_interval(GAINS) == pytest.approx((mean - half, mean + half), abs=1e-3)


def test_a_higher_confidence_widens_the_interval_to_the_table_value():
    low, high = paired_t_interval(GAINS)
    wider_low, wider_high = paired_t_interval(GAINS, confidence=0.99)
    assert (wider_high - wider_low) / (high - low) == pytest.approx(4.0321 / 2.5706, abs=1e-3)


@pytest.mark.parametrize("n", [6, 10])
def test_the_interval_covers_the_mean_of_normal_differences_as_often_as_it_says(n):
    drawn = np.random.default_rng(n).normal(0.7, 2.0, (3000, n))
    intervals = np.array([paired_t_interval(d) for d in drawn])
    covered = (intervals[:, 0] < 0.7) & (intervals[:, 1] > 0.7)
    assert 0.93 < covered.mean() < 0.97


@pytest.mark.parametrize("value", [0.1, -0.3, 0.0])
def test_identical_differences_give_an_interval_of_no_width(value):
    assert paired_t_interval([value] * 7) == (value, value)


@pytest.mark.parametrize("differences", [[], [0.4]])
def test_an_interval_needs_two_repeats(differences):
    with pytest.raises(ConfigError, match="at least 2 repeats"):
        paired_t_interval(differences)


@pytest.mark.parametrize("function", [paired_t_interval, lambda d: sign_flip_p(d, seed=0)])
def test_a_difference_that_is_not_finite_is_refused(function):
    with pytest.raises(ConfigError, match="finite"):
        function([0.1, float("nan"), 0.2])


@pytest.mark.parametrize("differences", [GAINS, [-g for g in GAINS], [3, -1, 4, 1, -5, 9, 2, 6, -5, 3], [0.5]])
def test_sign_flips_agree_with_counting_them_all(differences):
    assert sign_flip_p(differences, seed=0) == brute_force_p(differences)


def test_sign_flips_agree_with_scipy_where_both_enumerate():
    exact = stats.permutation_test((np.array(GAINS),), np.mean, permutation_type="samples").pvalue
    assert sign_flip_p(GAINS, seed=0) == pytest.approx(exact)


def test_six_wins_of_six_have_the_smallest_p_that_six_repeats_allow():
    assert sign_flip_p([0.2, 0.1, 0.4, 0.3, 0.7, 0.5], seed=0) == 0.03125


def test_sums_that_differ_by_rounding_only_are_ties():
    gains = [0.81 - 0.85, 0.94 - 0.80, 0.74 - 0.76, 0.79 - 0.77, 0.97 - 0.95]
    assert sign_flip_p(gains, seed=0) == brute_force_p([-4, 14, -2, 2, 2])


@pytest.mark.parametrize("n", [6, 20])
def test_no_difference_at_all_has_p_one(n):
    assert sign_flip_p([0.0] * n, seed=0) == 1.0


def test_many_repeats_are_flipped_at_random_close_to_the_normal_limit():
    gains = np.random.default_rng(3).normal(0.4, 1.0, 40)
    limit = 2 * stats.norm.sf(abs(gains.sum()) / np.sqrt((gains**2).sum()))
    assert sign_flip_p(gains, seed=5) == pytest.approx(limit, abs=0.01)
    assert sign_flip_p(gains, seed=5) == sign_flip_p(gains, seed=5)
    assert sign_flip_p(gains, seed=5) != sign_flip_p(gains, seed=6)


def test_a_random_p_is_never_zero():
    assert sign_flip_p([1.0] * 40, seed=0) == 1 / 20_001


def test_holm_steps_down_and_keeps_the_order_given():
    # sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 is 0.04, 0.06, 0.06, 0.04, and it may not fall
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])


def test_holm_stops_at_one_and_leaves_a_single_p_alone():
    assert holm([0.7, 0.6]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []
