"""Mix the pixels of two images of one class: `MIXINGS`. These are controls for generators that mix features.

Both images have the same class, so the result has it too, and no labels are mixed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # C x H x W
GRID_SIDES = (2, 3, 4)  # cells of a grid, along one side


def grid(first: Pixels, second: Pixels, rng: np.random.Generator) -> Pixels:
    """Take each cell of a grid of 2 x 2 to 4 x 4 cells from one of the images, each with probability 1/2.

    This is the mask of ChimeraMix (arXiv 2202.11616, section 3), applied to pixels instead of features.
    """
    side, cells = first.shape[-1], int(rng.choice(GRID_SIDES))
    cell_of_pixel = np.arange(side) * cells // side  # along one side
    mask = (rng.random((cells, cells)) < 0.5)[np.ix_(cell_of_pixel, cell_of_pixel)]
    return np.where(mask, first, second)


def cutmix(first: Pixels, second: Pixels, rng: np.random.Generator) -> Pixels:
    """Copy a box of the second image into the first one; its area is uniform in [0, 1] of the image before clipping.

    Source: Yun et al., "CutMix", arXiv 1905.04899, section 3.1, with alpha = 1.
    """
    side = first.shape[-1]
    half = side * np.sqrt(rng.random()) / 2
    centre = rng.uniform(0, side, 2)
    start, stop = (np.clip(np.round(centre + sign * half), 0, side).astype(int) for sign in (-1, 1))
    mixed = first.copy()
    box = np.s_[:, start[0] : stop[0], start[1] : stop[1]]
    mixed[box] = second[box]
    return mixed


MIXINGS: dict[str, Callable[[Pixels, Pixels, np.random.Generator], Pixels]] = {"grid": grid, "cutmix": cutmix}
