"""Which synthetic images are worth keeping: a score for each, and the best share of each class.

Naive mixing is often harmful; images that a classifier and the discriminator both accept are the safer ones. Who
judges must not have trained on the real images that a synthetic one resembles, or memorised copies score best.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from augment.errors import ConfigError

Scores = NDArray[np.float64]  # one a synthetic image, higher is better


@dataclass(frozen=True)
class Judged:
    """What is known of M synthetic images, and of the N real ones that they are to be mixed with, of K classes.

    labels: int64, M, the classes asked for. probabilities: M x K, by classifiers that have not seen the real images
    nearest to each. distance: M, to the nearest real images of the class, in units of the real images' own distances.
    logits: M, the discriminator's, or None where the images came without. real_probabilities: N x K, out of fold.
    """

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    distance: NDArray[np.float64]
    logits: NDArray[np.float64] | None
    real_probabilities: NDArray[np.float64]


def confidence(judged: Judged) -> Scores:
    """The probability of the class asked for, 0 to 1."""
    return judged.probabilities[np.arange(len(judged.labels)), judged.labels]


def discriminator(judged: Judged) -> Scores:
    """The discriminator's logit. Raises `ConfigError` for images without."""
    if judged.logits is None:
        raise ConfigError(
            "the filter `discriminator` needs the scores that `augment generate` writes beside its images, and there "
            "are none; filter by confidence or distance"
        )
    return judged.logits


def nearness(judged: Judged) -> Scores:
    """Minus the distance to the nearest real images of the class."""
    return -judged.distance


SCORERS: dict[str, Callable[[Judged], Scores]] = {
    "confidence": confidence,
    "discriminator": discriminator,
    "distance": nearness,
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
