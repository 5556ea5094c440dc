"""mixup and CutMix: blend each image of a batch with another one, and the targets in the same proportion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Blend(NamedTuple):
    """The parameters for blending one batch."""

    lam: float  # weight of each image; its partner has 1 - lam
    partner: Tensor  # int64, B; index of each image's partner, on the device of the batch
    box: tuple[int, int, int, int] | None  # (top, bottom, left, right) in px for CutMix, None for mixup


def blend(
    x: Tensor,
    target: Tensor,
    parameters: Blend,
    *,
    partners: tuple[Tensor, Tensor],
    label_lam: float | Tensor,
) -> tuple[Tensor, Tensor]:
    """Blend images (B, C, H, W) and targets, float (B, K), with those of their partners.

    mixup averages the pixels (Zhang et al., "mixup: Beyond Empirical Risk Minimization", arXiv 1710.09412). CutMix
    copies a box from the partner (Yun et al., "CutMix", arXiv 1905.04899, section 3.1). partners: the images and
    targets, of the same shapes, that `parameters.partner` indexes. label_lam: the weight of each image's own target in
    the blended one, a number or float (B, 1); it is lam in both papers.
    """
    lam, partner, box = parameters
    others, other_target = partners
    mixed = other_target[partner].lerp(target, label_lam)
    if box is None:
        return others[partner].lerp(x, lam), mixed
    top, bottom, left, right = box
    x = x.clone()
    x[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right][partner]
    return x, mixed


def draw_blends(
    mixup: float,
    cutmix: float,
    *,
    batch_size: int,
    size: int,
    steps: int,
    seed: int,
    device: torch.device | str = "cpu",
) -> Sequence[Blend | None]:
    """Draw the parameters for each step, with lam from Beta(alpha, alpha); None for every step if both are off.

    mixup, cutmix: their alphas; 0 turns one off. If both are on, each batch uses one of them with probability 1/2, as
    in timm (`switch_prob`) and in torchvision's reference training. size: side of the images in px. All partners are
    copied to `device` before the training, so that no step has to wait for a copy.
    """
    if not (mixup or cutmix):
        return [None] * steps
    rng, blends = np.random.default_rng(seed), []
    for _ in range(steps):
        cut = bool(cutmix) and (not mixup or rng.random() < 0.5)
        alpha = cutmix if cut else mixup
        lam, partner = rng.beta(alpha, alpha), torch.from_numpy(rng.permutation(batch_size))
        blends.append(_draw_box(lam, size, rng, partner) if cut else Blend(lam, partner, None))
    partners = torch.stack([parameters.partner for parameters in blends]).to(device)
    return [parameters._replace(partner=partner) for parameters, partner in zip(blends, partners, strict=True)]


def _draw_box(lam: float, size: int, rng: np.random.Generator, partner: Tensor) -> Blend:
    """Draw a square box with 1 - lam of the image's area and a random centre, and clip it at the image's border.

    The lam of the result is the fraction of the image outside the clipped box.
    """
    half_side = size * math.sqrt(1 - lam) / 2
    centre = rng.uniform(0, size, 2)
    start, stop = np.clip(np.round(centre - half_side), 0, size), np.clip(np.round(centre + half_side), 0, size)
    box = (int(start[0]), int(stop[0]), int(start[1]), int(stop[1]))
    area = (box[1] - box[0]) * (box[3] - box[2])
    return Blend(1 - area / size**2, partner, box)
