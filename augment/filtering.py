"""Filters of synthetic images: score each image and keep the best fraction of each class.

Mixing in all synthetic images is often harmful; those that a classifier and the discriminator both accept are safer.
The classifier that scores a synthetic image must not have been trained on the real images that resemble it, because
memorised copies would then score best.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages
from augment.dataset.ratios import needed_per_class

Scores = NDArray[np.floating]  # one per synthetic image, higher is better


@dataclass(frozen=True)
class CrossFittedPredictions:
    """Predictions of cross-fitted classifiers for M synthetic images and the N real images they are mixed with.

    labels: int64, M, the classes that the synthetic images were generated for. probabilities: M x K, each row predicted
    by a classifier that has not seen the nearest real images. distance: M, the distance to the nearest real images of
    the class, in units of the distances among real images. real_probabilities: N x K, predicted out of fold.
    """

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    distance: NDArray[np.float64]
    real_probabilities: NDArray[np.float64]


def confidence(predictions: CrossFittedPredictions) -> Scores:
    """Return the predicted probability of the class that each image was generated for, from 0 to 1."""
    return predictions.probabilities[np.arange(len(predictions.labels)), predictions.labels]


def negative_distance(predictions: CrossFittedPredictions) -> Scores:
    """Return minus the distance to the nearest real images of the class."""
    return -predictions.distance


# Ways to rank synthetic images. None: by the scores of the generator, so that no classifiers are needed
FILTERS: dict[str, Callable[[CrossFittedPredictions], Scores] | None] = {
    "confidence": confidence,
    "distance": negative_distance,
    "score": None,
}


def keep_best(labels: NDArray[np.int64], scores: Scores, fraction: float) -> NDArray[np.int64]:
    """Return the indices of the best `fraction` of each class, in ascending order.

    At least one image of each class that occurs is kept. labels: int64, M. scores: M, higher is better; among equal
    scores, earlier images are preferred.
    """
    kept = []
    for k in np.unique(labels):
        members = np.flatnonzero(labels == k)
        best = np.argsort(-scores[members], kind="stable")
        kept.append(members[best[: _number_kept(len(members), fraction)]])
    return np.sort(np.concatenate(kept))


def needed_before_filter(real: LabelledImages, ratio: float, fraction: float) -> int:
    """Return how many synthetic images of each class `ratio` requires if `keep_best` keeps `fraction` of them."""
    needed = needed_per_class(real, ratio)
    fewest = int((needed - 0.5) / fraction) if needed > 1 else 1  # of fewer, too few are kept, however it is rounded
    return next(count for count in itertools.count(fewest) if _number_kept(count, fraction) >= needed)


def _number_kept(count: int, fraction: float) -> int:
    return max(round(fraction * count), 1)
