"""Differentiable augmentation does, sample by sample, what plain loops do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from augment.dataset.images import LabelledImages, to_signed
from augment.gan.diffaugment import OPERATIONS, augmenter

Image = NDArray[np.float64]  # C x H x W

operations = pytest.mark.parametrize("name", OPERATIONS)


def colour(image: Image, u: list[float]) -> Image:
    out = image + u[0] - 0.5
    channels, height, width = image.shape
    if channels > 1:
        for row in range(height):
            for column in range(width):
                grey = sum(out[:, row, column]) / channels
                for c in range(channels):
                    out[c, row, column] = grey + 2 * u[1] * (out[c, row, column] - grey)
    middle = out.sum() / out.size
    return middle + (0.5 + u[2]) * (out - middle)


def translation(image: Image, u: list[float]) -> Image:
    _, height, width = image.shape
    reach_y, reach_x = (height + 4) // 8, (width + 4) // 8  # an eighth, halves up
    dy, dx = int(u[0] * (2 * reach_y + 1)) - reach_y, int(u[1] * (2 * reach_x + 1)) - reach_x
    out = np.empty_like(image)
    for row in range(height):
        for column in range(width):
            out[:, row, column] = image[:, min(max(row + dy, 0), height - 1), min(max(column + dx, 0), width - 1)]
    return out


def cutout(image: Image, u: list[float]) -> Image:
    _, height, width = image.shape
    middle_row, middle_column = int(u[0] * (height + 1)), int(u[1] * (width + 1))
    out = image.copy()
    for row in range(middle_row - height // 4, middle_row + height // 4):
        for column in range(middle_column - width // 4, middle_column + width // 4):
            if 0 <= row < height and 0 <= column < width:
                out[:, row, column] = 0
    return out


def flip(image: Image, u: list[float]) -> Image:
    return np.array([[row[::-1] for row in plane] for plane in image]) if u[0] < 0.5 else image


REFERENCES: dict[str, Callable[[Image, list[float]], Image]] = {
    "colour": colour,
    "translation": translation,
    "cutout": cutout,
    "flip": flip,
}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draws(name: str, count: int) -> Tensor:
    """Random numbers of an operation, and its extremes: all 0, all nearly 1, and one of each."""
    k = OPERATIONS[name].uniforms
    extremes = torch.tensor([[0.0] * k, [0.999] * k, [0.0, 0.999, 0.0][:k], [0.999, 0.0, 0.999][:k]])
    return torch.cat([extremes.double(), noise(count - 4, k, seed=1)])


@pytest.fixture
def real(shoes: LabelledImages) -> Tensor:
    return to_signed(torch.from_numpy(shoes.images)).double()


@operations
@pytest.mark.parametrize("shape", [(1, 8, 20), (3, 17, 9), (4, 16, 8)], ids=str)
def test_an_operation_agrees_with_plain_loops(name: str, shape: tuple[int, int, int]) -> None:
    images, u = noise(24, *shape) * 2 - 1, draws(name, 24)
    ours = OPERATIONS[name].apply(images, u)
    theirs = [REFERENCES[name](image, row) for image, row in zip(images.numpy().copy(), u.tolist(), strict=True)]
    np.testing.assert_allclose(ours.numpy(), np.stack(theirs), rtol=0, atol=1e-12)


@operations
def test_real_images_agree_with_plain_loops_and_change(name: str, real: Tensor) -> None:
    u = draws(name, len(real))
    ours = OPERATIONS[name].apply(real, u).numpy()
    theirs = np.stack([REFERENCES[name](image, row) for image, row in zip(real.numpy(), u.tolist(), strict=True)])
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
    assert np.abs(ours - real.numpy()).max() > 0.1


def test_every_operation_has_a_reference() -> None:
    assert REFERENCES.keys() == OPERATIONS.keys()


@operations
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    images = (noise(4, 2, 9, 8) * 2 - 1).requires_grad_()
    assert torch.autograd.gradcheck(OPERATIONS[name].apply, (images, draws(name, 4)))


@operations
def test_a_sample_is_changed_by_its_own_numbers_only(name: str, real: Tensor) -> None:
    u = draws(name, len(real))
    together = OPERATIONS[name].apply(real, u)
    alone = torch.cat([OPERATIONS[name].apply(real[i : i + 1], u[i : i + 1]) for i in range(len(real))])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


@operations
def test_each_sample_has_a_draw_of_its_own(name: str, real: Tensor) -> None:
    same = real[:1].float().expand(40, -1, -1, -1)
    seen = augmenter([name], torch.Generator().manual_seed(1))(same)
    assert len({image.numpy().tobytes() for image in seen}) >= (2 if name == "flip" else 8)


@operations
def test_the_input_is_left_as_it_was(name: str, real: Tensor) -> None:
    before = real.clone()
    OPERATIONS[name].apply(real, draws(name, len(real)))
    assert torch.equal(real, before)


@pytest.mark.parametrize("policy", [[], ["flip"], ["translation", "cutout"], ["colour", "translation", "cutout"]])
def test_a_policy_repeats_with_its_seed_and_draws_afresh_each_time(policy: list[str], real: Tensor) -> None:
    real = real.float()
    before = torch.get_rng_state()
    first, second = (augmenter(policy, torch.Generator().manual_seed(6)) for _ in range(2))
    a, b = first(real), first(real)
    assert torch.equal(a, second(real))
    assert torch.equal(b, second(real))
    assert torch.equal(a, b) == (not policy)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_policy_applies_its_operations_in_their_order(real: Tensor) -> None:
    forth, back = (
        augmenter(policy, torch.Generator().manual_seed(6))(real.float())
        for policy in (["cutout", "colour"], ["colour", "cutout"])
    )
    grey = [(seen == 0).flatten(1).sum(1) for seen in (forth, back)]
    assert grey[0].max() == 0
    assert grey[1].min() >= 9  # px, the corner of a square that colour did not touch any more


@operations
def test_shape_and_type_stay_and_range_except_for_colour(name: str, real: Tensor) -> None:
    seen = augmenter([name], torch.Generator().manual_seed(2))(real.float())
    assert seen.shape == real.shape
    assert seen.dtype == torch.float32
    assert seen.abs().max() <= (2.25 if name == "colour" else 1)


def test_a_translation_reaches_an_eighth_of_each_side_and_no_further() -> None:
    columns = torch.arange(32.0).expand(500, 1, 16, 32)
    seen = OPERATIONS["translation"].apply(columns, noise(500, 2).float())
    moved = seen[:, 0, 8, 16] - 16
    assert sorted(set(moved.tolist())) == [*range(-4, 5)]


def test_half_of_all_images_are_mirrored() -> None:
    steps = torch.arange(8.0).expand(2000, 1, 8, 8)
    mirrored = OPERATIONS["flip"].apply(steps, noise(2000, 1).float())[:, 0, 0, 0] == 7
    assert 0.46 < mirrored.double().mean() < 0.54
