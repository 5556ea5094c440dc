"""Gradient penalties on D in image space: `PENALTIES`. They belong to L_D alone and use detached images only.

A penalty is a function of a critic, a batch and a random generator. The critic is D, possibly behind augmentation: it
maps images (B, C, H, W) in [-1, 1] and labels to logits (B,). The result is a scalar that autograd can differentiate
with respect to D's parameters (a second derivative).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

Critic = Callable[[Tensor, Tensor], Tensor]


class Batch(NamedTuple):
    """Real and fake images, detached, (B, C, H, W) in [-1, 1], with their labels, int64 (B,)."""

    real: Tensor
    real_labels: Tensor
    fake: Tensor
    fake_labels: Tensor


def _pixel_gradients(critic: Critic, images: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient of each logit with respect to its own image, (B, C * H * W), differentiable again."""
    leaf = images.detach().requires_grad_()
    logits = critic(leaf, labels)
    gradients: Tensor = torch.autograd.grad(logits.sum(), leaf, create_graph=True)[0]
    return gradients.flatten(1)


def r1(critic: Critic, batch: Batch, rng: torch.Generator) -> Tensor:
    """Return half the mean squared norm of D's gradient at real images (Mescheder et al., arXiv 1801.04406, eq. 9)."""
    return (_pixel_gradients(critic, batch.real, batch.real_labels) ** 2).sum(1).mean() / 2


def r2(critic: Critic, batch: Batch, rng: torch.Generator) -> Tensor:
    """Return the same as `r1` at fake images, taken as constants (Mescheder et al., arXiv 1801.04406, eq. 10)."""
    return (_pixel_gradients(critic, batch.fake, batch.fake_labels) ** 2).sum(1).mean() / 2


def gradient_penalty(critic: Critic, batch: Batch, rng: torch.Generator) -> Tensor:
    """Return the mean of (norm - 1)^2 of D's gradient between real and fake images, with the labels of the real ones.

    Source: Gulrajani et al., Improved Training of Wasserstein GANs, arXiv 1704.00028, algorithm 1.
    """
    u = torch.rand(len(batch.real), 1, 1, 1, generator=rng, device=batch.real.device, dtype=batch.real.dtype)
    between = torch.lerp(batch.fake.to(batch.real.dtype), batch.real, u)
    norms: Tensor = torch.linalg.vector_norm(_pixel_gradients(critic, between, batch.real_labels), dim=1)
    return ((norms - 1) ** 2).mean()


PENALTIES: dict[str, Callable[[Critic, Batch, torch.Generator], Tensor]] = {
    "r1": r1,
    "r2": r2,
    "gradient-penalty": gradient_penalty,
}


def weighted_sum(weights: Mapping[str, float], critic: Critic, rng: torch.Generator) -> Callable[[Batch], Tensor]:
    """Return a function that maps a batch to the sum of the named penalties, each multiplied by its weight."""

    def penalty(batch: Batch) -> Tensor:
        values = [weight * PENALTIES[name](critic, batch, rng) for name, weight in weights.items()]
        return torch.stack(values).sum()

    return penalty
