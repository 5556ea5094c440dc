"""Training of a classifier on pools of images for a fixed number of optimiser steps.

Each purpose (weights, mixup and CutMix, each pool) has its own random generator, derived from one seed. Arms that
differ only in the pixels of their images therefore have the same initial weights, draw the same real images and blend
them in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from torch import Tensor, nn

from augment.dataset.images import to_signed
from augment.errors import DivergedError
from classifiers.batches import Batch, class_counts, draw_batches, pool_priors
from classifiers.blending import blend, draw_blends
from classifiers.long_tail import LONG_TAIL
from classifiers.networks import NETWORKS, build
from classifiers.pools import SAMPLING, AnyPool, check_pools

WARM_UP = 0.2  # fraction of the steps
CHOICES: dict[str, Mapping[str, Any]] = {"network": NETWORKS, "sampling": SAMPLING, "long_tail": LONG_TAIL}


class ClassifierConfig(BaseModel):
    """Settings for training a classifier. The defaults were tuned on Fashion-MNIST at 20 images per class."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    network: str = "small"
    width: int | None = Field(None, ge=1, le=4096)  # None: the default of the network
    steps: int = Field(300, ge=1, le=10**8)
    batch_size: int = Field(64, ge=2, le=2**16)
    lr: float = Field(8e-3, gt=0, le=1)  # peak learning rate
    weight_decay: float = Field(0.05, ge=0, le=100)  # of AdamW; not applied to biases and norms
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    mixup: float = Field(0.4, ge=0, le=1000)  # alpha of Beta(alpha, alpha); 0 turns it off
    cutmix: float = Field(0.0, ge=0, le=1000)  # alpha too; if both are on, each batch uses one of them at random
    sampling: str = "plain"  # a key of `SAMPLING`: how often a class is drawn, given its number of images
    # a key of `LONG_TAIL`: how the training corrects for the imbalance that the sampling left. The default changes
    # nothing if the classes are equally large
    long_tail: str = "logit-adjustment"

    @field_validator(*CHOICES)
    @classmethod
    def _known(cls, value: str, info: ValidationInfo) -> str:
        names = CHOICES[info.field_name or ""]
        if value not in names:
            raise ValueError(f"expected one of {', '.join(names)}, got {value!r}")
        return value

    @model_validator(mode="after")
    def _has_mixup(self) -> Self:
        if LONG_TAIL[self.long_tail].needs_mixup and not self.mixup:
            raise ValueError(f"long_tail {self.long_tail} needs mixup above 0, got 0; set mixup, for example to 0.4")
        return self


def fit(
    pools: Sequence[AnyPool],
    num_classes: int,
    config: ClassifierConfig,
    *,
    seed: int,
    device: torch.device,
    model: nn.Module | None = None,
) -> nn.Module:
    """Train a network on `pools` and return it in eval mode on `device`. The global random state does not change.

    model: a `Classifier` on `device` that is trained further, in the mode that it is in; its last layer must suit the
    method `config.long_tail`. None: a new network, as `config.network` says.

    The loss of a batch is the sum of the weighted cross entropies of its images, divided by the batch size. A lower
    weight of some images therefore does not change the contribution of the others to the gradient. If the sum were
    divided by the sum of the weights instead, a weight of 0.5 for half of the batch would increase the contribution
    of the other half by a third. The method `config.long_tail` may change the cross entropies, the blended targets, the
    last layer and the trained network, whose logits are final: nothing is left to do at prediction.

    Raises `ConfigError` if the pools do not fit each other or the classes, `DivergedError` if the loss is not finite.
    """
    check_pools(pools, num_classes, config.steps)
    root = torch.Generator().manual_seed(seed)
    weights_seed, blend_seed, *pool_seeds = (_draw_seed(root) for _ in range(2 + len(pools)))
    channels, size = pools[0].image_shape[:2]
    method = LONG_TAIL[config.long_tail]
    if model is None:
        model = build(config.network, num_classes, channels, size, config.width, seed=weights_seed, head=method.head)
        model = model.to(device)
    phases = class_counts(pools, num_classes, config.steps, config.sampling)
    phases = [(n, counts.float().to(device)) for n, counts in phases]
    pools = [pool.to(device) for pool in pools]
    _optimise(model, training_batches(pools, phases, config, blend_seed, pool_seeds), config)
    if method.after_training is not None:
        method.after_training(model, phases[-1][1])
    return model.eval()


class TrainingBatch(NamedTuple):
    """A blended batch of B images with what the loss depends on."""

    images: Tensor  # float (B, C, H, W)
    target: Tensor  # float (B, K)
    counts: Tensor  # float (K,); the class counts of the phase
    prior: Tensor  # float (B, K); the class probabilities of each image's pool


def _optimise(model: nn.Module, batches: Iterator[TrainingBatch], config: ClassifierConfig) -> None:
    """Train the model on a batch for each step. Raises `DivergedError` if the loss is not finite."""
    method = LONG_TAIL[config.long_tail]
    optimiser = _adamw(model, config)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: warmup_cosine((step + 1) / (config.steps + 1)))
    loss = torch.zeros(())
    for step, batch in enumerate(batches):
        logits = model(batch.images.contiguous(memory_format=torch.channels_last))
        loss = method.loss_at(step / config.steps)(logits, batch.target, batch.counts, batch.prior)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    if not loss.isfinite():
        raise DivergedError(
            f"the classifier's loss is {loss.item()} after {config.steps} steps; lower lr ({config.lr})"
        )


def training_batches(
    pools: Sequence[AnyPool],
    phases: Sequence[tuple[int, Tensor]],
    config: ClassifierConfig,
    blend_seed: int,
    pool_seeds: Sequence[int],
) -> Iterator[TrainingBatch]:
    """Yield the batch of each step. phases: the number of steps and the class counts of each phase."""
    method, (_, counts) = LONG_TAIL[config.long_tail], phases[0]
    targets = [pool.targets(len(counts), config.label_smoothing) for pool in pools]
    priors = pool_priors(pools, len(counts), config.sampling).float().to(counts.device)
    cutmix, size = config.cutmix or method.cutmix, pools[0].image_shape[1]
    b, steps = config.batch_size, config.steps
    blends = draw_blends(
        config.mixup, cutmix, batch_size=b, size=size, steps=steps, seed=blend_seed, device=counts.device
    )
    batches = draw_batches(pools, targets, b, steps, pool_seeds, config.sampling)
    foregrounds = _foregrounds(pools, targets, phases, config, blend_seed)
    counts_of_steps = (of_phase for n, of_phase in phases for _ in range(n))
    for batch, parameters, counts, foreground in zip(batches, blends, counts_of_steps, foregrounds, strict=True):
        x, target, prior = batch.images, batch.target, priors[batch.pool]
        if parameters is not None:
            partners = batch if parameters.box is None or foreground is None else foreground
            label_lam = method.label_lam(parameters.lam, target, partners.target[parameters.partner], counts)
            prior = priors[partners.pool][parameters.partner].lerp(prior, parameters.lam)
            x, target = blend(x, target, parameters, partners=(partners.images, partners.target), label_lam=label_lam)
        yield TrainingBatch(x, target, counts, prior)


def _foregrounds(
    pools: Sequence[AnyPool],
    targets: Sequence[Tensor],
    phases: Sequence[tuple[int, Tensor]],
    config: ClassifierConfig,
    blend_seed: int,
) -> Iterator[Batch | None]:
    """Yield for each step the batch that CutMix pastes from; None if it pastes from the batch itself."""
    weights_of, root = LONG_TAIL[config.long_tail].foreground, torch.Generator().manual_seed(blend_seed)
    if weights_of is None:
        return repeat(None, config.steps)
    seeds = [_draw_seed(root) for _ in pools]
    weights = [of_class for n, counts in phases for of_class in repeat(weights_of(counts.cpu().double()), n)]
    return draw_batches(pools, targets, config.batch_size, config.steps, seeds, weights=weights)


def _draw_seed(root: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=root))


def _adamw(model: nn.Module, config: ClassifierConfig) -> torch.optim.Optimizer:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.99))


def warmup_cosine(t: float) -> float:
    """Return the learning rate at time t in [0, 1], relative to its peak: a linear warm-up, then a cosine to 0."""
    return t / WARM_UP if t < WARM_UP else 0.5 + 0.5 * math.cos(math.pi * (t - WARM_UP) / (1 - WARM_UP))


@torch.no_grad()
def predict(model: nn.Module, images: NDArray[np.uint8], *, batch_size: int = 128) -> Tensor:
    """Return logits, float32 (N, K), on the CPU. images: uint8, N x C x H x W. model: in eval mode, on any device."""
    device = next(model.parameters()).device
    return torch.cat(
        [
            model(to_signed(batch.to(device)).contiguous(memory_format=torch.channels_last)).float().cpu()
            for batch in torch.split(torch.from_numpy(np.ascontiguousarray(images)), batch_size)
        ]
    )
