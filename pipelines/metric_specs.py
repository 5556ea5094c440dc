"""The metrics of a classifier: their display names, units and formats, and whether higher values are better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_REPEATS_FOR_CLAIM = 6  # with fewer, no two-sided sign-flip p is below 0.05
MEANS_OVER_IMAGES = ("accuracy", "balanced_accuracy")  # metrics; each is 1 minus an error
IMBALANCE = 1.5  # the size of the largest class divided by that of the smallest


@dataclass(frozen=True)
class Metric:
    """How a metric is displayed. words: its display name. scale: the factor that converts a value to `unit`."""

    words: str
    higher_is_better: bool = True
    unit: str = "points"
    scale: float = 100.0
    decimals: int = 1

    @property
    def unit_of_values(self) -> str:
        """The unit of a value; `unit` is that of the difference of two values."""
        return "%" if self.unit == "points" else self.unit


METRICS = {
    "accuracy": Metric("accuracy"),
    "balanced_accuracy": Metric("balanced accuracy"),
    "macro_f1": Metric("macro F1"),
    "pairwise_auc": Metric("pairwise AUC"),
    "log_loss": Metric("log loss", higher_is_better=False, unit="nats", scale=1.0, decimals=3),
    "expected_calibration_error": Metric("calibration error", higher_is_better=False),
}


def imbalanced(per_class: Mapping[str, int]) -> bool:
    """Return whether the largest class has more than 1.5 times as many images as the smallest."""
    return max(per_class.values()) > IMBALANCE * min(per_class.values())


def default_metric(train_per_class: Mapping[str, int]) -> str:
    """Return "balanced_accuracy" if the classes are imbalanced, and "accuracy" otherwise."""
    return "balanced_accuracy" if imbalanced(train_per_class) else "accuracy"


def gains(values: Sequence[float], baseline: Sequence[float], metric: str) -> NDArray[np.float64]:
    """Return the paired gains over the baseline: float64, n. A positive gain is an improvement for every metric."""
    new, old = np.asarray(values, np.float64), np.asarray(baseline, np.float64)
    return new - old if METRICS[metric].higher_is_better else old - new


def image_weights(labels: NDArray[np.int64], metric: str) -> NDArray[np.float64]:
    """Return the weight of each test image in accuracy, or in balanced accuracy for every other metric: float64, N."""
    counts = np.bincount(labels)
    if metric == "accuracy":
        return np.full(len(labels), 1 / len(labels))
    weights: NDArray[np.float64] = 1 / (counts[labels] * np.count_nonzero(counts))
    return weights
