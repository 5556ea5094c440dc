"""Select the synthetic images that are nearest to a training image, so that a person can compare them by eye.

The selection has the closest pairs overall and the closest pair of every class. The closest pairs overall may all
belong to a class whose images are alike, and would then hide another class that was memorised.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages
from pipelines.results.fidelity_evaluation import Fidelity

CLOSEST = 8  # pairs that are selected from all classes together

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8], float, str]


def closest_pairs(fidelity: Fidelity, train: LabelledImages) -> list[Pair]:
    """Return (synthetic image, nearest training image, distance, class name) of the selected pairs, the closest first.

    The images are C x H x W. train: the images that `fidelity.memorisation.nearest` holds indices of. A class without
    synthetic images has no pair.
    """
    memorisation, synthetic = fidelity.memorisation, fidelity.synthetic
    order = np.argsort(memorisation.distance, kind="stable")
    _, first_of_class = np.unique(synthetic.labels[order], return_index=True)  # positions in `order`: closest per class
    selected = np.union1d(np.arange(min(CLOSEST, len(order))), first_of_class)
    return [
        (
            synthetic.images[i],
            train.images[memorisation.nearest[i]],
            float(memorisation.distance[i]),
            synthetic.class_names[synthetic.labels[i]],
        )
        for i in order[selected]
    ]
