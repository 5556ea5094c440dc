"""Sample grids: one picture of many small images, to follow the training of a generator by eye."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MIN_SIDE = 32  # px


def tile(images: NDArray[np.uint8], columns: int) -> Image.Image:
    """Arrange images, uint8 (N, 1 to 4, H, W), row by row in one picture, each enlarged to at least 32 px in height.

    Only the first of 2 channels and the first three of 4 channels are drawn.
    """
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    sheet = np.full((rows * columns, channels, height, width), 255, np.uint8)
    sheet[:count] = images
    grid = sheet.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    pixels = grid.reshape(rows * height, columns * width, channels)
    picture = Image.fromarray(pixels[:, :, 0] if channels < 3 else pixels[:, :, :3])
    factor = max(-(-MIN_SIDE // height), 1)
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
