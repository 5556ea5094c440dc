"""Intervals and tests of paired differences agree with independent references."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from gains import GAINS
from scipy import stats

from augment.errors import ConfigError
from pipelines.results.statistics import (
    bca_interval,
    corrected_t_interval,
    corrected_t_p,
    holm,
    repeats_needed,
    sign_flip_p,
)

SKEWED = np.random.default_rng(8).exponential(2.0, 25) - 0.5


def brute_force_p(differences):
    n, observed = len(differences), abs(sum(differences))
    sums = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in product((1, -1), repeat=n)]
    return sum(s >= observed - 1e-9 for s in sums) / 2**n


def test_the_interval_is_the_one_from_a_t_table():
    mean = sum(GAINS) / 6
    variance = sum((g - mean) ** 2 for g in GAINS) / 5
    half = 2.5706 * (variance / 6) ** 0.5  # t(0.975) with 5 degrees of freedom
    assert corrected_t_interval(GAINS) == pytest.approx((mean - half, mean + half), abs=1e-3)


def test_a_higher_confidence_widens_the_interval_to_the_table_value():
    low, high = corrected_t_interval(GAINS)
    wider_low, wider_high = corrected_t_interval(GAINS, confidence=0.99)
    assert (wider_high - wider_low) / (high - low) == pytest.approx(4.0321 / 2.5706, abs=1e-3)


def test_the_paired_interval_is_that_of_scipys_paired_test():
    arm, baseline = [81.0, 84.5, 79.9, 90.2], [80.1, 85.0, 77.0, 86.6]
    expected = stats.ttest_rel(arm, baseline).confidence_interval(0.9)
    assert corrected_t_interval(np.subtract(arm, baseline), confidence=0.9) == pytest.approx(tuple(expected))


@pytest.mark.parametrize("value", [0.1, -0.3, 0.0])
def test_identical_differences_give_an_interval_of_no_width(value):
    assert corrected_t_interval([value] * 7) == (value, value)


@pytest.mark.parametrize("differences", [[], [0.4]])
def test_an_interval_needs_two_repeats(differences):
    with pytest.raises(ConfigError, match="at least 2 repeats"):
        corrected_t_interval(differences)


def test_a_fifth_is_the_correction_of_nadeau_and_bengio_for_five_folds():
    tested, trained = 40, 160
    variance = (1 / 6 + tested / trained) * np.var(GAINS, ddof=1)
    half = 2.5706 * math.sqrt(variance)
    assert corrected_t_interval(GAINS, 1 / 5) == pytest.approx((1.25 - half, 1.25 + half), abs=1e-3)


def test_the_corrected_interval_of_subsets_is_wider_by_their_correlation():
    # The mean of n gains with correlation 1/4 has the variance (1 + 5/4) / 6, and s^2 estimates 3/4.
    low, high = corrected_t_interval(GAINS, 100 / 400)
    wider = math.sqrt((1 + 5 / 4) / (3 / 4))
    assert (high - low) / np.ptp(corrected_t_interval(GAINS)) == pytest.approx(wider)


@pytest.mark.parametrize("sign", [1, -1])
def test_without_correlation_the_corrected_p_is_that_of_the_t_test(sign):
    gains = sign * np.array(GAINS)
    assert corrected_t_p(gains, 0.0) == pytest.approx(stats.ttest_1samp(gains, 0).pvalue)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_corrected_interval_at_one_minus_p_ends_at_zero(sign):
    gains = sign * np.array(GAINS)
    ends = corrected_t_interval(gains, 0.3, confidence=1 - corrected_t_p(gains, 0.3))
    assert min(np.abs(ends)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("value", "p"), [(0.1, 0.0), (-0.3, 0.0), (0.0, 1.0)])
def test_identical_differences_are_certain_however_much_they_share(value, p):
    assert corrected_t_interval([value] * 7, 0.4) == (value, value)
    assert corrected_t_p([value] * 7, 0.4) == p


@pytest.mark.parametrize("correlation", [-0.1, 1.0, 1.5, float("nan")])
@pytest.mark.parametrize("function", [corrected_t_interval, corrected_t_p])
def test_repeats_that_share_all_or_less_than_nothing_are_refused(function, correlation):
    with pytest.raises(ConfigError, match="below 1 between the repeats"):
        function(GAINS, correlation)


def test_bca_shifts_the_percentiles_by_bias_and_skewness():
    d = SKEWED
    means = np.sort(np.random.default_rng(1).choice(d, (100_000, 25)).mean(1))
    bias = stats.norm.ppf((means < d.mean()).mean())
    skew = ((d - d.mean()) ** 3).sum() / (6 * ((d - d.mean()) ** 2).sum() ** 1.5)
    shifted = [bias + (bias + z) / (1 - skew * (bias + z)) for z in (-1.6449, 1.6449)]
    expected = np.quantile(means, stats.norm.cdf(shifted))
    plain = np.quantile(means, [0.05, 0.95])
    assert bca_interval(d, seed=3, confidence=0.9) == pytest.approx(tuple(expected), abs=0.05)
    assert np.abs(expected - plain).min() > 0.05  # so the percentiles alone would fail


def test_the_seed_draws_the_resamples_of_bca():
    assert bca_interval(SKEWED, seed=3) == bca_interval(SKEWED, seed=3)
    assert bca_interval(SKEWED, seed=3) != bca_interval(SKEWED, seed=4)


def test_bca_needs_twenty_repeats():
    assert bca_interval(SKEWED[:20], seed=0)[0] < SKEWED[:20].mean()
    with pytest.raises(ConfigError, match="at least 20 repeats"):
        bca_interval(SKEWED[:19], seed=0)


@pytest.mark.parametrize("value", [0.1, -0.3, 0.0])
def test_bca_of_identical_differences_has_no_width(value):
    assert bca_interval([value] * 20, seed=0) == (value, value)


@pytest.mark.parametrize(
    "function", [corrected_t_interval, lambda d: corrected_t_p(d, 0.2), lambda d: sign_flip_p(d, seed=0)]
)
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
    # Sorted, 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 is 0.04, 0.06, 0.06, 0.04, and it may not fall.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])


def test_holm_stops_at_one_and_leaves_a_single_p_alone():
    assert holm([0.7, 0.6]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@pytest.mark.parametrize(("effect", "repeats"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_the_repeats_needed_are_those_of_published_tables(effect, repeats):
    """Pairs for 80 % power at 5 %, two-sided, by the effect in standard deviations (G*Power, Faul et al., 2007)."""
    assert repeats_needed(effect * 0.03, 0.03) == repeats


def test_no_number_of_repeats_averages_away_what_they_share():
    limit = (1.959964 + 0.841621) * 0.5  # at rho = 1/5 the shared part is half of a deviation
    assert repeats_needed(limit * 0.99, 1.0, 0.2) is None
    assert repeats_needed(limit * 1.2, 1.0, 0.2) is not None


def test_repeats_that_do_not_differ_need_no_more():
    assert repeats_needed(0.01, 0.0, 0.3) == 2
