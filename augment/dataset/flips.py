"""Whether horizontal flips keep the class: measured on the images rather than guessed from what they show.

A mirrored image should find its class among the others as often as the image itself does. Each image is its own
control, so that what is compared is a pair of answers an image, and the loss has an interval: 3 points between two
shares of 100 images are noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages, resize_images, subset_per_class

LARGEST_LOSS = 0.03  # of the nearest-neighbour accuracy, that flips may cost and still look safe
MOST_IMAGES, SIZE = 2000, 32  # images compared, at most; px
NORMAL_95 = 1.959964  # the 97.5 % point of the normal distribution


class Verdict(StrEnum):
    """What the interval of the loss says of flips."""

    SAFE = "look safe"
    UNSAFE = "do not look safe"
    UNKNOWN = "cannot be told"


@dataclass(frozen=True)
class Flips:
    """Nearest-neighbour answers to `images` images as they are and mirrored left to right.

    plain, mirrored: share whose nearest other image is of their class. loss: (low, high), the 95 % interval of plain
    less mirrored over images of this kind.
    """

    plain: float
    mirrored: float
    images: int
    loss: tuple[float, float]

    @property
    def verdict(self) -> Verdict:
        """Safe if the interval allows no loss above 3 points; unsafe if it does, and no loss is excluded too.

        The line of "unsafe" is 0 and not 3 points, because flips that are left out cost a little and wrong ones spoil
        a class: any loss that is shown speaks against them, unless it is known to be small.
        """
        low, high = self.loss
        if high <= LARGEST_LOSS:
            return Verdict.SAFE
        return Verdict.UNSAFE if low > 0 else Verdict.UNKNOWN


def measure_flips(data: LabelledImages) -> Flips:
    """Leave-one-out 1-nearest-neighbour accuracy of the images and of their mirror images, in pixels, at most 32 px.

    A mirror image is compared with all images but the one that it is made from. At most 2,000 images are used, the
    same number of each class as far as they go.
    """
    if len(data) > MOST_IMAGES:
        data = subset_per_class(data, max(MOST_IMAGES // data.num_classes, 2), seed=0)
    images = resize_images(data.images, min(data.size, SIZE), "stretch")
    vectors, mirrored = (view.reshape(len(view), -1).astype(np.float32) for view in (images, images[..., ::-1]))
    plain, turned = (data.labels[_nearest_other(queries, vectors)] == data.labels for queries in (vectors, mirrored))
    return Flips(float(plain.mean()), float(turned.mean()), len(data), paired_loss(plain, turned))


def paired_loss(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> tuple[float, float]:
    """N and N to (low, high): the 95 % interval of the share right before less the share right after, in pairs.

    With b pairs right only before, c right only after and half a pair added to each of the four cells (b' = b + 1/2,
    c' = c + 1/2, n' = n + 2), it is d +- 1.96 sqrt(b' + c' - (b' - c')^2 / n') / n' with d = (b' - c') / n'. Without
    the halves it is Wald's interval, which has no width where all pairs agree and covers too little where few differ.
    Source: Agresti and Min, Simple improved confidence intervals for comparing matched proportions, Statistics in
    Medicine 24 (2005), section 3. The pairs count as independent, which images that are each other's neighbours are
    only nearly.
    """
    lost, won, n = (before & ~after).sum() + 0.5, (after & ~before).sum() + 0.5, len(before) + 2
    mean = float(lost - won) / n
    half = NORMAL_95 * math.sqrt(float(lost + won) - float(lost - won) ** 2 / n) / n
    return mean - half, mean + half


def advise_on_flips(flips: Flips) -> str:
    """The verdict as a sentence, with what it rests on."""
    low, high = (100 * end for end in flips.loss)
    verdict = f"horizontal flips {flips.verdict}"
    if flips.verdict == Verdict.UNKNOWN:
        verdict = f"whether horizontal flips are safe {flips.verdict}"
    return (
        f"{verdict} (of {flips.images:,} images, {flips.plain:.1%} have a nearest neighbour of their "
        f"own class; mirrored, {flips.mirrored:.1%} have; the 95 % interval of the loss is {low:.1f} to {high:.1f} "
        "points)."
    )


def _nearest_other(queries: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.intp]:
    """N x D and N x D to N: the nearest of `vectors` to each query, but for the one at the query's own place."""
    squares = np.square(vectors).sum(1)
    distances: NDArray[Any] = squares - 2 * queries @ vectors.T  # but for the query's square, constant in a row
    np.fill_diagonal(distances, np.inf)
    nearest: NDArray[np.intp] = distances.argmin(1)
    return nearest
