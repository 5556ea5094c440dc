"""Batches drawn from pools of images.

Each batch takes a fixed share of its images from each pool. How often each class is drawn follows from `SAMPLING`, or
from the pool's own class weights. All draws are made before the training, on the CPU. Each pool has its own seed, so
that arms that differ only in the pixels of their images draw the same real images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import NamedTuple

import torch
from torch import Tensor

from augment.dataset.images import to_signed
from classifiers.pools import AnyPool, class_weights, draw_classes, draw_probabilities, phases


class Batch(NamedTuple):
    """A batch of B images, those of one pool after those of another."""

    images: Tensor  # float (B, C, H, W) in [-1, 1]
    target: Tensor  # float (B, K)
    pool: Tensor  # int64 (B,); the index of the pool that an image comes from


def pool_counts(pools: Sequence[AnyPool], batch_size: int, steps: int) -> Tensor:
    """Return how many images of each batch come from each pool: int64, steps x pools; rows add to `batch_size`."""
    counts = torch.zeros(steps, len(pools), dtype=torch.long)
    for start, end, active in phases(pools, steps):
        # The shares of all pools add to 1 except for rounding errors, so they are not divided by their sum.
        total = sum(pools[i].share for i in active) if len(active) < len(pools) else 1.0
        counts[start:end, active] = batch_counts([pools[i].share / total for i in active], batch_size, end - start)
    return counts


def batch_counts(shares: Sequence[float], batch_size: int, steps: int) -> Tensor:
    """Return `pool_counts` for pools with these shares that are active in all steps.

    Rounding errors of one batch are compensated in other batches, so that even small shares are right on average.
    """
    ends = torch.tensor(shares, dtype=torch.float64).cumsum(0) * batch_size  # where each pool's part of a batch ends
    cumulative = (torch.arange(steps + 1)[:, None] * ends).round().long()
    return cumulative.diff(dim=0).diff(dim=1, prepend=torch.zeros(steps, 1, dtype=torch.long))


def class_counts(pools: Sequence[AnyPool], num_classes: int, steps: int, sampling: str) -> list[tuple[int, Tensor]]:
    """Return the class sizes that long-tail methods correct for, in each phase of the training, in order.

    A phase is a run of consecutive steps in which the same pools are in use. Each phase is given as its number of steps
    and its class counts, float64, K. They are the expected counts of the classes among the targets of the phase's
    batches, scaled so that they add to the number of images in the pools in use. They follow from the sampling, the
    shares of the pools, soft labels and the weights of images, and leave out label smoothing. Batches drawn by plain
    sampling from one pool therefore have the sizes of the classes as counts, and batches with balanced classes have
    equal counts. The counts of the drawn batches differ from the expected ones only because each batch holds whole
    images. mixup and CutMix do not change them, since every image of a batch is a partner once.

    A class that is never drawn gets the count of the rarest class that is drawn, which keeps logarithms and inverses
    finite. Counts that are equal up to rounding errors are exactly equal.
    """
    return [
        (end - start, _class_counts([pools[i] for i in active if pools[i].share], num_classes, sampling))
        for start, end, active in phases(pools, steps)
    ]


def pool_priors(pools: Sequence[AnyPool], num_classes: int, sampling: str) -> Tensor:
    """Return the class probabilities of the images that each pool draws: float64, pools x K; see `class_counts`."""
    counts = torch.stack([_class_counts([pool], num_classes, sampling) for pool in pools])
    return counts / counts.sum(1, keepdim=True)


def _class_counts(pools: Sequence[AnyPool], num_classes: int, sampling: str) -> Tensor:
    """Return `class_counts` of a phase in which all of these pools are in use."""
    expected = torch.zeros(num_classes, dtype=torch.float64)
    for pool in pools:
        targets = pool.targets(num_classes, 0.0).cpu().double()
        expected += pool.share * draw_probabilities(pool, sampling) @ targets
    drawn = expected > 0
    if not drawn.any():  # all images have the weight 0
        return torch.ones(num_classes, dtype=torch.float64)
    counts = expected / expected.sum() * sum(len(pool.labels) for pool in pools)
    counts = torch.where(drawn, counts, counts[drawn].min())
    even = counts.max() - counts.min() < 1e-9 * counts.max()
    return counts.max().expand(num_classes) if even else counts


def draw_indices(labels: Tensor, counts: Tensor, weights: Iterable[Tensor], generator: torch.Generator) -> Tensor:
    """Draw the images of all batches: int64 indices into `labels`, counts.sum() of them, batch after batch.

    In each batch, every class that occurs in `labels` gets its fraction of the batch's weights, rounded up or down at
    random. Within a class, every image is drawn once, in random order, before any is drawn again. counts: int64, steps.
    weights: for each batch, float64, of each class up to the largest label or more.
    """
    classes = labels.bincount().nonzero().squeeze(1)
    batches = zip(weights, counts.tolist(), strict=True)
    drawn_classes = torch.cat([draw_classes(of_class[classes], n, generator) for of_class, n in batches])
    drawn = torch.empty_like(drawn_classes)
    for j, c in enumerate(classes):
        members = (labels == c).nonzero().squeeze(1)
        positions = (drawn_classes == j).nonzero().squeeze(1)
        permutations = torch.rand(-(-len(positions) // len(members)), len(members), generator=generator).argsort(1)
        drawn[positions] = members[permutations.flatten()[: len(positions)]]
    return drawn


def draw_batches(
    pools: Sequence[AnyPool],
    targets: Sequence[Tensor],
    batch_size: int,
    steps: int,
    seeds: Sequence[int],
    sampling: str = "balanced",
    *,
    weights: Sequence[Tensor] | None = None,
) -> Iterator[Batch]:
    """Yield `steps` batches.

    The images of one pool are consecutive in the batch, in the order of `pools`. targets: one N x K tensor per pool.
    weights: for each batch, float64, K; how often each class is drawn from every pool, in place of `sampling`.
    """
    counts = pool_counts(pools, batch_size, steps)
    draws = []
    for pool, per_batch, seed in zip(pools, counts.T, seeds, strict=True):
        generator, sizes = torch.Generator().manual_seed(seed), per_batch.tolist()
        batch_weights = repeat(class_weights(pool, sampling), steps) if weights is None else weights
        indices = draw_indices(pool.labels.cpu(), per_batch, batch_weights, generator).to(pool.labels.device)
        images = pool.batches(indices, sizes, generator)
        draws.append(zip(images, torch.split(indices, sizes), strict=True))
    for sizes_of_pools, batch in zip(counts, zip(*draws, strict=True), strict=True):
        images_of_pools, indices_of_pools = zip(*batch, strict=True)
        drawn = zip(targets, indices_of_pools, strict=True)
        target = torch.cat([target[indices] for target, indices in drawn])
        of_pool = torch.arange(len(pools)).repeat_interleave(sizes_of_pools).to(target.device)
        yield Batch(to_signed(torch.cat(images_of_pools)), target, of_pool)
