"""Pools of images and the batches drawn from them.

A pool is a bank of views of one set of images. Every batch draws its share from each pool, its classes by a policy
against imbalance and one random view of each image drawn. All draws are made ahead, on the CPU, from a seed of the
pool's own: arms that differ in their images only draw the same real images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from augment.dataset.images import to_signed
from augment.errors import ConfigError

# q of the probability of a class, proportional to its number of images to the power of q (Kang et al., "Decoupling
# Representation and Classifier for Long-Tailed Recognition", ICLR 2020, section 3)
SAMPLING = {"plain": 1.0, "square-root": 0.5, "balanced": 0.0}


@dataclass(frozen=True)
class Pool:
    """Images to draw from.

    views: uint8, V x N x C x H x W; V = 1 for the plain images. labels: int64, N: the classes that are drawn by.
    share: the proportion of each batch that comes from this pool; over all pools the shares add to 1. soft: float,
    N x K, target probabilities in place of the labels. weights: float, N, what each image counts in the loss. span: the
    part of the training in which the pool is drawn from, in shares of its steps: where pools are missing, the shares of
    the others are scaled up to 1.
    """

    views: Tensor
    labels: Tensor
    share: float = 1.0
    soft: Tensor | None = None
    weights: Tensor | None = None
    span: tuple[float, float] = (0.0, 1.0)

    def targets(self, num_classes: int, smoothing: float) -> Tensor:
        """What each image is to be taken for, times what it counts: float, N x K.

        (1 - s) t + s / K for smoothing s. Weights are folded in, as the cross entropy is linear in its targets; so is
        mixup in them.
        """
        hard = one_hot(self.labels, num_classes).float()
        target = hard if self.soft is None else self.soft.float()
        target = (1 - smoothing) * target + smoothing / num_classes if smoothing else target
        return target if self.weights is None else target * self.weights[:, None]

    def to(self, device: torch.device) -> Pool:
        """The same pool on another device."""
        soft, weights = (None if t is None else t.to(device) for t in (self.soft, self.weights))
        return Pool(self.views.to(device), self.labels.to(device), self.share, soft, weights, self.span)


def check(pools: Sequence[Pool], num_classes: int, steps: int) -> None:
    """Raise `ConfigError` if the pools do not fit each other, the classes or the steps."""
    if not math.isclose(sum(p.share for p in pools), 1.0, abs_tol=1e-6) or min(p.share for p in pools) < 0:
        raise ConfigError(f"the shares of the pools must add to 1, got {[p.share for p in pools]}")
    for p in pools:
        if p.views.ndim != 5 or p.views.shape[2:] != pools[0].views.shape[2:]:
            shapes = [tuple(q.views.shape) for q in pools]
            raise ConfigError(f"expected views of shape V x N x C x H x W, alike in C x H x W, got {shapes}")
        if p.views.shape[3] != p.views.shape[4]:
            raise ConfigError(f"expected square images, got {p.views.shape[3]} x {p.views.shape[4]} px")
        count = p.views.shape[1]
        if p.labels.shape != (count,) or not count:
            raise ConfigError(f"expected one label for each of {count} images, got {tuple(p.labels.shape)}")
        if p.labels.min() < 0 or p.labels.max() >= num_classes:
            raise ConfigError(f"expected labels 0 to {num_classes - 1}, got {p.labels.min()} to {p.labels.max()}")
        if p.soft is not None and (p.soft.shape != (count, num_classes) or not _off_one(p.soft) < 1e-4):
            raise ConfigError(f"expected soft labels of shape {count} x {num_classes} with rows that add to 1")
        if p.weights is not None and (p.weights.shape != (count,) or not _usable(p.weights)):
            raise ConfigError(f"expected {count} finite weights of 0 or more, got {tuple(p.weights.shape)}")
        if not 0 <= p.span[0] < p.span[1] <= 1 or (p.share and not _steps_of(p, steps)):
            raise ConfigError(f"expected spans within 0 to 1 that hold one of {steps} steps, got {p.span}")
    for begin, end, active in _stretches(pools, steps):
        if not sum(pools[i].share for i in active):
            raise ConfigError(f"steps {begin} to {end} have no pool to draw from: the spans leave a gap")


def _off_one(soft: Tensor) -> float:
    return float((soft.sum(1) - 1).abs().max() + soft.min().clamp(max=0).abs())


def _usable(weights: Tensor) -> bool:
    return bool(((weights >= 0) & weights.isfinite()).all())


def _steps_of(pool: Pool, steps: int) -> range:
    begin, end = pool.span
    return range(round(begin * steps), round(end * steps))


def _stretches(pools: Sequence[Pool], steps: int) -> list[tuple[int, int, list[int]]]:
    """(first step, step after the last, which pools are drawn from), one after the other."""
    spans = [_steps_of(pool, steps) for pool in pools]
    cuts = sorted({0, steps, *(s.start for s in spans), *(s.stop for s in spans)})
    return [(begin, end, [i for i, span in enumerate(spans) if begin in span]) for begin, end in pairwise(cuts)]


def pool_counts(pools: Sequence[Pool], batch_size: int, steps: int) -> Tensor:
    """How many images of each batch come from each pool: int64, steps x pools; rows add to `batch_size`."""
    counts = torch.zeros(steps, len(pools), dtype=torch.long)
    for begin, end, active in _stretches(pools, steps):
        whole = sum(pools[i].share for i in active) if len(active) < len(pools) else 1.0  # not 1 but for rounding
        counts[begin:end, active] = batch_counts([pools[i].share / whole for i in active], batch_size, end - begin)
    return counts


def batch_counts(shares: Sequence[float], batch_size: int, steps: int) -> Tensor:
    """`pool_counts` of pools with these shares, all drawn from in all steps.

    What rounding takes from a share in one batch it gives back in another, so that small shares are met too.
    """
    ends = torch.tensor(shares, dtype=torch.float64).cumsum(0) * batch_size  # of each pool's part of the batch
    reached = (torch.arange(steps + 1)[:, None] * ends).round().long()
    return reached.diff(dim=0).diff(dim=1, prepend=torch.zeros(steps, 1, dtype=torch.long))


def draw(labels: Tensor, counts: Tensor, sampling: str, generator: torch.Generator) -> Tensor:
    """Which images each batch takes: int64 positions in `labels`, counts.sum() of them, batch after batch.

    Within a batch every class that occurs in `labels` has its share by `SAMPLING`, rounded up or down by lot; within a
    class every image is drawn once, in random order, before any is drawn again. counts: int64, steps.
    """
    classes = labels.bincount().nonzero().squeeze(1)
    shares = labels.bincount()[classes].double() ** SAMPLING[sampling]
    order = torch.cat([_draw_classes(shares, n, generator) for n in counts.tolist()])
    drawn = torch.empty_like(order)
    for j, c in enumerate(classes):
        members = (labels == c).nonzero().squeeze(1)
        places = (order == j).nonzero().squeeze(1)
        passes = torch.rand(-(-len(places) // len(members)), len(members), generator=generator).argsort(1)
        drawn[places] = members[passes.flatten()[: len(places)]]
    return drawn


def _draw_classes(shares: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` positions in `shares`, float64: systematic sampling, at equal distances from a random start."""
    order = torch.randperm(len(shares), generator=generator)
    ends = shares[order].cumsum(0) / shares.sum()
    points = (torch.rand((), dtype=torch.float64, generator=generator) + torch.arange(count)) / count
    return order[torch.searchsorted(ends, points, right=True).clamp(max=len(shares) - 1)]


def draw_batches(
    pools: Sequence[Pool],
    targets: Sequence[Tensor],
    batch_size: int,
    steps: int,
    seeds: Sequence[int],
    sampling: str = "balanced",
) -> Iterator[tuple[Tensor, Tensor]]:
    """`steps` batches, pool after pool: images, float (B, C, H, W) in [-1, 1], and targets, float (B, K).

    targets: of each pool, N x K.
    """
    counts = pool_counts(pools, batch_size, steps)
    draws = []
    for pool, per_batch, seed in zip(pools, counts.T, seeds, strict=True):
        generator = torch.Generator().manual_seed(seed)
        image = draw(pool.labels.cpu(), per_batch, sampling, generator)
        view = (torch.rand(len(image), generator=generator) * len(pool.views)).long()
        device, sizes = pool.views.device, per_batch.tolist()
        draws.append(zip(torch.split(view.to(device), sizes), torch.split(image.to(device), sizes), strict=True))
    for step in zip(*draws, strict=True):
        drawn = list(zip(pools, targets, step, strict=True))
        images = torch.cat([pool.views[view, image] for pool, _, (view, image) in drawn])
        yield to_signed(images), torch.cat([target[image] for _, target, (_, image) in drawn])
