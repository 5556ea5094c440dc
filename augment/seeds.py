"""The one rule by which a seed becomes others: every purpose, and every number of it, has a seed of its own."""

from __future__ import annotations

import zlib

import numpy as np


def derive_seed(seed: int, purpose: str, *numbers: int) -> int:
    """A seed below 2^32 for one purpose, such as "subsample", and its numbers, such as the index of the repeat.

    `numpy.random.SeedSequence` mixes all of them, so that neighbouring seeds and neighbouring numbers have nothing in
    common. It takes missing numbers for zeros, so how many there are is mixed in too.
    """
    return int(seed_sequence(seed, purpose, *numbers).generate_state(1)[0])


def seed_sequence(seed: int, purpose: str, *numbers: int) -> np.random.SeedSequence:
    """The sequence whose first state `derive_seed` returns, for those who need many seeds."""
    return np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), len(numbers), *numbers])
