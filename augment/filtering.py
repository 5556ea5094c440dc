"""Which synthetic images are worth keeping: a score for each, and the best share of each class.

Naive mixing is often harmful; images that a classifier and the discriminator both accept are the safer ones. Who
judges must not have trained on the real images that a synthetic one resembles, or memorised copies score best.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating]  # one a synthetic image, higher is better


@dataclass(frozen=True)
class Judged:
    """What cross-fitted classifiers say of M synthetic images and of the N real ones that these are mixed with.

    labels: int64, M, the classes that the synthetic images were generated for. probabilities: M x K, by classifiers
    that have not seen the real images nearest to each. distance: M, to the nearest real images of the class, in units
    of the real images' own distances. real_probabilities: N x K, out of fold.
    """

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    distance: NDArray[np.float64]
    real_probabilities: NDArray[np.float64]


def confidence(judged: Judged) -> Scores:
    """The predicted probability of the class that each image was generated for, 0 to 1."""
    return judged.probabilities[np.arange(len(judged.labels)), judged.labels]


def nearness(judged: Judged) -> Scores:
    """Minus the distance to the nearest real images of the class."""
    return -judged.distance


class Filter(NamedTuple):
    """A way to order synthetic images, from what their generator or what cross-fitted classifiers say of them.

    by_classifiers: None where the generator's own scores are the order, which takes no classifiers.
    """

    by_classifiers: Callable[[Judged], Scores] | None


FILTERS: dict[str, Filter] = {
    "confidence": Filter(confidence),
    "distance": Filter(nearness),
    "score": Filter(None),
}


def keep_best(labels: NDArray[np.int64], scores: Scores, share: float) -> NDArray[np.int64]:
    """Places of the best `share` of each class, at least one of each that occurs, in ascending order.

    labels: int64, M; scores: M, higher is better. Of equal scores the earlier image is kept.
    """
    kept = []
    for k in np.unique(labels):
        members = np.flatnonzero(labels == k)
        best = np.argsort(-scores[members], kind="stable")
        kept.append(members[best[: max(round(share * len(members)), 1)]])
    return np.sort(np.concatenate(kept))
