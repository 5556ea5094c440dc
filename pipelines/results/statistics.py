"""Paired tests and intervals on arrays of differences, one difference per repeat, positive where the arm is better.

The right interval depends on what the repeats share:

- only the test set, and the finding is for that test set: `paired_t_interval`. Its coverage is 0.95 at 6 to 20 repeats.
- training images: `corrected_t_interval`.
- test images, and the finding should hold for other test images too: `two_way_interval`.

The sign-flip permutation test assumes no normal distribution, but its smallest two-sided p-value is 2 / 2**n: 0.031 at
6 repeats, 0.063 at 5. `benchmarks/statistics_simulation.py` measures the coverage of every interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment.errors import ConfigError

Values = Sequence[float] | NDArray[np.float64]
MOST_ENUMERATED = 16  # repeats; with more, the 2**n sign flips are sampled instead of enumerated
SIGN_FLIP_DRAWS = 20_000  # random sign flips, where they are sampled
TIE_TOLERANCE = 1e-9  # fraction of the sum of absolute differences; sums that are closer differ only by rounding
FEWEST_BCA = 20  # repeats; with fewer, the coverage of a 95 % BCa interval is only 0.86 to 0.93
TWO_WAY_DRAWS = 2_000  # the relative error of the standard error is then 1 / sqrt(2 * draws), 1.6 %
MOST_REPEATS = 1_000_000  # more than anybody would run
BLOCK = 100_000  # resampled images in memory at a time, so that they fit into the processor's cache


def paired_t_interval(differences: Values, confidence: float = 0.95) -> tuple[float, float]:
    """Return (low, high) of Student's t interval for the mean of n differences; identical differences d give (d, d).

    Raises `ConfigError` if there are fewer than 2 differences or if one is not finite.
    """
    return corrected_t_interval(differences, 0.0, confidence)


def corrected_t_interval(differences: Values, correlation: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return (low, high) of the corrected resampled t interval for a mean of n differences.

    The training sets of the differences may overlap: the correlation rho between any two of them lies in [0, 1). The
    interval has n - 1 degrees of freedom and the standard error sqrt(s^2 (1/n + rho/(1 - rho))): the sample variance
    s^2 estimates only the part (1 - rho) of the variance of one difference, and more repeats do not reduce the part rho
    that they share. Identical differences d give (d, d).

    - k-fold: rho = 1/k gives the factor n_test/n_train of Nadeau and Bengio (Machine Learning 2003), also for repeated
      k-fold (Bouckaert and Frank, 2004). This is a heuristic, because the exact correlation is not known.
    - n per class, drawn from a pool of P per class: rho = n/P, for the gain with other pools. The mean over a subset
      has the variance s^2/n, and two subsets share n^2/P images in expectation, so their covariance is s^2/P. Other
      differences between the repeats (seeds) lower the true correlation, and then the interval is too wide.

    Raises `ConfigError` as `paired_t_interval` does, and for a correlation outside [0, 1).
    """
    from scipy.stats import t  # here, because scipy.stats takes a second to import

    mean, standard_error, degrees = _mean_and_standard_error(differences, correlation)
    half = float(t.ppf((1 + confidence) / 2, degrees)) * standard_error
    return mean - half, mean + half


def corrected_t_p(differences: Values, correlation: float) -> float:
    """Return the two-sided p-value of the t test that belongs to `corrected_t_interval`.

    It is 1.0 if all differences are 0, and 0.0 if they all have the same other value. Raises `ConfigError` as
    `corrected_t_interval` does.
    """
    from scipy.stats import t

    mean, standard_error, degrees = _mean_and_standard_error(differences, correlation)
    return 2 * float(t.sf(abs(mean) / standard_error, degrees)) if standard_error else float(mean == 0)


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
        if enough > MOST_REPEATS:
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

    d = _check_differences(differences, fewest=FEWEST_BCA)
    if np.ptp(d) == 0:
        return float(d[0]), float(d[0])
    rng = np.random.default_rng(seed)
    interval = bootstrap((d,), np.mean, confidence_level=confidence, method="BCa", random_state=rng).confidence_interval
    return float(interval.low), float(interval.high)


def two_way_interval(
    differences: NDArray[np.floating[Any]],
    seed: int,
    confidence: float = 0.95,
    weights: NDArray[np.float64] | None = None,
    correlation: float = 0.0,
    satterthwaite: bool = False,
) -> tuple[float, float]:
    """Return (low, high) of a two-way bootstrap t interval: for the mean over other repeats and other test images.

    differences: R x N, differences between two arms in the score of an image (-1, 0 or 1 for correctness), for the
    same N images in all R repeats. weights: N positive weights of the images, 1/(K n_k) for balanced accuracy; None
    weights all images equally. correlation: between the repeats, as in `corrected_t_interval`. `seed` determines the
    resamples. Identical differences d give (d, d).

    The interval is the `corrected_t_interval` of the repeats' means, widened by the variance that the choice of images
    adds (`_image_variance`). By default all of this variance gets R - 1 degrees of freedom, so that the interval is
    never narrower than the corrected one. Where images vary most it is too wide: 0.98 coverage for 0.95 at 6 repeats.
    For a normal distribution it equals the expanded percentiles of Hesterberg (2015), but it works at any confidence
    level: at 0.9975 with 6 repeats, only one draw in 2e9 lies beyond those percentiles. With `satterthwaite` (1946) the
    degrees of freedom are computed from the two variances. They are many where images vary most, so that 3 repeats are
    useful; the coverage at 0.95 is then 0.943 to 0.951.

    Raises `ConfigError` if there are fewer than 2 repeats or 2 images, if a difference is not finite, or if the weights
    are not N positive numbers.
    """
    from scipy.stats import t

    d, w = _check_table(differences, weights)
    if np.ptp(d) == 0:
        return float(d[0, 0]), float(d[0, 0])
    mean, standard_error, degrees = _mean_and_standard_error(d @ w, correlation)
    image_variance = _image_variance(d, w, np.random.default_rng(seed))
    variance = standard_error**2 + image_variance
    if satterthwaite and variance:
        image_degrees = 1 / float((w**2).sum()) - 1
        degrees = variance**2 / (standard_error**4 / degrees + image_variance**2 / image_degrees)
    half = float(t.ppf((1 + confidence) / 2, degrees)) * math.sqrt(variance)
    return mean - half, mean + half


def sign_flip_p(differences: Values, seed: int) -> float:
    """Return the two-sided p-value of the hypothesis that n differences are symmetric about 0; 1.0 if all are 0.

    Up to 16 differences the test is exact and agrees with `scipy.stats.permutation_test`. With more it draws 20,000
    random flips with `seed` and returns p = (1 + b) / (1 + m) (Phipson and Smyth, 2010), where b of the m flips are at
    least as extreme; scipy doubles one tail instead. Raises `ConfigError` if there are no differences or if one is not
    finite.
    """
    d = _check_differences(differences, fewest=1)
    n = len(d)
    if n <= MOST_ENUMERATED:
        bits = (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(np.bool_)
    else:
        bits = np.random.default_rng(seed).integers(0, 2, (SIGN_FLIP_DRAWS, n), dtype=np.bool_)
    flipped = np.abs(d.sum() - 2 * (bits @ d))
    as_large = int(np.sum(flipped >= abs(d.sum()) - TIE_TOLERANCE * np.abs(d).sum()))
    return as_large / 2**n if n <= MOST_ENUMERATED else (1 + as_large) / (1 + SIGN_FLIP_DRAWS)


def holm(p_values: Values) -> list[float]:
    """Return the p-values adjusted by Holm (1979), in the given order: they bound the chance of any false positive."""
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1)
    return [float(a) for a in adjusted]


def _mean_and_standard_error(differences: Values, correlation: float) -> tuple[float, float, float]:
    """Return mean, corrected standard error (exactly 0 for identical differences) and degrees of freedom."""
    d = _check_differences(differences, fewest=2)
    if not 0 <= correlation < 1:
        raise ConfigError(
            f"expected a correlation of at least 0 and below 1 between the repeats, got {correlation}; "
            "repeats that draw the whole pool share all images, so draw smaller subsets"
        )
    n = len(d)
    if np.ptp(d) == 0:
        return float(d[0]), 0.0, n - 1
    return float(d.mean()), float(d.std(ddof=1)) * math.sqrt(1 / n + correlation / (1 - correlation)), n - 1


def _image_variance(d: NDArray[np.float64], w: NDArray[np.float64], rng: np.random.Generator) -> float:
    """Return the variance that the choice of N images adds to the weighted mean over R repeats; at least 0.

    The pigeonhole bootstrap (Owen, Annals of Applied Statistics 2007) resamples repeats and images independently. The
    random error of single answers (one repeat, one image) is part of the variance over repeats, of the variance over
    images and of their interaction, so the published method counts it three times. Here it is subtracted from the
    variance over images, which is then limited to at least 0, as in studies of readers and cases (Hillis, Statistics in
    Medicine 2007).

    Each resample is divided by its own sum of weights, because the number of its images of a class varies. Where gains
    differ between classes, this makes the interval wider. A bootstrap variance lacks the factor n/(n - 1); weights w
    with the sum 1 correspond to n = 1/sum(w^2) images.
    """
    repeats, images = len(d), 1 / float((w**2).sum())
    resampled = _resampled_image_means(d, w, rng)  # draws x R
    counts = rng.multinomial(repeats, np.full(repeats, 1 / repeats), TWO_WAY_DRAWS) / repeats
    repeat_means, image_means, joint_means = counts @ (d @ w), resampled.mean(1), (counts * resampled).sum(1)
    random_error = repeats / (repeats - 1) * float((joint_means - repeat_means - image_means).var())
    return images / (images - 1) * max(float(image_means.var()) - random_error, 0.0)


def _resampled_image_means(
    d: NDArray[np.float64], w: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return weighted means over N images drawn with replacement, draws x R; all repeats of a draw share its images."""
    images = len(w)
    columns = np.column_stack([(d * w).T, w])  # N x (R + 1)
    means = []
    for draws in np.array_split(np.arange(TWO_WAY_DRAWS), math.ceil(TWO_WAY_DRAWS * images / BLOCK)):
        drawn = rng.integers(0, images, (len(draws), images)) + images * np.arange(len(draws))[:, None]
        counts = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        sums = counts @ columns
        means.append(sums[:, :-1] / sums[:, -1:])
    return np.concatenate(means)


def _check_differences(differences: Values, fewest: int) -> NDArray[np.float64]:
    d = np.asarray(differences, np.float64)
    if d.ndim != 1 or len(d) < fewest:
        raise ConfigError(f"at least {fewest} repeats are needed for this, got {d.size}; raise the repeats")
    if not np.isfinite(d).all():
        raise ConfigError(f"expected finite differences, got {d.tolist()}; look for a diverged repeat")
    return d


def _check_table(
    differences: NDArray[np.floating[Any]], weights: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the differences, R x N, and the N weights, scaled to the sum 1."""
    d = np.asarray(differences, np.float64)
    if d.ndim != 2 or min(d.shape) < 2:
        raise ConfigError(f"expected differences of at least 2 repeats x 2 images, got the shape {d.shape}")
    if not np.isfinite(d).all():
        raise ConfigError("expected finite differences of images' scores; look for a diverged repeat")
    w = np.ones(d.shape[1]) if weights is None else np.asarray(weights, np.float64)
    if w.shape != d.shape[1:] or not (np.isfinite(w) & (w > 0)).all():
        raise ConfigError(f"expected a positive weight for each of the {d.shape[1]} images, got {w.size} values")
    return d, w / w.sum()
