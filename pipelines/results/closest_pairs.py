"""Select the synthetic images that are nearest to a training image, so that a person can compare them by eye.

The selection has the closest pairs overall and the closest pair of every class. The closest pairs overall may all
belong to a class whose images are alike, and would then hide another class that was memorised.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages
from augment.fidelity import Memorisation

CLOSEST = 8  # pairs that are selected from all classes together

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8], float, str]


class ClosestPair(NamedTuple):
    """The index of a synthetic image, that of the training image nearest to it, and their distance."""

    synthetic: int
    train: int
    distance: float


def closest_pairs(memorisation: Memorisation, labels: NDArray[np.int64]) -> list[ClosestPair]:
    """Return the selected pairs, the closest first. labels: of the synthetic images, N.

    A class without synthetic images has no pair.
    """
    order = np.argsort(memorisation.distance, kind="stable")
    _, first_of_class = np.unique(labels[order], return_index=True)  # positions in `order`: closest per class
    selected = np.union1d(np.arange(min(CLOSEST, len(order))), first_of_class)
    return [ClosestPair(int(i), int(memorisation.nearest[i]), float(memorisation.distance[i])) for i in order[selected]]


def pictures_of(pairs: Sequence[ClosestPair], synthetic: LabelledImages, train: LabelledImages) -> list[Pair]:
    """Return (synthetic image, training image, distance, class name) of each pair; the images are C x H x W."""
    return [
        (synthetic.images[i], train.images[j], distance, synthetic.class_names[synthetic.labels[i]])
        for i, j, distance in pairs
    ]
