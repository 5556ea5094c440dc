"""Classification metrics: `score` for the summary, `per_class_recall` and `confusion` for the details.

Averages over classes include only classes that occur in the labels, so that a test set without some class causes
neither a warning nor NaN. The inputs of all functions are logits, float, N x K, and labels, int, N, from 0 to K - 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss, recall_score

BINS = 15  # for the calibration error


def softmax(logits: ArrayLike) -> NDArray[np.float64]:
    """Return probabilities: float64, N x K; rows add to 1."""
    z = np.asarray(logits, np.float64)
    e = np.exp(z - z.max(1, keepdims=True))
    probabilities: NDArray[np.float64] = e / e.sum(1, keepdims=True)
    return probabilities


def score(logits: ArrayLike, labels: ArrayLike, num_classes: int) -> dict[str, float]:
    """Return accuracy, balanced_accuracy, macro_f1, log_loss (nats) and expected_calibration_error."""
    p, y = softmax(logits), np.asarray(labels)
    predicted, present = p.argmax(1), np.unique(y)
    average = {"labels": present, "average": "macro", "zero_division": 0.0}
    return {
        "accuracy": float(accuracy_score(y, predicted)),
        "balanced_accuracy": float(recall_score(y, predicted, **average)),
        "macro_f1": float(f1_score(y, predicted, **average)),
        "log_loss": float(log_loss(y, p, labels=range(num_classes))),
        "expected_calibration_error": expected_calibration_error(p, y),
    }


def expected_calibration_error(probabilities: NDArray[np.float64], labels: NDArray[np.integer]) -> float:
    """Return the mean |accuracy - predicted probability| of 15 bins, each weighted by its number of images.

    The bins have equal width and include their upper but not their lower limit. probabilities: N x K. Source: Guo et
    al., "On Calibration of Modern Neural Networks", arXiv 1706.04599, equation 3.
    """
    predicted = probabilities.max(1)  # probability of the predicted class
    correct = probabilities.argmax(1) == labels
    bins = np.ceil(predicted * BINS).astype(int)
    return float(np.abs(np.bincount(bins, weights=correct - predicted)).sum() / len(labels))


def per_class_recall(logits: ArrayLike, labels: ArrayLike, num_classes: int) -> list[float | None]:
    """Return the recall of each class: K values, None for a class that does not occur in the labels."""
    counts = confusion(logits, labels, num_classes)
    return [float(row[k] / row.sum()) if row.any() else None for k, row in enumerate(counts)]


def confusion(logits: ArrayLike, labels: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    """Return the confusion matrix: counts, int64, K x K; rows are labels, columns are predictions."""
    counts: NDArray[np.int64] = confusion_matrix(
        np.asarray(labels), np.asarray(logits).argmax(1), labels=range(num_classes)
    )
    return counts
