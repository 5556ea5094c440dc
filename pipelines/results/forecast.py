"""Estimate what twice as many training images would give, by the errors with half of them and with all.

The error of a classifier falls about as a power of the number of its training images (Hestness et al., arXiv
1712.00409; Viering and Loog, arXiv 2103.10948, section 4), so each doubling divides it by about the same factor. The
power changes slowly with the number, so it is taken from the last doubling alone: a power law through a quarter of the
images as well was a point too optimistic (docs/benchmarks.md). Nothing is predicted beyond twice as many images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.experiment.records import Record, records_of_arm
from pipelines.metric_specs import METRICS
from pipelines.record_names import name_of_half
from pipelines.results.document import Forecast
from pipelines.results.statistics import corrected_t_interval

MIN_ERROR = 1e-3  # a smaller error counts as this much, since 0 has no logarithm
POINT = 0.01


def forecast(records: Sequence[Record], arm: str, metric: str, correlation: float) -> Forecast:
    """Return what twice as many images would give an arm, from its trainings on half of the images and on all.

    The interval is that of the mean over repeats; it does not allow for a power that changes. metric: one of
    `MEANS_OVER_IMAGES`.
    correlation: of two repeats whose training sets overlap.
    """
    half, whole = (
        np.array([r.metrics[metric] for r in records_of_arm(records, name)]) for name in (name_of_half(arm), arm)
    )
    ratio = _log_error(whole) - _log_error(half)  # of the errors, by the last doubling
    double = _log_error(whole) + ratio
    low, high = corrected_t_interval(double, correlation)
    error = float(np.exp(_log_error(whole).mean()))
    return Forecast(
        arm=arm,
        metric=metric,
        at_half=float(half.mean()),
        at_all=float(whole.mean()),
        at_double=1 - math.exp(double.mean()),
        at_double_ci95=(max(1 - math.exp(high), 0.0), 1 - math.exp(low)),
        times_for_one_point=times_for(POINT, error, -float(ratio.mean()) / math.log(2)),
    )


def describe_forecast(forecast: Forecast) -> str:
    """Return a forecast in words."""
    metric = METRICS[forecast.metric]
    half, whole, double = (metric.scale * v for v in (forecast.at_half, forecast.at_all, forecast.at_double))
    low, high = (metric.scale * value for value in forecast.at_double_ci95)
    times = forecast.times_for_one_point
    if low == 0:
        return (
            f"What twice as many images of each class would give {forecast.arm} cannot be estimated, because the "
            f"repeats differ too much (from half of the images to all, the {metric.words} went from {half:.1f} to "
            f"{whole:.1f} %)."
        )
    more = f" One point more takes about {times:.2g} times as many images." if times else ""
    return (
        f"With twice as many images of each class, the {metric.words} of {forecast.arm} would be about {double:.1f} % "
        f"(95 % interval {low:.1f} to {high:.1f}), if doubling them helps as much again: it was {half:.1f} % with half "
        f"of the images and {whole:.1f} % with all.{more}"
    )


def times_for(gain: float, error: float, exponent: float) -> float | None:
    """Return how many times as many images lower `error` by `gain`; None if that takes more than twice as many.

    The error falls with the number of images to the power of minus `exponent`.
    """
    if error * (1 - 2**-exponent) < gain:
        return None
    return float((1 - gain / error) ** (-1 / exponent))


def _log_error(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(np.maximum(1 - values, MIN_ERROR))
