"""Noise with codes lies between the codes of two images of the class, with a spread around them."""

from __future__ import annotations

import pytest
import torch

from augment.dataset.images import LabelledImages
from augment.gan.class_index import ClassIndex
from augment.gan.codes import Codes

LABELS = torch.tensor([0, 2, 2, 1, 0])
SEEDS = [3, 4, 5, 6, 7]


@pytest.fixture(scope="module")
def codes(shoes: LabelledImages) -> Codes:
    return Codes.from_seed(ClassIndex.from_images(shoes, torch.device("cpu")), 8, 0.5, seed=1)


def test_the_numbers_pick_two_images_and_the_place_between(codes: Codes) -> None:
    """Ankle boots are the images 15 to 18."""
    uniforms = torch.tensor([[0.0, 0.99, 0.25], [0.3, 0.3, 0.7]])
    z = torch.ones(2, 8)
    found = codes.between(torch.tensor([2, 2]), uniforms, z)
    expected = torch.stack([0.75 * codes.codes[15] + 0.25 * codes.codes[18], codes.codes[16]]) + 0.5
    torch.testing.assert_close(found, expected)


def test_codes_follow_from_their_seed(codes: Codes) -> None:
    again, other = (Codes.from_seed(codes.index, 8, 0.5, seed=seed) for seed in (1, 2))
    assert codes.codes.shape == (19, 8)
    assert torch.equal(again.codes, codes.codes)
    assert not torch.equal(other.codes, codes.codes)


def test_a_row_depends_on_its_own_seed_and_label_alone(codes: Codes) -> None:
    rows = codes.from_seeds(LABELS, SEEDS)
    assert rows.shape == (5, 8)
    torch.testing.assert_close(codes.from_seeds(LABELS[2:4], SEEDS[2:4]), rows[2:4], rtol=0, atol=0)
    assert not torch.equal(codes.from_seeds(LABELS, [9, *SEEDS[1:]])[0], rows[0])


def test_draws_repeat_with_their_generator(codes: Codes) -> None:
    first, again = (codes.draw(LABELS, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again)
