"""How well logits fit labels: `score` for one figure each, `per_class_recall` and `confusion` for the details.

Averages over classes are over the classes that occur among the labels, so that a test set without some class neither
warns nor gives NaN. Inputs everywhere: logits, float, N x K; labels, int, N, values 0 to K - 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss, recall_score

BINS = 15  # of the calibration error


def softmax(logits: ArrayLike) -> NDArray[np.float64]:
    """Probabilities: float64, N x K, rows add to 1."""
    z = np.asarray(logits, np.float64)
    e = np.exp(z - z.max(1, keepdims=True))
    probabilities: NDArray[np.float64] = e / e.sum(1, keepdims=True)
    return probabilities


def score(logits: ArrayLike, labels: ArrayLike, num_classes: int) -> dict[str, float]:
    """accuracy, balanced_accuracy, macro_f1, log_loss (nats) and expected_calibration_error."""
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
    """|accuracy - confidence|, averaged over the images, in 15 bins of equal width, open below and closed above.

    Guo et al., "On Calibration of Modern Neural Networks", arXiv 1706.04599, equation 3. probabilities: N x K.
    """
    confidence = probabilities.max(1)
    correct = probabilities.argmax(1) == labels
    bins = np.ceil(confidence * BINS).astype(int)
    return float(np.abs(np.bincount(bins, weights=correct - confidence)).sum() / len(labels))


def per_class_recall(logits: ArrayLike, labels: ArrayLike, num_classes: int) -> list[float | None]:
    """The share of each class that is recognised: K values, None for a class that is not among the labels."""
    counts = confusion(logits, labels, num_classes)
    return [float(row[k] / row.sum()) if row.any() else None for k, row in enumerate(counts)]


def confusion(logits: ArrayLike, labels: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    """Counts: int64, K x K; rows are labels, columns are predictions."""
    counts: NDArray[np.int64] = confusion_matrix(
        np.asarray(labels), np.asarray(logits).argmax(1), labels=range(num_classes)
    )
    return counts
