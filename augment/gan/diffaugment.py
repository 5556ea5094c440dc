"""Differentiable augmentation of all images that D sees, real and fake.

Source: Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", arXiv 2006.10738. It keeps D from
memorising a small training set, and the augmentation does not leak into the generated images.

Random numbers are drawn separately from their use, so that a draw can be repeated. Each sample has its own numbers, so
that D still treats every sample independently. Images are float, (B, C, H, W), in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Operation(NamedTuple):
    """An augmentation and the count of random numbers that it needs."""

    uniforms: int  # per sample
    apply: Callable[[Tensor, Tensor], Tensor]  # (images, random numbers: float (B, `uniforms`) in [0, 1)) -> images


def _column(uniforms: Tensor, k: int) -> Tensor:
    return uniforms[:, k].view(-1, 1, 1, 1)


def colour(x: Tensor, u: Tensor) -> Tensor:
    """Shift the brightness by up to 0.5, then scale the saturation by 0 to 2 and the contrast by 0.5 to 1.5."""
    x = x + (_column(u, 0) - 0.5)
    if x.shape[1] > 1:
        mean = x.mean(1, keepdim=True)
        x = torch.lerp(mean, x, _column(u, 1) * 2)
    mean = x.mean((1, 2, 3), keepdim=True)
    return torch.lerp(mean, x, _column(u, 2) + 0.5)


def translation(x: Tensor, u: Tensor) -> Tensor:
    """Shift images by up to an eighth of each side, in whole pixels; border pixels are repeated to fill the gap."""
    _, _, height, width = x.shape
    rows = _shifted_indices(height, u[:, 0])[:, None, :, None].expand(-1, x.shape[1], -1, width)
    columns = _shifted_indices(width, u[:, 1])[:, None, None, :].expand(-1, x.shape[1], height, -1)
    return x.gather(2, rows).gather(3, columns)


def _shifted_indices(side: int, u: Tensor) -> Tensor:
    """Return int64 (B, side): for each output pixel along one axis, the index of the input pixel."""
    max_shift = max(int(side / 8 + 0.5), 1)
    shift = (u * (2 * max_shift + 1)).floor().long() - max_shift
    return (torch.arange(side, device=u.device) + shift[:, None]).clamp_(0, side - 1)


def cutout(x: Tensor, u: Tensor) -> Tensor:
    """Set one box to grey, with half the image's sides and a random centre; it may reach beyond the edges."""
    _, _, height, width = x.shape
    box = _box_mask(height, u[:, 0])[:, None, :, None] & _box_mask(width, u[:, 1])[:, None, None, :]
    return x.masked_fill(box, 0.0)


def _box_mask(side: int, u: Tensor) -> Tensor:
    """Return bool (B, side): whether the box covers each pixel along one axis."""
    centre = (u * (side + 1)).floor()[:, None]
    offset = torch.arange(side, device=u.device) - centre
    return (offset >= -(side // 4)) & (offset < side // 4)


def flip(x: Tensor, u: Tensor) -> Tensor:
    """Mirror each image left to right with probability 1/2; only for classes that look the same when mirrored."""
    return torch.where(_column(u, 0) < 0.5, x.flip(3), x)


OPERATIONS: dict[str, Operation] = {
    "colour": Operation(3, colour),
    "translation": Operation(2, translation),
    "cutout": Operation(2, cutout),
    "flip": Operation(1, flip),
}


def augmenter(policy: Sequence[str], rng: torch.Generator) -> Callable[[Tensor], Tensor]:
    """Return a function that applies the operations of `policy` in order, with fresh numbers from `rng`."""
    operations = [OPERATIONS[name] for name in policy]

    def augment(images: Tensor) -> Tensor:
        for operation in operations:
            u = torch.rand(len(images), operation.uniforms, generator=rng, device=images.device)
            images = operation.apply(images, u)
        return images

    return augment
