"""Paired tests and intervals on arrays of differences, one difference a repeat; positive where the arm is better.

With 6 to 20 repeats the paired t interval covers what it says. The sign-flip permutation test needs no normal
distribution, but its smallest two-sided p is 2 / 2**n: 0.031 at 6 repeats, 0.063 at 5. What the repeats share decides
which interval fits: nothing but the test set, if the finding is for that set (`paired_t_interval`); training images
(`corrected_t_interval`); test images, if the finding is for other images of their kind (`two_way_interval`).
`benchmarks/statistics_simulation.py` measures how often each covers the truth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment.errors import ConfigError

Values = Sequence[float] | NDArray[np.float64]
ENUMERATED = 16  # repeats up to which all 2**n sign flips are counted
DRAWS = 20_000  # random sign flips above that
TIE = 1e-9  # of the sum of absolute differences: sums closer than this differ by rounding only
FEWEST_BCA = 20  # repeats; with fewer, BCa covers 0.86 to 0.93 where it says 0.95
TWO_WAY_DRAWS = 2_000  # they give a standard error to 1 / sqrt(2 * draws), 1.6 %
MOST_REPEATS = 1_000_000  # beyond any that somebody would run
BLOCK = 100_000  # resampled images held at a time, for the cache's sake


def paired_t_interval(differences: Values, confidence: float = 0.95) -> tuple[float, float]:
    """(low, high) of Student's t interval for the mean of n differences; identical differences d give (d, d).

    Raises `ConfigError` with fewer than 2 differences or if one is not finite.
    """
    return corrected_t_interval(differences, 0.0, confidence)


def corrected_t_interval(differences: Values, correlation: float, confidence: float = 0.95) -> tuple[float, float]:
    """(low, high) of the corrected resampled t interval for the mean of n differences whose training sets overlap.

    With the correlation rho of any two differences in [0, 1), n - 1 degrees of freedom and the standard error
    sqrt(s^2 (1/n + rho/(1 - rho))): the sample variance s^2 estimates only (1 - rho) of the variance of one difference,
    and n repeats never average the shared rho away. Identical differences d give (d, d).

    - k-fold: rho = 1/k gives Nadeau and Bengio's n_test/n_train (Machine Learning 2003), repeated k-fold too (Bouckaert
      and Frank, 2004); a heuristic, as no exact correlation is known.
    - n per class from a pool of P per class: rho = n/P, for the gain with other pools. A subset mean has the variance
      s^2/n, and two subsets share n^2/P images in expectation, so their covariance is s^2/P. What else differs between
      the repeats (seeds) only lowers the true correlation, and the interval covers too much.

    Raises `ConfigError` as `paired_t_interval` does, and for a correlation outside [0, 1).
    """
    from scipy.stats import t  # scipy.stats takes a second to import

    mean, error, freedom = _mean_and_error(differences, correlation)
    half = float(t.ppf((1 + confidence) / 2, freedom)) * error
    return mean - half, mean + half


def corrected_t_p(differences: Values, correlation: float) -> float:
    """Two-sided p of the t test whose interval `corrected_t_interval` is; identical differences: 0.0, all zero: 1.0.

    Raises `ConfigError` as it does.
    """
    from scipy.stats import t

    mean, error, freedom = _mean_and_error(differences, correlation)
    return 2 * float(t.sf(abs(mean) / error, freedom)) if error else float(mean == 0)


def repeats_needed(gain: float, deviation: float, correlation: float = 0.0, power: float = 0.8) -> int | None:
    """The fewest repeats whose `corrected_t_interval` at 95 % lies above 0 with that power if the mean gain is `gain`.

    deviation: the standard deviation s of single differences. With n repeats the statistic follows the noncentral t
    distribution with n - 1 degrees of freedom and the noncentrality gain / (s sqrt(1/n + rho/(1 - rho))); for rho = 0
    this is the power of the paired t test (Cohen, Statistical power analysis for the behavioral sciences, 1988, 2.3).
    None if no number will do: the part of rho does not shrink as n grows. 2 where s is 0.
    """
    from scipy.stats import nct, norm, t

    shared = correlation / (1 - correlation)

    def reached(n: int) -> bool:
        noncentrality = gain / (deviation * math.sqrt(1 / n + shared))
        return bool(nct.sf(t.ppf(0.975, n - 1), n - 1, noncentrality) >= power)

    if deviation == 0:
        return 2
    if gain <= (norm.ppf(0.975) + norm.ppf(power)) * deviation * math.sqrt(shared):
        return None
    enough = 2
    while not reached(enough):
        enough *= 2
        if enough > MOST_REPEATS:
            return None
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        too_few, enough = (too_few, middle) if reached(middle) else (middle, enough)
    return enough


def bca_interval(differences: Values, seed: int, confidence: float = 0.95) -> tuple[float, float]:
    """(low, high) of Efron's (1987) BCa bootstrap interval for the mean; identical differences d give (d, d).

    `seed` draws the 9,999 resamples. Raises `ConfigError` with fewer than 20 differences or if one is not finite.
    """
    from scipy.stats import bootstrap

    d = _checked(differences, fewest=FEWEST_BCA)
    if np.ptp(d) == 0:
        return float(d[0]), float(d[0])
    rng = np.random.default_rng(seed)
    found = bootstrap((d,), np.mean, confidence_level=confidence, method="BCa", random_state=rng)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def two_way_interval(
    differences: NDArray[np.floating[Any]],
    seed: int,
    confidence: float = 0.95,
    weights: NDArray[np.float64] | None = None,
    correlation: float = 0.0,
    satterthwaite: bool = False,
) -> tuple[float, float]:
    """(low, high) for the mean over other repeats and other test images: a two-way bootstrap t interval.

    differences: R x N, of the score of an image between two arms (-1, 0, 1 for correctness), the same N images in all
    repeats. weights: N, positive, what an image counts, 1/(K n_k) for balanced accuracy; None is 1/N. correlation: what
    the repeats share. `seed` draws the resamples. Identical differences d give (d, d).

    `corrected_t_interval` of the repeats' means with what the choice of images adds to the variance, which
    `_image_variance` takes from resampling both. With R - 1 degrees of freedom for all of it, it is never narrower than
    that one; where images vary most it covers too much, 0.98 for 0.95 at 6 repeats. For a normal this is what
    Hesterberg's (2015) expanded percentiles are, but at any confidence: at 0.9975 with 6 repeats only one draw in 2e9
    lies beyond those. With `satterthwaite` the degrees of freedom are those of the two variances together (1946): many
    where images vary most, so that 3 repeats are of use; at 0.95 it covers 0.943 to 0.951.

    Raises `ConfigError` without 2 repeats and 2 images, if a difference is not finite, and if the weights are not N
    positive numbers.
    """
    from scipy.stats import t

    d, w = _checked_table(differences, weights)
    if np.ptp(d) == 0:
        return float(d[0, 0]), float(d[0, 0])
    mean, error, freedom = _mean_and_error(d @ w, correlation)
    of_images = _image_variance(d, w, np.random.default_rng(seed))
    variance = error**2 + of_images
    if satterthwaite and variance:
        images = 1 / float((w**2).sum()) - 1
        freedom = variance**2 / (error**4 / freedom + of_images**2 / images)
    half = float(t.ppf((1 + confidence) / 2, freedom)) * math.sqrt(variance)
    return mean - half, mean + half


def sign_flip_p(differences: Values, seed: int) -> float:
    """Two-sided p of the hypothesis that n differences are symmetric about 0; 1.0 if all are 0.

    Exact up to 16 differences, as `scipy.stats.permutation_test` is; above, 20,000 random flips and
    p = (1 + b) / (1 + m) (Phipson and Smyth, 2010), the only use of `seed`, where scipy doubles one tail.
    Raises `ConfigError` without differences or if one is not finite.
    """
    d = _checked(differences, fewest=1)
    n = len(d)
    if n <= ENUMERATED:
        bits = (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(np.bool_)
    else:
        bits = np.random.default_rng(seed).integers(0, 2, (DRAWS, n), dtype=np.bool_)
    flipped = np.abs(d.sum() - 2 * (bits @ d))
    as_large = int(np.sum(flipped >= abs(d.sum()) - TIE * np.abs(d).sum()))
    return as_large / 2**n if n <= ENUMERATED else (1 + as_large) / (1 + DRAWS)


def holm(p_values: Values) -> list[float]:
    """Holm's (1979) adjusted p-values, in the order given: they bound the chance of any false positive."""
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1)
    return [float(a) for a in adjusted]


def _mean_and_error(differences: Values, correlation: float) -> tuple[float, float, float]:
    """Mean, its corrected standard error (exactly 0 for identical differences), degrees of freedom."""
    d = _checked(differences, fewest=2)
    if not 0 <= correlation < 1:
        raise ConfigError(
            f"expected a correlation of at least 0 and below 1 between the repeats, got {correlation}; "
            "repeats that draw the whole pool share it all, so draw smaller subsets"
        )
    n = len(d)
    if np.ptp(d) == 0:
        return float(d[0]), 0.0, n - 1
    return float(d.mean()), float(d.std(ddof=1)) * math.sqrt(1 / n + correlation / (1 - correlation)), n - 1


def _image_variance(d: NDArray[np.float64], w: NDArray[np.float64], rng: np.random.Generator) -> float:
    """What the choice of N images adds to the variance of the weighted mean over R repeats, beyond what repeats show.

    The pigeonhole bootstrap (Owen, Annals of Applied Statistics 2007) resamples repeats and images independently. The
    chance in single answers, of one repeat and one image, is in the spread over repeats, again in that over images, and
    again in what both together add: as published it counts three times. Here the images' part is without it and not
    below 0, as for readers and cases (Hillis, Statistics in Medicine 2007). Each resample is divided by its own sum of
    weights, so that a class may change its size, and the gains of classes differ at the price of a wider interval. A
    bootstrap variance lacks the factor n/(n - 1); weights w of the sum 1 are n = 1/sum(w^2) images.
    """
    repeats, images = len(d), 1 / float((w**2).sum())
    resampled = _over_resampled_images(d, w, rng)  # draws x R
    counts = rng.multinomial(repeats, np.full(repeats, 1 / repeats), TWO_WAY_DRAWS) / repeats
    of_repeats, of_images, of_both = counts @ (d @ w), resampled.mean(1), (counts * resampled).sum(1)
    chance = repeats / (repeats - 1) * float((of_both - of_repeats - of_images).var())
    return images / (images - 1) * max(float(of_images.var()) - chance, 0.0)


def _over_resampled_images(
    d: NDArray[np.float64], w: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Weighted means over N images drawn with replacement, in a draw the same ones for all repeats: draws x R."""
    images = len(w)
    columns = np.column_stack([(d * w).T, w])  # N x (R + 1)
    means = []
    for draws in np.array_split(np.arange(TWO_WAY_DRAWS), math.ceil(TWO_WAY_DRAWS * images / BLOCK)):
        drawn = rng.integers(0, images, (len(draws), images)) + images * np.arange(len(draws))[:, None]
        counts = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        sums = counts @ columns
        means.append(sums[:, :-1] / sums[:, -1:])
    return np.concatenate(means)


def _checked(differences: Values, fewest: int) -> NDArray[np.float64]:
    d = np.asarray(differences, np.float64)
    if d.ndim != 1 or len(d) < fewest:
        raise ConfigError(f"at least {fewest} repeats are needed for this, got {d.size}; raise the repeats")
    if not np.isfinite(d).all():
        raise ConfigError(f"expected finite differences, got {d.tolist()}; look for a diverged repeat")
    return d


def _checked_table(
    differences: NDArray[np.floating[Any]], weights: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The differences, R x N, and the weights, N, with the sum 1."""
    d = np.asarray(differences, np.float64)
    if d.ndim != 2 or min(d.shape) < 2:
        raise ConfigError(f"expected differences of at least 2 repeats x 2 images, got the shape {d.shape}")
    if not np.isfinite(d).all():
        raise ConfigError("expected finite differences of images' scores; look for a diverged repeat")
    w = np.ones(d.shape[1]) if weights is None else np.asarray(weights, np.float64)
    if w.shape != d.shape[1:] or not (np.isfinite(w) & (w > 0)).all():
        raise ConfigError(f"expected a positive weight for each of the {d.shape[1]} images, got {w.size} values")
    return d, w / w.sum()
