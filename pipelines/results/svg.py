"""Helpers for the plots of the report: axes, positions in percent, and pictures as data URLs.

The template draws lines and dots as SVG, at positions in percent of the width. A rendered image would not do: with SVG
the letters have the same size on a phone and on paper, and the colours follow the light or dark theme of the page.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MARGIN = 4.0  # percent of the width that stays free on each side
CURVE_POINTS = 300  # at most
GAP = 2  # pixels between the pictures of a strip


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high` with ticks at round values."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Return the position of `value` in percent of the width."""
        return round(MARGIN + (100 - 2 * MARGIN) * (value - self.low) / (self.high - self.low), 2)


def scale_over(values: Sequence[float] | NDArray[np.float64], intervals: int = 5) -> Scale:
    """Return an axis that contains all values, with about `intervals` round steps."""
    from matplotlib.ticker import MaxNLocator

    low, high = float(np.min(values)), float(np.max(values))
    if low == high:
        low, high = low - 0.5, high + 0.5
    ticks = [float(t) for t in MaxNLocator(intervals, steps=[1, 2, 5, 10]).tick_values(low, high)]
    return Scale(ticks[0], ticks[-1], tuple(ticks))


def downsample(steps: Sequence[float], values: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Reduce a curve to at most 300 points by averaging neighbours; values that are not finite are left out."""
    x, y = np.asarray(steps, np.float64), np.asarray(values, np.float64)
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    parts = min(len(x), CURVE_POINTS)
    if parts == 0:
        return x, y
    return (
        np.array([part.mean() for part in np.array_split(x, parts)]),
        np.array([part.mean() for part in np.array_split(y, parts)]),
    )


def image_strip(images: NDArray[np.uint8], longest: int) -> str:
    """Return N images side by side as one PNG in a data URL.

    images: N x C x H x W with 1 to 4 channels. longest: in pixels; larger images are reduced to this longest side.
    """
    _, channels, height, width = images.shape
    factor = min(1.0, longest / max(height, width))
    size = max(round(width * factor), 1), max(round(height * factor), 1)
    mode = "LA" if channels <= 2 else "RGBA"  # with alpha, so that the gaps have the colour of the page
    sheet = Image.new(mode, (len(images) * (size[0] + GAP) - GAP, size[1]))
    for i, image in enumerate(images):
        pixels = image[0] if channels == 1 else image.transpose(1, 2, 0)
        picture = Image.fromarray(np.ascontiguousarray(pixels)).convert(mode)
        sheet.paste(picture.resize(size, Image.Resampling.LANCZOS), (i * (size[0] + GAP), 0))
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
