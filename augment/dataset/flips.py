"""Measure whether horizontal flips preserve the class.

If they do, the nearest neighbour of a mirrored image is in its class as often as that of the image itself. Both are
measured for each image, so the drop in accuracy is a paired difference. It is reported with an interval, because a
difference of 3 points between two accuracies on 100 images is noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages, resize_images, subset_per_class

MAX_SAFE_DROP = 0.03  # drop of nearest-neighbour accuracy up to which flips look safe
MAX_IMAGES, MAX_SIZE = 2000, 32  # number of compared images; px
BLOCK = 256  # images that are compared with all others at once
NORMAL_95 = 1.959964  # the 97.5 % point of the normal distribution


class Verdict(StrEnum):
    """The conclusion from the interval of the drop in accuracy."""

    SAFE = "look safe"
    UNSAFE = "do not look safe"
    UNKNOWN = "may or may not be safe"


@dataclass(frozen=True)
class Flips:
    """Nearest-neighbour accuracies of a number of images, original and mirrored left to right.

    plain, mirrored: fraction of images whose nearest other image is of the same class. accuracy_drop: (low, high), the
    95 % confidence interval of plain minus mirrored.
    """

    plain: float
    mirrored: float
    images: int
    accuracy_drop: tuple[float, float]

    @property
    def verdict(self) -> Verdict:
        """Safe if the interval is below 3 points; otherwise unsafe if it is above 0, and unknown if it contains 0.

        The threshold of "unsafe" is 0 and not 3 points: leaving out harmless flips costs little, but harmful flips
        can ruin a class. A significant drop therefore counts against flips unless it is certainly small.
        """
        low, high = self.accuracy_drop
        if high <= MAX_SAFE_DROP:
            return Verdict.SAFE
        return Verdict.UNSAFE if low > 0 else Verdict.UNKNOWN


def measure_flips(data: LabelledImages) -> Flips:
    """Measure the leave-one-out 1-nearest-neighbour accuracy of images and of their mirror images, in pixel space.

    A mirror image is not compared with its own original. Images are reduced to at most 32 px. Of more than 2,000
    images, about 2,000 are used: equally many of each class, at least 2, or all of a class that has fewer.
    """
    if len(data) > MAX_IMAGES:
        data = subset_per_class(data, max(MAX_IMAGES // data.num_classes, 2), seed=0)
    images = resize_images(data.images, min(data.size, MAX_SIZE), "stretch")
    vectors, mirrored = (view.reshape(len(view), -1).astype(np.float32) for view in (images, images[..., ::-1]))
    plain_correct, mirrored_correct = (
        data.labels[_nearest_other(queries, vectors)] == data.labels for queries in (vectors, mirrored)
    )
    drop = paired_accuracy_drop(plain_correct, mirrored_correct)
    return Flips(float(plain_correct.mean()), float(mirrored_correct.mean()), len(data), drop)


def paired_accuracy_drop(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> tuple[float, float]:
    """Compute the 95 % interval (low, high) of the accuracy before minus the accuracy after, for N matched pairs.

    With b pairs correct only before, c correct only after, and half a pair added to each of the four cells (b' = b +
    1/2, c' = c + 1/2, n' = n + 2), the interval is d +- 1.96 sqrt(b' + c' - (b' - c')^2 / n') / n', d = (b' - c') / n'.
    Without the added halves it is Wald's interval, which has no width if all pairs agree and too little coverage if few
    pairs differ. Source: Agresti and Min, Simple improved confidence intervals for comparing matched proportions,
    Statistics in Medicine 24 (2005), section 3. The pairs are treated as independent, which is only approximately true
    for images that are neighbours of each other.
    """
    lost, gained, n = (before & ~after).sum() + 0.5, (after & ~before).sum() + 0.5, len(before) + 2
    mean = float(lost - gained) / n
    half_width = NORMAL_95 * math.sqrt(float(lost + gained) - float(lost - gained) ** 2 / n) / n
    return mean - half_width, mean + half_width


def advise_on_flips(flips: Flips) -> str:
    """Return a sentence with the verdict and the measurements behind it."""
    low, high = (100 * end for end in flips.accuracy_drop)
    return (
        f"horizontal flips {flips.verdict} (of {flips.images:,} images, {flips.plain:.1%} have a nearest neighbour of "
        f"their own class; mirrored, {flips.mirrored:.1%} have; the 95 % interval of the drop is {low:.1f} to "
        f"{high:.1f} points)"
        + (": leave them off, unless mirrored images keep their class." if flips.verdict == Verdict.UNKNOWN else ".")
    )


def _nearest_other(queries: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the index of the nearest of `vectors` to each query, except the one with the index of the query.

    queries, vectors: N x D. Returns N indices.
    """
    squares, nearest = np.square(vectors).sum(1), np.empty(len(queries), np.intp)
    for start in range(0, len(queries), BLOCK):
        own = np.arange(start, min(start + BLOCK, len(queries)))
        distances = squares - 2 * queries[own] @ vectors.T  # plus a constant for each query
        distances[own - start, own] = np.inf
        nearest[own] = distances.argmin(1)
    return nearest
