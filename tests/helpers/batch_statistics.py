"""Batch norms of a generator: the statistics that they hold, against those of one large batch, computed by hand."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from augment.gan.networks import Shape


def statistics_of(generator: nn.Module, shape: Shape, count: int = 6000) -> list[tuple[Tensor, Tensor]]:
    """(mean, variance) of what reaches each batch norm in one large batch, by hand."""
    seen: list[tuple[Tensor, Tensor]] = []
    watched = copy.deepcopy(generator).train()
    for module in watched.modules():
        if isinstance(module, nn.BatchNorm2d):

            def look(_: nn.Module, inputs: tuple[Tensor]) -> None:
                values = inputs[0].double().transpose(0, 1).flatten(1)
                seen.append((values.mean(1), ((values - values.mean(1, keepdim=True)) ** 2).mean(1)))

            module.register_forward_pre_hook(look)
    rng = torch.Generator().manual_seed(77)
    y = torch.arange(count) % shape.num_classes
    with torch.no_grad():
        watched(torch.randn(count, shape.latent_dim, generator=rng), y)
    return seen


def distance(generator: nn.Module, expected: list[tuple[Tensor, Tensor]]) -> float:
    """The largest deviation of G's running statistics from `expected`, in standard deviations."""
    norms = [m for m in generator.modules() if isinstance(m, nn.BatchNorm2d)]
    deviations = []
    for norm, (mean, variance) in zip(norms, expected, strict=True):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        deviations += [(norm.running_mean - mean).abs() / variance.sqrt(), (norm.running_var / variance - 1).abs()]
    return float(torch.cat(deviations).max())
