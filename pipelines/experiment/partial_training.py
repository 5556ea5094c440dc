"""Training on half of the images, which shows what more images would give; see `pipelines.results.forecast`."""

from __future__ import annotations

import numpy as np

from augment.dataset.images import LabelledImages

MIN_TO_HALVE = 4  # images of a class, of which 2 are in the half


def half_of(data: LabelledImages, seed: int) -> LabelledImages:
    """Draw half of the images of each class without replacement, rounded down."""
    rng = np.random.default_rng(seed)
    drawn = []
    for k in range(data.num_classes):
        members = rng.permutation(np.flatnonzero(data.labels == k))
        drawn.append(members[: len(members) // 2])
    return data.take(np.sort(np.concatenate(drawn)))
