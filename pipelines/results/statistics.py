"""Paired tests and intervals on arrays of differences, one difference per repeat, positive where the arm is better.

The right interval depends on what the repeats share:

- only the test set, and the finding is for that test set: `corrected_t_interval` without a correlation, which is
  Student's. Its coverage is 0.95 at 6 to 20 repeats.
- training images: `corrected_t_interval`.
- test images, and the finding should hold for other test images too: `two_way.two_way_interval`.

The sign-flip permutation test assumes no normal distribution, but its smallest two-sided p-value is 2 / 2**n: 0.031 at
6 repeats, 0.063 at 5. `benchmarks/statistics_simulation.py` measures the coverage of every interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from augment.errors import ConfigError

Values = Sequence[float] | NDArray[np.float64]
MAX_ENUMERATED = 16  # repeats; with more, the 2**n sign flips are sampled instead of enumerated
SIGN_FLIP_DRAWS = 20_000  # random sign flips, where they are sampled
TIE_TOLERANCE = 1e-9  # fraction of the sum of absolute differences; sums that are closer differ only by rounding
MIN_REPEATS_FOR_BCA = 20  # repeats; with fewer, the coverage of a 95 % BCa interval is only 0.86 to 0.93
SEARCH_LIMIT = 1_000_000  # more than anybody would run


class Estimate(NamedTuple):
    """A mean with its standard error and the degrees of freedom of its t distribution."""

    mean: float
    standard_error: float
    degrees: float

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return (low, high) of the t interval; both are the mean if the standard error is 0."""
        from scipy.stats import t  # here, because scipy.stats takes a second to import

        half = float(t.ppf((1 + confidence) / 2, self.degrees)) * self.standard_error
        return self.mean - half, self.mean + half

    def p_value(self) -> float:
        """Return the two-sided p-value of the t test; without a standard error 1.0 for a mean of 0, otherwise 0.0."""
        from scipy.stats import t

        if not self.standard_error:
            return float(self.mean == 0)
        return 2 * float(t.sf(abs(self.mean) / self.standard_error, self.degrees))


def corrected_t_interval(
    differences: Values, correlation: float = 0.0, confidence: float = 0.95
) -> tuple[float, float]:
    """Return (low, high) of the corrected resampled t interval for a mean of n differences; Student's t if rho is 0.

    The training sets of the differences may overlap: the correlation rho between any two of them lies in [0, 1). The
    interval has n - 1 degrees of freedom and the standard error sqrt(s^2 (1/n + rho/(1 - rho))): the sample variance
    s^2 estimates only the part (1 - rho) of the variance of one difference, and more repeats do not reduce the part rho
    that they share. Identical differences d give (d, d).

    - k-fold: rho = 1/k gives the factor n_test/n_train of Nadeau and Bengio (Machine Learning 2003), also for repeated
      k-fold (Bouckaert and Frank, 2004). This is a heuristic, because the exact correlation is not known.
    - n per class, drawn from a pool of P per class: rho = n/P, for the gain with other pools. The mean over a subset
      has the variance s^2/n, and two subsets share n^2/P images in expectation, so their covariance is s^2/P. Other
      differences between the repeats (seeds) lower the true correlation, and then the interval is too wide.

    Raises `ConfigError` if there are fewer than 2 differences, if one is not finite, and for a correlation outside
    [0, 1).
    """
    return estimate(differences, correlation).interval(confidence)


def corrected_t_p(differences: Values, correlation: float) -> float:
    """Return the two-sided p-value of the t test that belongs to `corrected_t_interval`.

    It is 1.0 if all differences are 0, and 0.0 if they all have the same other value. Raises `ConfigError` as
    `corrected_t_interval` does.
    """
    return estimate(differences, correlation).p_value()


def repeats_needed(gain: float, deviation: float, correlation: float = 0.0, power: float = 0.8) -> int | None:
    """Return the fewest repeats with which the 95 % `corrected_t_interval` lies above 0 with probability `power`.

    gain: the true mean gain. deviation: the standard deviation s of single differences. correlation: rho, as in
    `corrected_t_interval`. With n repeats the statistic follows the noncentral t distribution with n - 1 degrees of
    freedom and the noncentrality gain / (s sqrt(1/n + rho/(1 - rho))). For rho = 0 this is the power of the paired
    t test (Cohen, Statistical power analysis for the behavioral sciences, 1988, 2.3).

    Returns 2 if s is 0, and None if no number of repeats is enough: the part of rho does not shrink as n grows.
    """
    from scipy.stats import nct, norm, t

    shared = correlation / (1 - correlation)

    def has_power(n: int) -> bool:
        noncentrality = gain / (deviation * math.sqrt(1 / n + shared))
        return bool(nct.sf(t.ppf(0.975, n - 1), n - 1, noncentrality) >= power)

    if deviation == 0:
        return 2
    if gain <= (norm.ppf(0.975) + norm.ppf(power)) * deviation * math.sqrt(shared):
        return None
    enough = 2
    while not has_power(enough):
        enough *= 2
        if enough > SEARCH_LIMIT:
            return None
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        too_few, enough = (too_few, middle) if has_power(middle) else (middle, enough)
    return enough


def bca_interval(differences: Values, seed: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return (low, high) of Efron's (1987) BCa bootstrap interval for the mean; identical differences d give (d, d).

    `seed` determines the 9,999 resamples. Raises `ConfigError` if there are fewer than 20 differences or if one is not
    finite.
    """
    from scipy.stats import bootstrap

    d = _check_differences(differences, fewest=MIN_REPEATS_FOR_BCA)
    if np.ptp(d) == 0:
        return float(d[0]), float(d[0])
    rng = np.random.default_rng(seed)
    interval = bootstrap((d,), np.mean, confidence_level=confidence, method="BCa", random_state=rng).confidence_interval
    return float(interval.low), float(interval.high)


def sign_flip_p(differences: Values, seed: int) -> float:
    """Return the two-sided p-value of the hypothesis that n differences are symmetric about 0; 1.0 if all are 0.

    Up to 16 differences the test is exact and agrees with `scipy.stats.permutation_test`. With more it draws 20,000
    random flips with `seed` and returns p = (1 + b) / (1 + m) (Phipson and Smyth, 2010), where b of the m flips are at
    least as extreme; scipy doubles one tail instead. Raises `ConfigError` if there are no differences or if one is not
    finite.
    """
    d = _check_differences(differences, fewest=1)
    n = len(d)
    if n <= MAX_ENUMERATED:
        bits = (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(np.bool_)
    else:
        bits = np.random.default_rng(seed).integers(0, 2, (SIGN_FLIP_DRAWS, n), dtype=np.bool_)
    flipped = np.abs(d.sum() - 2 * (bits @ d))
    as_large = int(np.sum(flipped >= abs(d.sum()) - TIE_TOLERANCE * np.abs(d).sum()))
    return as_large / 2**n if n <= MAX_ENUMERATED else (1 + as_large) / (1 + SIGN_FLIP_DRAWS)


def holm(p_values: Values) -> list[float]:
    """Return the p-values adjusted by Holm (1979), in the given order: they bound the chance of any false positive."""
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1)
    return [float(a) for a in adjusted]


def estimate(differences: Values, correlation: float) -> Estimate:
    """Return the mean with its corrected standard error, which is exactly 0 for identical differences."""
    d = _check_differences(differences, fewest=2)
    if not 0 <= correlation < 1:
        raise ConfigError(
            f"expected a correlation of at least 0 and below 1 between the repeats, got {correlation}; "
            "repeats that draw the whole pool share all images, so draw smaller subsets"
        )
    n = len(d)
    if np.ptp(d) == 0:
        return Estimate(float(d[0]), 0.0, n - 1)
    return Estimate(d.mean().item(), d.std(ddof=1).item() * math.sqrt(1 / n + correlation / (1 - correlation)), n - 1)


def _check_differences(differences: Values, fewest: int) -> NDArray[np.float64]:
    d = np.asarray(differences, np.float64)
    if d.ndim != 1 or len(d) < fewest:
        raise ConfigError(f"at least {fewest} repeats are needed for this, got {d.size}; raise the repeats")
    if not np.isfinite(d).all():
        raise ConfigError(f"expected finite differences, got {d.tolist()}; look for a diverged repeat")
    return d
