"""Pools of images and the batches drawn from them.

A pool is a bank of views of one set of images. Each batch takes a fixed share of its images from each pool. The policy
`SAMPLING` decides how often each class is drawn, and every drawn image is used in one of its views, chosen at random.
All draws are made before the training, on the CPU. Each pool has its own seed, so that arms that differ only in the
pixels of their images draw the same real images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from augment.dataset.images import to_signed
from augment.errors import ConfigError

# The exponent q: the probability of a class is proportional to (its number of images)^q. Source: Kang et al.,
# "Decoupling Representation and Classifier for Long-Tailed Recognition", ICLR 2020, section 3.
SAMPLING = {"plain": 1.0, "square-root": 0.5, "balanced": 0.0}


@dataclass(frozen=True)
class Pool:
    """Images to draw from.

    views: uint8, V x N x C x H x W; V = 1 for images without augmentation.
    labels: int64, N; the classes for `SAMPLING`, and the targets if `soft` is None.
    share: the fraction of each batch that comes from this pool; the shares of all pools add to 1.
    soft: float, N x K; target probabilities that replace the labels as targets.
    weights: float, N; the weight of each image in the loss.
    span: when the pool is in use, as fractions of the training: (start, end). While a pool is not in use, the shares of
    the other pools are scaled up so that they add to 1.
    """

    views: Tensor
    labels: Tensor
    share: float = 1.0
    soft: Tensor | None = None
    weights: Tensor | None = None
    span: tuple[float, float] = (0.0, 1.0)

    def targets(self, num_classes: int, smoothing: float) -> Tensor:
        """Return the target of each image, multiplied by its weight: float, N x K.

        Label smoothing s turns a target t into (1 - s) t + s / K. The weight can be part of the target because both
        cross entropy and mixup are linear in it.
        """
        hard = one_hot(self.labels, num_classes).float()
        target = hard if self.soft is None else self.soft.float()
        target = (1 - smoothing) * target + smoothing / num_classes if smoothing else target
        return target if self.weights is None else target * self.weights[:, None]

    def to(self, device: torch.device) -> Pool:
        """Return a copy of the pool on another device."""
        soft, weights = (None if t is None else t.to(device) for t in (self.soft, self.weights))
        return Pool(self.views.to(device), self.labels.to(device), self.share, soft, weights, self.span)


def check_pools(pools: Sequence[Pool], num_classes: int, steps: int) -> None:
    """Raise `ConfigError` if the pools do not fit each other, the number of classes or the number of steps."""
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
        if p.soft is not None and (p.soft.shape != (count, num_classes) or not _simplex_error(p.soft) < 1e-4):
            raise ConfigError(f"expected soft labels of shape {count} x {num_classes} with rows that add to 1")
        if p.weights is not None and (p.weights.shape != (count,) or not _are_valid_weights(p.weights)):
            raise ConfigError(f"expected {count} finite weights of 0 or more, got {tuple(p.weights.shape)}")
        if not 0 <= p.span[0] < p.span[1] <= 1 or (p.share and not _active_steps(p, steps)):
            raise ConfigError(f"expected spans within 0 to 1 that hold one of {steps} steps, got {p.span}")
    for start, end, active in _phases(pools, steps):
        if not sum(pools[i].share for i in active):
            raise ConfigError(f"steps {start} to {end} have no pool to draw from: the spans leave a gap")


def _simplex_error(probabilities: Tensor) -> float:
    """Return how far the rows of an N x K tensor are, at most, from being probability distributions."""
    return float((probabilities.sum(1) - 1).abs().max() + probabilities.min().clamp(max=0).abs())


def _are_valid_weights(weights: Tensor) -> bool:
    return bool(((weights >= 0) & weights.isfinite()).all())


def _active_steps(pool: Pool, steps: int) -> range:
    start, end = pool.span
    return range(round(start * steps), round(end * steps))


def _phases(pools: Sequence[Pool], steps: int) -> list[tuple[int, int, list[int]]]:
    """Split the training where a span starts or ends: (first step, step after the last, indices of active pools)."""
    ranges = [_active_steps(pool, steps) for pool in pools]
    boundaries = sorted({0, steps, *(r.start for r in ranges), *(r.stop for r in ranges)})
    return [(start, end, [i for i, r in enumerate(ranges) if start in r]) for start, end in pairwise(boundaries)]


def pool_counts(pools: Sequence[Pool], batch_size: int, steps: int) -> Tensor:
    """Return how many images of each batch come from each pool: int64, steps x pools; rows add to `batch_size`."""
    counts = torch.zeros(steps, len(pools), dtype=torch.long)
    for start, end, active in _phases(pools, steps):
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


def class_counts(pools: Sequence[Pool], num_classes: int, steps: int, sampling: str) -> list[tuple[int, Tensor]]:
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
        for start, end, active in _phases(pools, steps)
    ]


def _class_counts(pools: Sequence[Pool], num_classes: int, sampling: str) -> Tensor:
    """Return `class_counts` of a phase in which all of these pools are in use."""
    expected = torch.zeros(num_classes, dtype=torch.float64)
    for pool in pools:
        labels, targets = pool.labels.cpu(), pool.targets(num_classes, 0.0).cpu().double()
        sizes = labels.bincount(minlength=num_classes).double()
        of_class = torch.where(sizes > 0, sizes ** SAMPLING[sampling], 0.0)
        expected += pool.share * (of_class / of_class.sum() / sizes.clamp(min=1))[labels] @ targets
    drawn = expected > 0
    if not drawn.any():  # all images have the weight 0
        return torch.ones(num_classes, dtype=torch.float64)
    counts = expected / expected.sum() * sum(len(pool.labels) for pool in pools)
    counts = torch.where(drawn, counts, counts[drawn].min())
    even = counts.max() - counts.min() < 1e-9 * counts.max()
    return counts.max().expand(num_classes) if even else counts


def draw_indices(labels: Tensor, counts: Tensor, sampling: str, generator: torch.Generator) -> Tensor:
    """Draw the images of all batches, with the classes weighted by `SAMPLING`; see `draw_by_class`."""
    class_weights = labels.bincount().double() ** SAMPLING[sampling]
    return draw_by_class(labels, counts, repeat(class_weights, len(counts)), generator)


def draw_by_class(
    labels: Tensor, counts: Tensor, class_weights: Iterable[Tensor], generator: torch.Generator
) -> Tensor:
    """Draw the images of all batches: int64 indices into `labels`, counts.sum() of them, batch after batch.

    In each batch, every class that occurs in `labels` gets its fraction of the batch's weights, rounded up or down at
    random. Within a class, every image is drawn once, in random order, before any is drawn again. counts: int64, steps.
    class_weights: for each batch, float64, one or more weights than the largest label.
    """
    classes = labels.bincount().nonzero().squeeze(1)
    batches = zip(class_weights, counts.tolist(), strict=True)
    drawn_classes = torch.cat([_draw_classes(weights[classes], n, generator) for weights, n in batches])
    drawn = torch.empty_like(drawn_classes)
    for j, c in enumerate(classes):
        members = (labels == c).nonzero().squeeze(1)
        positions = (drawn_classes == j).nonzero().squeeze(1)
        permutations = torch.rand(-(-len(positions) // len(members)), len(members), generator=generator).argsort(1)
        drawn[positions] = members[permutations.flatten()[: len(positions)]]
    return drawn


def _draw_classes(class_weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw `count` indices into `class_weights` (float64) by systematic sampling: equal steps from a random start."""
    order = torch.randperm(len(class_weights), generator=generator)
    ends = class_weights[order].cumsum(0) / class_weights.sum()
    points = (torch.rand((), dtype=torch.float64, generator=generator) + torch.arange(count)) / count
    return order[torch.searchsorted(ends, points, right=True).clamp(max=len(class_weights) - 1)]


def draw_batches(
    pools: Sequence[Pool],
    targets: Sequence[Tensor],
    batch_size: int,
    steps: int,
    seeds: Sequence[int],
    sampling: str = "balanced",
    *,
    class_weights: Sequence[Tensor] | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield `steps` batches: images, float (B, C, H, W) in [-1, 1], and targets, float (B, K).

    The images of one pool are consecutive in the batch, in the order of `pools`. targets: one N x K tensor per pool.
    class_weights: for each batch, float64, K, in place of those by `sampling`.
    """
    counts = pool_counts(pools, batch_size, steps)
    draws = []
    for pool, per_batch, seed in zip(pools, counts.T, seeds, strict=True):
        generator = torch.Generator().manual_seed(seed)
        labels = pool.labels.cpu()
        if class_weights is None:
            image = draw_indices(labels, per_batch, sampling, generator)
        else:
            image = draw_by_class(labels, per_batch, class_weights, generator)
        view = (torch.rand(len(image), generator=generator) * len(pool.views)).long()
        device, sizes = pool.views.device, per_batch.tolist()
        draws.append(zip(torch.split(view.to(device), sizes), torch.split(image.to(device), sizes), strict=True))
    for indices in zip(*draws, strict=True):
        parts = list(zip(pools, targets, indices, strict=True))
        images = torch.cat([pool.views[view, image] for pool, _, (view, image) in parts])
        yield to_signed(images), torch.cat([target[image] for _, target, (_, image) in parts])
