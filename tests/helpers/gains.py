"""Gains of one arm over another, as numbers and as simulated tables of repeats and images."""

from __future__ import annotations

import numpy as np

GAINS = [0.9, 2.1, -0.4, 1.6, 3.0, 0.3]


def table(rng, repeats, images, gains=0.03, spread=0.53):
    """Differences in correctness, -1, 0 or 1, repeats x images; their means are what image and repeat gain."""
    gain = gains + rng.uniform(-spread, spread, images) + rng.uniform(-0.01, 0.01, (repeats, 1))
    chance = rng.random((repeats, images))
    return (chance < 0.3 + gain / 2).astype(np.float32) - (chance > 0.7 + gain / 2)
