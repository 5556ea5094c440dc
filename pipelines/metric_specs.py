"""What is measured of a classifier, how each figure is read and written, and which of two values is the better one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST_REPEATS = 6  # for a claim: with fewer, no two-sided sign-flip p is below 0.05
IMBALANCE = 1.5  # largest class over smallest


@dataclass(frozen=True)
class Metric:
    """How a metric is read and written: `scale` turns it into `unit`."""

    words: str
    higher_is_better: bool = True
    unit: str = "points"
    scale: float = 100.0
    decimals: int = 1


METRICS = {
    "accuracy": Metric("accuracy"),
    "balanced_accuracy": Metric("balanced accuracy"),
    "macro_f1": Metric("macro F1"),
    "log_loss": Metric("log loss", higher_is_better=False, unit="nats", scale=1.0, decimals=3),
    "expected_calibration_error": Metric("calibration error", higher_is_better=False),
}


def imbalanced(per_class: Mapping[str, int]) -> bool:
    """Whether the largest class has more than 1.5 times the images of the smallest."""
    return max(per_class.values()) > IMBALANCE * min(per_class.values())


def default_metric(train_per_class: Mapping[str, int]) -> str:
    """`balanced_accuracy` under imbalance, else `accuracy`."""
    return "balanced_accuracy" if imbalanced(train_per_class) else "accuracy"


def gains(values: Sequence[float], baseline: Sequence[float], metric: str) -> NDArray[np.float64]:
    """Paired gains over the baseline, n: positive is better, whichever way the metric points."""
    ours, theirs = np.asarray(values, np.float64), np.asarray(baseline, np.float64)
    return ours - theirs if METRICS[metric].higher_is_better else theirs - ours


def image_weights(labels: NDArray[np.int64], metric: str) -> NDArray[np.float64]:
    """What each test image's correctness counts in accuracy, or in balanced accuracy for every other metric: N."""
    counts = np.bincount(labels)
    if metric == "accuracy":
        return np.full(len(labels), 1 / len(labels))
    weights: NDArray[np.float64] = 1 / (counts[labels] * np.count_nonzero(counts))
    return weights
