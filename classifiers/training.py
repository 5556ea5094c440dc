"""Training of a classifier on pools of images, counted in optimiser steps.

A pool is a bank of views of one set of images. Every batch draws its share from each pool, with the classes evenly
represented whatever the imbalance, and one random view of each image drawn. The seed gives each purpose (weights,
mixup, each pool) a generator of its own, and all draws are made ahead, on the CPU: arms that differ in their images
only begin with the same weights and draw the same real images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from augment.errors import ConfigError, DivergedError
from augment.images import to_signed
from classifiers.networks import NETWORKS, build

WARM_UP = 0.2  # of the steps


class FitConfig(BaseModel):
    """How a classifier is trained. The defaults were tuned on Fashion-MNIST at 20 images a class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: str = "small"
    width: int | None = Field(None, ge=1)  # None: the network's own
    steps: int = Field(300, ge=1)
    batch_size: int = Field(64, ge=2)
    lr: float = Field(8e-3, gt=0)  # at its peak
    weight_decay: float = Field(0.05, ge=0)  # AdamW's; not of biases and norms
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    mixup: float = Field(0.4, ge=0)  # alpha of Beta(alpha, alpha); 0 turns it off

    @field_validator("network")
    @classmethod
    def _known(cls, network: str) -> str:
        if network not in NETWORKS:
            raise ValueError(f"unknown network {network!r}; known are {', '.join(NETWORKS)}")
        return network


@dataclass(frozen=True)
class Pool:
    """Images to draw from.

    views: uint8, V x N x C x H x W; V = 1 for the plain images. targets: int64, N. share: the proportion of each batch
    that comes from this pool; over all pools the shares add to 1.
    """

    views: Tensor
    targets: Tensor
    share: float = 1.0


def fit(pools: Sequence[Pool], num_classes: int, config: FitConfig, *, seed: int, device: torch.device) -> nn.Module:
    """A network trained on `pools`, in eval mode, on `device`. The global random state is left as it was.

    Raises `ConfigError` if the pools do not fit each other or the classes, `DivergedError` if the loss is not finite.
    """
    _check(pools, num_classes)
    root = torch.Generator().manual_seed(seed)
    weights_seed, mixup_seed, *pool_seeds = (_derive(root) for _ in range(2 + len(pools)))
    channels, size = pools[0].views.shape[2:4]
    model = build(config.network, num_classes, channels, size, config.width, seed=weights_seed).to(device)
    pools = [Pool(p.views.to(device), p.targets.to(device), p.share) for p in pools]

    optimiser = _adamw(model, config)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: one_cycle((step + 1) / (config.steps + 1)))
    mixing = mixup_draws(config, mixup_seed)
    loss = torch.zeros(())
    for x, y in _batches(pools, config, pool_seeds):
        target = one_hot(y, num_classes).float()
        if config.mixup:
            lam, partner = next(mixing)
            x, target = mixup(x, target, lam, partner.to(device))
        loss = cross_entropy(
            model(x.contiguous(memory_format=torch.channels_last)), target, label_smoothing=config.label_smoothing
        )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    if not loss.isfinite():
        raise DivergedError(
            f"the classifier's loss is {loss.item()} after {config.steps} steps; lower lr ({config.lr})"
        )
    return model.eval()


def _check(pools: Sequence[Pool], num_classes: int) -> None:
    if not math.isclose(sum(p.share for p in pools), 1.0, abs_tol=1e-6) or min(p.share for p in pools) < 0:
        raise ConfigError(f"the shares of the pools must add to 1, got {[p.share for p in pools]}")
    for p in pools:
        if p.views.ndim != 5 or p.views.shape[2:] != pools[0].views.shape[2:]:
            shapes = [tuple(q.views.shape) for q in pools]
            raise ConfigError(f"expected views of shape V x N x C x H x W, alike in C x H x W, got {shapes}")
        if p.targets.shape != p.views.shape[1:2] or not len(p.targets):
            raise ConfigError(f"expected one label for each of {p.views.shape[1]} images, got {tuple(p.targets.shape)}")
        if p.targets.min() < 0 or p.targets.max() >= num_classes:
            raise ConfigError(f"expected labels 0 to {num_classes - 1}, got {p.targets.min()} to {p.targets.max()}")


def _derive(root: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=root))


def _adamw(model: nn.Module, config: FitConfig) -> torch.optim.Optimizer:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.99))


def one_cycle(t: float) -> float:
    """The learning rate at time t in [0, 1], in units of its peak: a linear rise for a fifth, then a cosine to 0."""
    return t / WARM_UP if t < WARM_UP else 0.5 + 0.5 * math.cos(math.pi * (t - WARM_UP) / (1 - WARM_UP))


def mixup(x: Tensor, target: Tensor, lam: float, partner: Tensor) -> tuple[Tensor, Tensor]:
    """lam of each image and target, 1 - lam of its partner's; x: (B, C, H, W), target: (B, K), partner: int64 (B,).

    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", arXiv 1710.09412.
    """
    return x[partner].lerp(x, lam), target[partner].lerp(target, lam)


def mixup_draws(config: FitConfig, seed: int) -> Iterator[tuple[float, Tensor]]:
    """lam and partner for each step: lam from Beta(alpha, alpha), partner a permutation of the batch."""
    rng = np.random.default_rng(seed)
    for _ in range(config.steps):
        yield rng.beta(config.mixup, config.mixup), torch.from_numpy(rng.permutation(config.batch_size))


def batch_counts(shares: Sequence[float], batch_size: int, steps: int) -> Tensor:
    """How many images of each batch come from each pool: int64, steps x pools; rows add to `batch_size`.

    What rounding takes from a share in one batch it gives back in another, so that small shares are met too.
    """
    ends = torch.tensor(shares, dtype=torch.float64).cumsum(0) * batch_size  # of each pool's part of the batch
    reached = (torch.arange(steps + 1)[:, None] * ends).round().long()
    return reached.diff(dim=0).diff(dim=1, prepend=torch.zeros(steps, 1, dtype=torch.long))


def draw_evenly(targets: Tensor, counts: Tensor, generator: torch.Generator) -> Tensor:
    """Which images each batch takes: int64 positions in `targets`, counts.sum() of them, batch after batch.

    Within a batch the classes that occur in `targets` differ by at most one image; within a class every image is drawn
    once, in random order, before any is drawn again. counts: int64, steps.
    """
    classes = targets.bincount().nonzero().squeeze(1)
    k = len(classes)
    order = torch.cat([torch.randperm(k, generator=generator).repeat(-(-n // k))[:n] for n in counts.tolist()])
    drawn = torch.empty_like(order)
    for j, c in enumerate(classes):
        members = (targets == c).nonzero().squeeze(1)
        places = (order == j).nonzero().squeeze(1)
        passes = torch.rand(-(-len(places) // len(members)), len(members), generator=generator).argsort(1)
        drawn[places] = members[passes.flatten()[: len(places)]]
    return drawn


def _batches(pools: Sequence[Pool], config: FitConfig, seeds: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """config.steps batches, pool after pool: images, float (B, C, H, W) in [-1, 1], and labels, int64 (B,)."""
    counts = batch_counts([p.share for p in pools], config.batch_size, config.steps)
    draws = []
    for pool, per_batch, seed in zip(pools, counts.T, seeds, strict=True):
        generator = torch.Generator().manual_seed(seed)
        image = draw_evenly(pool.targets.cpu(), per_batch, generator)
        view = (torch.rand(len(image), generator=generator) * len(pool.views)).long()
        device, sizes = pool.views.device, per_batch.tolist()
        draws.append(zip(torch.split(view.to(device), sizes), torch.split(image.to(device), sizes), strict=True))
    for step in zip(*draws, strict=True):
        images = [pool.views[view, image] for pool, (view, image) in zip(pools, step, strict=True)]
        labels = [pool.targets[image] for pool, (_, image) in zip(pools, step, strict=True)]
        yield to_signed(torch.cat(images)), torch.cat(labels)


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, *, batch_size: int = 128) -> Tensor:
    """Logits, float32 (N, K), on the CPU. images: uint8, N x C x H x W, on any device; the model in eval mode."""
    device = next(model.parameters()).device
    return torch.cat(
        [
            model(to_signed(batch.to(device)).contiguous(memory_format=torch.channels_last)).float().cpu()
            for batch in torch.split(images, batch_size)
        ]
    )
