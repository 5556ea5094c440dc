"""Ratios of synthetic to real images: how many a ratio needs, and draws by it, equally many of each class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages, draw_per_class
from augment.errors import ConfigError


def draw_by_ratio(synthetic: LabelledImages, real: LabelledImages, ratio: float, *, seed: int) -> NDArray[np.int64]:
    """Draw `ratio` synthetic images per image of `real`, equally many of each class, and return their indices.

    Raises `ConfigError` that says how many are needed if a class has too few.
    """
    per_class = needed_per_class(real, ratio)
    counts = synthetic.counts()
    smallest = int(np.argmin(counts))
    if counts[smallest] < per_class:
        raise ConfigError(
            f"a ratio of {ratio:g} for {len(real)} real images needs {per_class} synthetic images of each class, but "
            f"class {synthetic.class_names[smallest]!r} has {counts[smallest]}; generate more, keep more or lower the "
            "ratio"
        )
    return draw_per_class(synthetic.labels, per_class, seed)


def balances_classes(synthetic: LabelledImages, real: LabelledImages) -> bool:
    """Return whether the synthetic images fill up the classes.

    Then their counts differ, and all classes have equally many real and synthetic images in total.
    """
    counts = synthetic.counts()
    return bool(np.ptp(counts) > 0 and np.ptp(counts + real.counts()) == 0)


def needed_per_class(real: LabelledImages, ratio: float) -> int:
    """Return how many synthetic images of each class `ratio` requires."""
    return max(round(ratio * len(real) / real.num_classes), 1)


def synthetic_share(ratio: float) -> float:
    """Return the fraction of each batch that is synthetic."""
    return ratio / (1 + ratio)
