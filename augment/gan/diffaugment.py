"""Differentiable augmentation of what D sees, real and fake alike (Zhao et al., "Differentiable Augmentation for
Data-Efficient GAN Training", arXiv 2006.10738): it keeps D from memorising a small set and does not leak into samples.

An operation draws its random numbers for n samples apart from applying them, so that a draw can be repeated, and each
sample has numbers of its own, so that D still maps samples one by one. Images are float, (B, C, H, W), in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Operation(NamedTuple):
    """draw: n samples' numbers, float (n, k) in [0, 1), become `numbers` of apply(images, numbers)."""

    numbers: int
    apply: Callable[[Tensor, Tensor], Tensor]


def _column(numbers: Tensor, k: int) -> Tensor:
    return numbers[:, k].view(-1, 1, 1, 1)


def colour(x: Tensor, u: Tensor) -> Tensor:
    """Brightness +- 0.5, saturation x 0 to 2, contrast x 0.5 to 1.5, in that order."""
    x = x + (_column(u, 0) - 0.5)
    if x.shape[1] > 1:
        mean = x.mean(1, keepdim=True)
        x = torch.lerp(mean, x, _column(u, 1) * 2)
    mean = x.mean((1, 2, 3), keepdim=True)
    return torch.lerp(mean, x, _column(u, 2) + 0.5)


def translation(x: Tensor, u: Tensor) -> Tensor:
    """Shift by up to an eighth of each side, rounded to whole pixels; the border's colours come in."""
    _, _, height, width = x.shape
    rows = _shifted(height, u[:, 0])[:, None, :, None].expand(-1, x.shape[1], -1, width)
    columns = _shifted(width, u[:, 1])[:, None, None, :].expand(-1, x.shape[1], height, -1)
    return x.gather(2, rows).gather(3, columns)


def _shifted(side: int, u: Tensor) -> Tensor:
    reach = max(int(side / 8 + 0.5), 1)
    shift = (u * (2 * reach + 1)).floor().long() - reach
    return (torch.arange(side, device=u.device) + shift[:, None]).clamp_(0, side - 1)


def cutout(x: Tensor, u: Tensor) -> Tensor:
    """Grey out one square of half the side, placed anywhere, beyond the edges too."""
    _, _, height, width = x.shape
    inside = _covered(height, u[:, 0])[:, None, :, None] & _covered(width, u[:, 1])[:, None, None, :]
    return x.masked_fill(inside, 0.0)


def _covered(side: int, u: Tensor) -> Tensor:
    centre = (u * (side + 1)).floor()[:, None]
    offset = torch.arange(side, device=u.device) - centre
    return (offset >= -(side // 4)) & (offset < side // 4)


def flip(x: Tensor, u: Tensor) -> Tensor:
    """Mirror every second image, left to right; only for classes that look the same mirrored."""
    return torch.where(_column(u, 0) < 0.5, x.flip(3), x)


POLICIES: dict[str, Operation] = {
    "colour": Operation(3, colour),
    "translation": Operation(2, translation),
    "cutout": Operation(2, cutout),
    "flip": Operation(1, flip),
}


def augmenter(policy: Sequence[str], random: torch.Generator) -> Callable[[Tensor], Tensor]:
    """A function that applies the operations of `policy` in order, each with fresh numbers from `random`."""
    operations = [POLICIES[name] for name in policy]

    def augment(images: Tensor) -> Tensor:
        for operation in operations:
            numbers = torch.rand(len(images), operation.numbers, generator=random, device=images.device)
            images = operation.apply(images, numbers)
        return images

    return augment
