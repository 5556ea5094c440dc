"""The synthetic images nearest to a training image, for the eye: the closest of every class and the closest of all.

One class that is memorised would not show among the closest of all where the images of another lie nearer together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages
from pipelines.results.fidelity_evaluation import Fidelity

CLOSEST = 8  # of all classes together

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8], float, str]


def closest_pairs(fidelity: Fidelity, train: LabelledImages) -> list[Pair]:
    """(synthetic, its nearest training image, both C x H x W, their distance, class name), the closest first.

    train: the images that the neighbours of `fidelity` are places in. Classes without synthetic images have none.
    """
    memory, synthetic = fidelity.memorisation, fidelity.synthetic
    order = np.argsort(memory.distance, kind="stable")
    _, first_of_class = np.unique(synthetic.labels[order], return_index=True)  # in `order`, so each class's closest
    chosen = np.union1d(np.arange(min(CLOSEST, len(order))), first_of_class)
    return [
        (
            synthetic.images[i],
            train.images[memory.nearest[i]],
            float(memory.distance[i]),
            synthetic.class_names[synthetic.labels[i]],
        )
        for i in order[chosen]
    ]
