"""Real and synthetic images by ratio. The ratio is synthetic images per real image, balanced over the classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages, draw_per_class, resize_images
from augment.errors import ConfigError


def draw_by_ratio(synthetic: LabelledImages, real: LabelledImages, ratio: float, *, seed: int) -> NDArray[np.int64]:
    """Places of `ratio` synthetic images per image of `real`, equally many of each class, drawn by `seed`.

    Raises `ConfigError` if a class has too few, and says how many are needed.
    """
    per_class = needed_per_class(real, ratio)
    counts = synthetic.counts()
    scarce = int(np.argmin(counts))
    if counts[scarce] < per_class:
        raise ConfigError(
            f"a ratio of {ratio:g} to {len(real)} real images needs {per_class} synthetic images of each class, "
            f"class {synthetic.class_names[scarce]!r} has {counts[scarce]}; generate more, keep more or lower the ratio"
        )
    return draw_per_class(synthetic.labels, per_class, seed)


def fills_up(synthetic: LabelledImages, real: LabelledImages) -> bool:
    """Whether the synthetic images bring every class to one number of images, most of them the small classes."""
    counts = synthetic.counts()
    return bool(np.ptp(counts) > 0 and np.ptp(counts + real.counts()) == 0)


def needed_per_class(real: LabelledImages, ratio: float) -> int:
    """How many synthetic images of each class `ratio` takes."""
    return max(round(ratio * len(real) / real.num_classes), 1)


def synthetic_share(ratio: float) -> float:
    """The proportion of each batch that is synthetic."""
    return ratio / (1 + ratio)


def match(other: LabelledImages, real: LabelledImages, what: str) -> LabelledImages:
    """`other` with the classes, the image size and the channels of `real`; it may lack classes.

    what: how an error calls `other`. Raises `ConfigError` if it has classes that `real` has not, or colour where
    `real` is grey.
    """
    unknown = sorted(set(other.class_names) - set(real.class_names))
    if unknown:
        raise ConfigError(
            f"the {what} have a class {unknown[0]!r} that the training images have not; "
            f"they have {', '.join(real.class_names)}"
        )
    if other.channels > real.channels:
        raise ConfigError(f"the {what} are in colour and the training images are grey; convert one of them")
    place = np.array([real.class_names.index(name) for name in other.class_names])
    images = resize_images(other.images, real.size, "pad")
    if other.channels < real.channels:
        images = np.repeat(images, real.channels, axis=1)
    return LabelledImages(images, place[other.labels], real.class_names)
