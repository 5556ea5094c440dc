"""Gradient penalties on D in image space: `PENALTIES`. They are terms of L_D alone and touch detached images only.

Each is a function of D as `critic`: (images, labels) -> logits (B,), of a batch of images (B, C, H, W) in [-1, 1], and
of a generator for what it draws. It returns a scalar with a graph to D's parameters, by a second derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

Critic = Callable[[Tensor, Tensor], Tensor]


class Batch(NamedTuple):
    """Real and fake images, detached, (B, C, H, W), with their labels, int64 (B,)."""

    real: Tensor
    real_labels: Tensor
    fake: Tensor
    fake_labels: Tensor


def _pixel_gradients(critic: Critic, images: Tensor, labels: Tensor) -> Tensor:
    """Gradient of each sample's logit at its own image, (B, C * H * W), to be differentiated again."""
    leaf = images.detach().requires_grad_()
    logits = critic(leaf, labels)
    gradients: Tensor = torch.autograd.grad(logits.sum(), leaf, create_graph=True)[0]
    return gradients.flatten(1)


def r1(critic: Critic, batch: Batch, random: torch.Generator) -> Tensor:
    """Half the mean squared norm of D's gradient at real images (Mescheder et al., arXiv 1801.04406, eq. 9)."""
    return (_pixel_gradients(critic, batch.real, batch.real_labels) ** 2).sum(1).mean() / 2


def r2(critic: Critic, batch: Batch, random: torch.Generator) -> Tensor:
    """The same at fake images, which are constants here (Mescheder et al., arXiv 1801.04406, eq. 10)."""
    return (_pixel_gradients(critic, batch.fake, batch.fake_labels) ** 2).sum(1).mean() / 2


def gradient_penalty(critic: Critic, batch: Batch, random: torch.Generator) -> Tensor:
    """Mean (norm - 1)^2 of D's gradient between real and fake images, under the real ones' labels.

    Source: Gulrajani et al., Improved Training of Wasserstein GANs, arXiv 1704.00028, algorithm 1.
    """
    u = torch.rand(len(batch.real), 1, 1, 1, generator=random, device=batch.real.device, dtype=batch.real.dtype)
    between = torch.lerp(batch.fake.to(batch.real.dtype), batch.real, u)
    norms: Tensor = torch.linalg.vector_norm(_pixel_gradients(critic, between, batch.real_labels), dim=1)
    return ((norms - 1) ** 2).mean()


PENALTIES: dict[str, Callable[[Critic, Batch, torch.Generator], Tensor]] = {
    "r1": r1,
    "r2": r2,
    "gradient-penalty": gradient_penalty,
}


def weighted(weights: Mapping[str, float], critic: Critic, random: torch.Generator) -> Callable[[Batch], Tensor]:
    """The sum of the named penalties, each times its weight, as a function of the batch."""

    def penalty(batch: Batch) -> Tensor:
        parts = [weight * PENALTIES[name](critic, batch, random) for name, weight in weights.items()]
        return torch.stack(parts).sum()

    return penalty
