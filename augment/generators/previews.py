"""Pictures of many small images, for people: sample grids of a generator in training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SMALLEST = 32  # px that an image is enlarged to


def tile(images: NDArray[np.uint8], columns: int) -> Image.Image:
    """uint8 images (n, 1 to 4, H, W) as one picture, row by row, enlarged to at least 32 px each.

    Of images with 2 channels the first is shown, of those with 4 the first three.
    """
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    sheet = np.full((rows * columns, channels, height, width), 255, np.uint8)
    sheet[:count] = images
    grid = sheet.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    pixels = grid.reshape(rows * height, columns * width, channels)
    picture = Image.fromarray(pixels[:, :, 0] if channels < 3 else pixels[:, :, :3])
    factor = max(-(-SMALLEST // height), 1)
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
