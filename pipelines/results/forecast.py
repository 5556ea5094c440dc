"""Estimate what more training images would give, by a power law through the errors with fewer images.

Over a wide range, the error of a classifier falls as a power of the number of its training images (Hestness et al.,
arXiv 1712.00409; Viering and Loog, arXiv 2103.10948, section 4). It cannot go on forever, so nothing beyond twice as
many images is told. `benchmarks/forecast.py` compares such estimates with what twice as many images gave.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.experiment.partial_training import FRACTIONS, name_of_part
from pipelines.experiment.records import Record, records_of_arm
from pipelines.metric_specs import METRICS
from pipelines.results.document import Forecast
from pipelines.results.statistics import corrected_t_interval

ERRORS = ("accuracy", "balanced_accuracy")  # metrics that are 1 minus an error
SMALLEST_ERROR = 1e-3  # counts as this much; a logarithm needs an error above 0
POINT = 0.01


def forecast(records: Sequence[Record], arm: str, metric: str, correlation: float) -> Forecast:
    """Return what twice as many images would give an arm, from its trainings on parts of the images.

    The power law is fitted to the errors of each repeat by least squares on logarithms, so the interval is that of a
    mean over repeats. It does not allow for errors that follow another law. metric: one of `ERRORS`. correlation: of
    two repeats whose training sets overlap.
    """
    fractions = (*FRACTIONS, 1.0)
    of_fractions = [records_of_arm(records, name_of_part(arm, fraction)) for fraction in FRACTIONS]
    values = np.array([[r.metrics[metric] for r in side] for side in (*of_fractions, records_of_arm(records, arm))])
    errors = np.log(np.maximum(1 - values, SMALLEST_ERROR))  # fractions x repeats
    slope, intercept = np.polyfit(np.log(fractions), errors, 1)
    at_double = slope * np.log(2) + intercept
    low, high = corrected_t_interval(at_double, correlation)
    exponent, error = -float(slope.mean()), float(np.exp(intercept.mean()))
    return Forecast(
        arm=arm,
        metric=metric,
        at_fractions={f"{fraction:g}": float(mean) for fraction, mean in zip(fractions, values.mean(1), strict=True)},
        exponent=exponent,
        at_double=_gained(at_double.mean()),
        at_double_ci95=(_gained(high), _gained(low)),
        times_for_one_point=times_for(POINT, error, exponent),
    )


def in_words(forecast: Forecast) -> str:
    """Return a forecast in words."""
    metric = METRICS[forecast.metric]
    quarter, half, whole = (f"{metric.scale * value:.1f} %" for value in forecast.at_fractions.values())
    low, high = (metric.scale * value for value in forecast.at_double_ci95)
    times = forecast.times_for_one_point
    more = f" One point more takes about {times:.2g} times as many images." if times else ""
    return (
        f"With twice as many images of each class, the {metric.words} of {forecast.arm} would be about "
        f"{metric.scale * forecast.at_double:.1f} % (95 % interval {low:.1f} to {high:.1f}), if it goes on as from a "
        f"quarter ({quarter}) over a half ({half}) to all of them ({whole}).{more}"
    )


def times_for(gain: float, error: float, exponent: float) -> float | None:
    """Return how many times as many images lower `error` by `gain`; None if that takes more than twice as many."""
    if error * (1 - 2**-exponent) < gain:
        return None
    return float((1 - gain / error) ** (-1 / exponent))


def _gained(log_error: float | NDArray[np.float64]) -> float:
    return 1 - float(np.exp(log_error))
