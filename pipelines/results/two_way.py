"""Intervals and p-values for other repeats and other test images: the two-way bootstrap.

The repeats are independent or correlated, as in `statistics`, and all of them are tested on the same images.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment.errors import ConfigError
from pipelines.results.statistics import Estimate, estimate

TWO_WAY_DRAWS = 2_000  # the relative error of the standard error is then 1 / sqrt(2 * draws), 1.6 %
BLOCK = 100_000  # resampled images in memory at a time, so that they fit into the processor's cache


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
    level: at 0.9975 with 6 repeats, those percentiles cannot be drawn: one draw in 2e9 lies beyond them. With
    `satterthwaite` (1946) the degrees of freedom are computed from the two variances. They are many where images vary
    most, so that 3 repeats are useful; the coverage at 0.95 is then 0.943 to 0.951.

    Raises `ConfigError` if there are fewer than 2 repeats or 2 images, if a difference is not finite, or if the weights
    are not N positive numbers.
    """
    return two_way(differences, seed, weights, correlation, satterthwaite).interval(confidence)


def two_way(
    differences: NDArray[np.floating[Any]],
    seed: int,
    weights: NDArray[np.float64] | None = None,
    correlation: float = 0.0,
    satterthwaite: bool = False,
) -> Estimate:
    """Return the mean that `two_way_interval` is about. The arguments are the same."""
    d, w = _check_table(differences, weights)
    mean, standard_error, degrees = estimate(d @ w, correlation)
    if np.ptp(d) == 0:
        return Estimate(float(d[0, 0]), 0.0, degrees)
    image_variance = _image_variance(d, w, np.random.default_rng(seed))
    variance = standard_error**2 + image_variance
    if satterthwaite and variance:
        image_degrees = 1 / float((w**2).sum()) - 1
        degrees = variance**2 / (standard_error**4 / degrees + image_variance**2 / image_degrees)
    return Estimate(mean, math.sqrt(variance), degrees)


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
