"""Classification metrics: `score` for the summary, `per_class_recall` and `confusion` for the details.

Averages over classes include only classes that occur in the labels, so that a test set without some class causes
neither a warning nor NaN. Inputs are logits, float, N x K, and labels, int, N, from 0 to K - 1, except that
`expected_calibration_error` takes probabilities, and `calibration_error` confidences.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss, recall_score

BINS = 15  # for the calibration error


def softmax(logits: ArrayLike) -> NDArray[np.float64]:
    """Return probabilities: float64, N x K; rows add to 1."""
    probabilities: NDArray[np.float64] = special.softmax(np.asarray(logits, np.float64), axis=1)
    return probabilities


def score(logits: ArrayLike, labels: ArrayLike, num_classes: int) -> dict[str, float]:
    """Return accuracy, balanced_accuracy, macro_f1, pairwise_auc, log_loss (nats) and expected_calibration_error."""
    p, y = softmax(logits), np.asarray(labels)
    predicted, present = p.argmax(1), np.unique(y)
    average = {"labels": present, "average": "macro", "zero_division": 0.0}
    return {
        "accuracy": float(accuracy_score(y, predicted)),
        "balanced_accuracy": float(recall_score(y, predicted, **average)),
        "macro_f1": float(f1_score(y, predicted, **average)),
        "pairwise_auc": pairwise_auc(logits, y),
        "log_loss": float(log_loss(y, p, labels=range(num_classes))),
        "expected_calibration_error": expected_calibration_error(p, y),
    }


def pairwise_auc(logits: ArrayLike, labels: NDArray[np.integer]) -> float:
    """Return how well the logits separate two classes, as the mean over all pairs of classes: 0.5 is chance, 1 is best.

    For a pair, it is the area under the ROC curve of the difference of the two logits, on the images of both classes.
    A constant added to the logits of a class changes nothing: unlike balanced accuracy, no treatment of imbalance that
    favours some classes over others raises it. It is 0.5 if the labels are all of one class. Source: Hand and Till, "A
    simple generalisation of the area under the ROC curve for multiple class classification problems", Machine Learning
    45 (2001), equation 7, with the log odds of the two classes as the score of both.
    """
    z = np.asarray(logits, np.float64)
    areas = [
        _area(z[labels == i, i] - z[labels == i, j], z[labels == j, i] - z[labels == j, j])
        for i, j in combinations(np.unique(labels), 2)
    ]
    return float(np.mean(areas)) if areas else 0.5


def _area(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
    """Return the probability that a positive score is above a negative one; ties count half."""
    ascending = np.sort(negative)
    below, not_above = (np.searchsorted(ascending, positive, side) for side in ("left", "right"))
    return float((below + not_above).mean() / (2 * len(negative)))


def expected_calibration_error(
    probabilities: NDArray[np.float64], labels: NDArray[np.integer], weights: NDArray[np.float64] | None = None
) -> float:
    """Return the mean |accuracy - predicted probability| of 15 bins, each weighted by its number of images.

    The bins have equal width and include their upper but not their lower limit. probabilities: N x K. weights: N, of
    the images, with the sum 1; None if all count equally. Source: Guo et al., "On Calibration of Modern Neural
    Networks", arXiv 1706.04599, equation 3.
    """
    return calibration_error(probabilities.max(1), probabilities.argmax(1) == labels, weights)


def calibration_error(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], weights: NDArray[np.float64] | None = None
) -> float:
    """Return the expected calibration error. confidence: of the predicted classes, N. correct: whether they are, N."""
    bins = np.ceil(confidence * BINS).astype(int)
    of_image = np.full(len(correct), 1 / len(correct)) if weights is None else weights
    return float(np.abs(np.bincount(bins, weights=of_image * (correct - confidence))).sum())


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
