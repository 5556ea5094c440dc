"""Training on parts of the images, which shows what more images would give; see `pipelines.results.forecast`."""

from __future__ import annotations

import numpy as np

from augment.dataset.images import LabelledImages

FRACTIONS = (0.25, 0.5)  # of the training images of each class
FEWEST = 2  # images of a class in a part, if the class has them


def name_of_part(arm: str, fraction: float) -> str:
    """Return the name, in the records, of an arm that learns from a fraction of the images only."""
    return f"{fraction:g} of the images: {arm}"


def part_of(data: LabelledImages, fraction: float, seed: int) -> LabelledImages:
    """Draw a fraction of the images of each class without replacement, rounded, but at least 2 where there are 2.

    With the same seed, a smaller part lies in a larger one.
    """
    rng = np.random.default_rng(seed)
    drawn = []
    for k in range(data.num_classes):
        members = rng.permutation(np.flatnonzero(data.labels == k))
        drawn.append(members[: max(round(fraction * len(members)), FEWEST)])
    return data.take(np.sort(np.concatenate(drawn)))
