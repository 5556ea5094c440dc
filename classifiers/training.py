"""Training of a classifier on pools of images, counted in optimiser steps.

The seed gives each purpose (weights, mixup and CutMix, each pool) a generator of its own, so that arms that differ in
their images only begin with the same weights, draw the same real images and blend them alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from augment.dataset.images import to_signed
from augment.errors import DivergedError
from classifiers.batches import SAMPLING, Pool, check, draw_batches
from classifiers.blending import blend, draw_blends
from classifiers.networks import NETWORKS, build

WARM_UP = 0.2  # of the steps


class FitConfig(BaseModel):
    """How a classifier is trained. The defaults were tuned on Fashion-MNIST at 20 images a class."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    network: str = "small"
    width: int | None = Field(None, ge=1, le=4096)  # None: the network's own
    steps: int = Field(300, ge=1, le=10**8)
    batch_size: int = Field(64, ge=2, le=2**16)
    lr: float = Field(8e-3, gt=0, le=1)  # at its peak
    weight_decay: float = Field(0.05, ge=0, le=100)  # AdamW's; not of biases and norms
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    mixup: float = Field(0.4, ge=0, le=1000)  # alpha of Beta(alpha, alpha); 0 turns it off
    cutmix: float = Field(0.0, ge=0, le=1000)  # the same; with both on, each batch takes one of them by lot
    sampling: str = "balanced"  # how often a class is drawn, by its number of images

    @field_validator("network", "sampling")
    @classmethod
    def _known(cls, value: str, info: ValidationInfo) -> str:
        names = NETWORKS if info.field_name == "network" else SAMPLING
        if value not in names:
            raise ValueError(f"expected one of {', '.join(names)}, got {value!r}")
        return value


def fit(pools: Sequence[Pool], num_classes: int, config: FitConfig, *, seed: int, device: torch.device) -> nn.Module:
    """A network trained on `pools`, in eval mode, on `device`. The global random state is left as it was.

    The loss of a batch is the sum of its images' weighted cross entropies over the batch size: a lower weight of some
    takes nothing from the gradient of the others and is not made up for. Over the sum of the weights, a weight of 0.5
    in half of the batch would raise the others' gradient by a third.

    Raises `ConfigError` if the pools do not fit each other or the classes, `DivergedError` if the loss is not finite.
    """
    check(pools, num_classes, config.steps)
    root = torch.Generator().manual_seed(seed)
    weights_seed, blend_seed, *pool_seeds = (_derive(root) for _ in range(2 + len(pools)))
    channels, size = pools[0].views.shape[2:4]
    model = build(config.network, num_classes, channels, size, config.width, seed=weights_seed).to(device)
    pools = [pool.to(device) for pool in pools]
    targets = [pool.targets(num_classes, config.label_smoothing) for pool in pools]

    optimiser = _adamw(model, config)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: one_cycle((step + 1) / (config.steps + 1)))
    blends = draw_blends(config.mixup, config.cutmix, config.batch_size, size, config.steps, blend_seed, device)
    loss = torch.zeros(())
    batches = draw_batches(pools, targets, config.batch_size, config.steps, pool_seeds, config.sampling)
    for (x, target), how in zip(batches, blends, strict=True):
        if how is not None:
            x, target = blend(x, target, how)
        loss = cross_entropy(model(x.contiguous(memory_format=torch.channels_last)), target)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    if not loss.isfinite():
        raise DivergedError(
            f"the classifier's loss is {loss.item()} after {config.steps} steps; lower lr ({config.lr})"
        )
    return model.eval()


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
