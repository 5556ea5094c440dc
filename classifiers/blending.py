"""mixup and CutMix: each image of a batch blended with a partner, and its target in the same proportion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Blend(NamedTuple):
    """How one batch is blended: lam of each image stays; box is (top, bottom, left, right) in px, None for mixup."""

    lam: float
    partner: Tensor  # int64, B; on the batch's device
    box: tuple[int, int, int, int] | None


def blend(x: Tensor, target: Tensor, how: Blend) -> tuple[Tensor, Tensor]:
    """lam of each image and target and 1 - lam of its partner's. x: (B, C, H, W); target: (B, K), float.

    Sources: Zhang et al., "mixup: Beyond Empirical Risk Minimization", arXiv 1710.09412; with a box, which shows the
    partner, Yun et al., "CutMix", arXiv 1905.04899, section 3.1.
    """
    mixed = target[how.partner].lerp(target, how.lam)
    if how.box is None:
        return x[how.partner].lerp(x, how.lam), mixed
    top, bottom, left, right = how.box
    x = x.clone()
    x[:, :, top:bottom, left:right] = x[:, :, top:bottom, left:right][how.partner]
    return x, mixed


def draw_blends(
    mixup: float, cutmix: float, batch_size: int, size: int, steps: int, seed: int, device: torch.device | str = "cpu"
) -> Sequence[Blend | None]:
    """A blend a step, lam from Beta(alpha, alpha) of the kind that is on; None where neither is.

    mixup, cutmix: alpha, 0 is off; with both on each batch takes one of them with probability 1/2, as timm (its
    `switch_prob`) and torchvision's reference training do. size: px. The partners go to `device` at once, ahead of the
    steps, which would otherwise wait for each of them.
    """
    if not (mixup or cutmix):
        return [None] * steps
    rng, blends = np.random.default_rng(seed), []
    for _ in range(steps):
        cut = bool(cutmix) and (not mixup or rng.random() < 0.5)
        alpha = cutmix if cut else mixup
        lam, partner = rng.beta(alpha, alpha), torch.from_numpy(rng.permutation(batch_size))
        blends.append(_cut(lam, size, rng, partner) if cut else Blend(lam, partner, None))
    partners = torch.stack([how.partner for how in blends]).to(device)
    return [how._replace(partner=partner) for how, partner in zip(blends, partners, strict=True)]


def _cut(lam: float, size: int, rng: np.random.Generator, partner: Tensor) -> Blend:
    """A square box of 1 - lam of the image about a random centre, cut off at its border; lam is what is left."""
    reach = size * math.sqrt(1 - lam) / 2
    centre = rng.uniform(0, size, 2)
    begin, end = np.clip(np.round(centre - reach), 0, size), np.clip(np.round(centre + reach), 0, size)
    box = (int(begin[0]), int(end[0]), int(begin[1]), int(end[1]))
    area = (box[1] - box[0]) * (box[3] - box[2])
    return Blend(1 - area / size**2, partner, box)
