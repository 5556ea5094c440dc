"""Mixing takes every pixel from one of two images: in cells of a grid, or in one box."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from augment.dataset.pair_mixing import MIXINGS, cutmix, grid

BLACK, WHITE = np.zeros((1, 12, 12), np.uint8), np.full((1, 12, 12), 255, np.uint8)


def masks(name: str, count: int = 400) -> NDArray[np.bool_]:
    """Where each of `count` mixtures shows the second image: bool, count x 12 x 12."""
    return np.stack([MIXINGS[name](BLACK, WHITE, np.random.default_rng(seed))[0] > 0 for seed in range(count)])


@pytest.mark.parametrize("name", MIXINGS)
def test_a_mixture_repeats_with_its_seed_and_leaves_the_images(name: str) -> None:
    first, second = (MIXINGS[name](BLACK, WHITE, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(first, second)
    assert BLACK.max() == 0
    assert WHITE.min() == 255


def test_a_grid_has_two_to_four_cells_a_side() -> None:
    for mask in masks("grid"):
        fits = [np.array_equal(mask, np.kron(mask[:: 12 // n, :: 12 // n], np.ones((12 // n,) * 2))) for n in (2, 3, 4)]
        assert any(fits)
    assert masks("grid").mean() == pytest.approx(0.5, abs=0.04)


def test_cutmix_copies_one_box_of_any_size() -> None:
    areas = []
    for mask in masks("cutmix"):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert mask.sum() == len(rows) * len(columns)
        areas.append(mask.mean())
    assert min(areas) < 0.02
    assert max(areas) > 0.6


def test_all_channels_are_mixed_alike() -> None:
    first, second = np.repeat(BLACK, 3, 0), np.repeat(WHITE, 3, 0)
    for mix in (grid, cutmix):
        mixed = mix(first, second, np.random.default_rng(1))
        assert (mixed == mixed[:1]).all()
