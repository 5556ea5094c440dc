"""The one rule by which a seed becomes others: every purpose, and every number of it, has a seed of its own."""

from __future__ import annotations

import zlib

import numpy as np


def derive_seed(seed: int, purpose: str, *numbers: int) -> int:
    """A seed below 2^32 for one purpose, such as "fold", and its numbers, such as the fold's index.

    `numpy.random.SeedSequence` mixes all of them, so that neighbouring seeds and neighbouring numbers have nothing in
    common (O'Neill, "PCG", 2014, and numpy's documentation on parallel generation).
    """
    return int(np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), *numbers]).generate_state(1)[0])
