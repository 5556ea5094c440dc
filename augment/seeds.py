"""Derive all random seeds from one: every combination of a purpose and numbers gets a different seed."""

from __future__ import annotations

import zlib

import numpy as np


def derive_seed(seed: int, purpose: str, *numbers: int) -> int:
    """Return a seed below 2^32 for one purpose, such as "subsample", and its numbers, such as the index of the repeat.

    `numpy.random.SeedSequence` mixes all of these values, so neighbouring seeds and numbers give unrelated results. It
    treats missing numbers as zeros, so the count of numbers is mixed in too.
    """
    return int(seed_sequence(seed, purpose, *numbers).generate_state(1)[0])


def seed_sequence(seed: int, purpose: str, *numbers: int) -> np.random.SeedSequence:
    """Return the sequence whose first state is the result of `derive_seed`, for callers that need many seeds."""
    return np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), len(numbers), *numbers])
