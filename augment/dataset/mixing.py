"""Mix real and synthetic images by ratio: synthetic images per real image, equally many of each class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages, draw_per_class, resize_images
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
            f"{ratio:g} synthetic images per real image, for {len(real)} real images, need {per_class} synthetic "
            f"images of each class, but class {synthetic.class_names[smallest]!r} has {counts[smallest]}; generate "
            "more, keep more or lower the ratio"
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


def match_format(other: LabelledImages, real: LabelledImages, what: str) -> LabelledImages:
    """Convert `other` to the class names, image size and number of channels of `real`; some classes may be empty.

    what: the name of `other` in error messages. Raises `ConfigError` if `other` has classes that `real` does not have,
    or if it is in colour and `real` is grey.
    """
    unknown = sorted(set(other.class_names) - set(real.class_names))
    if unknown:
        raise ConfigError(
            f"the {what} have a class {unknown[0]!r} that the training images do not have; "
            f"the training images have {', '.join(real.class_names)}"
        )
    if other.channels > real.channels:
        raise ConfigError(f"the {what} are in colour and the training images are grey; convert one of them")
    index = np.array([real.class_names.index(name) for name in other.class_names])
    images = resize_images(other.images, real.size, "pad")
    if other.channels < real.channels:
        images = np.repeat(images, real.channels, axis=1)
    return LabelledImages(images, index[other.labels], real.class_names)
