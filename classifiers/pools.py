"""What batches are drawn from: pools of stored images, and pools whose images are generated while a classifier trains.

Each pool has a share of every batch. How often it draws a class follows from `SAMPLING` or from its own class weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from augment.errors import ConfigError

# The exponent q: the probability of a class is proportional to (its number of images)^q. Source: Kang et al.,
# "Decoupling Representation and Classifier for Long-Tailed Recognition", ICLR 2020, section 3.
SAMPLING = {"plain": 1.0, "square-root": 0.5, "balanced": 0.0}

BATCHES_AHEAD = 8  # batches whose images are generated at once: one call for all costs less than a call for each


@dataclass(frozen=True)
class Pool:
    """Stored images to draw from.

    views: uint8, V x N x C x H x W; V = 1 for images without augmentation.
    labels: int64, N; the classes for `SAMPLING`, and the targets if `soft` is None.
    share: the fraction of each batch that comes from this pool; the shares of all pools add to 1.
    soft: float, N x K; target probabilities that replace the labels as targets.
    weights: float, N; the weight of each image in the loss.
    span: when the pool is in use, as fractions of the training: (start, end). While a pool is not in use, the shares of
    the other pools are scaled up so that they add to 1.
    class_weights: float64, K; how often each class is drawn, relative to the others; None: as `SAMPLING` says.
    """

    views: Tensor
    labels: Tensor
    share: float = 1.0
    soft: Tensor | None = None
    weights: Tensor | None = None
    span: tuple[float, float] = (0.0, 1.0)
    class_weights: Tensor | None = None

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The shape of an image: C, H, W."""
        return tuple(self.views.shape[2:])

    def targets(self, num_classes: int, smoothing: float) -> Tensor:
        """Return the target of each image, multiplied by its weight: float, N x K.

        Label smoothing s turns a target t into (1 - s) t + s / K. The weight can be part of the target because both
        cross entropy and mixup are linear in it.
        """
        target = _smoothed(
            one_hot(self.labels, num_classes).float() if self.soft is None else self.soft.float(), smoothing
        )
        return target if self.weights is None else target * self.weights[:, None]

    def to(self, device: torch.device) -> Pool:
        """Return a copy of the pool on another device."""
        soft, weights = (None if t is None else t.to(device) for t in (self.soft, self.weights))
        return replace(self, views=self.views.to(device), labels=self.labels.to(device), soft=soft, weights=weights)

    def batches(self, indices: Tensor, sizes: list[int], generator: torch.Generator) -> Iterator[Tensor]:
        """Yield the images of each batch, uint8 (size, C, H, W), each in a view that `generator` draws.

        indices: int64, of all batches one after the other, on the device of the pool. sizes: of the batches.
        """
        view = (torch.rand(len(indices), generator=generator) * len(self.views)).long().to(indices.device)
        for drawn, images in zip(torch.split(view, sizes), torch.split(indices, sizes), strict=True):
            yield self.views[drawn, images]


@dataclass(frozen=True)
class FreshPool:
    """Images that are generated while the classifier trains: every draw is a new image.

    generate: from labels, int64 (n,), and seeds below 2^62, int64 (n,), both on the CPU, to images, uint8
    (n, C, H, W). labels: int64, N; the classes that can be drawn, each as often as `SAMPLING` says for this number of
    images, if `class_weights` is None. image_shape: C, H, W. The other fields are those of `Pool`.
    """

    generate: Callable[[Tensor, Tensor], Tensor]
    labels: Tensor
    image_shape: tuple[int, ...]
    share: float = 1.0
    span: tuple[float, float] = (0.0, 1.0)
    class_weights: Tensor | None = None

    def targets(self, num_classes: int, smoothing: float) -> Tensor:
        """Return the target for each of `labels`: float, N x K."""
        return _smoothed(one_hot(self.labels, num_classes).float(), smoothing)

    def to(self, device: torch.device) -> FreshPool:
        """Return a copy whose images are moved to another device."""
        return replace(self, labels=self.labels.to(device))

    def batches(self, indices: Tensor, sizes: list[int], generator: torch.Generator) -> Iterator[Tensor]:
        """Yield the images of each batch, uint8 (size, C, H, W); the seeds of all are drawn first. See `Pool.batches`.

        Raises `ConfigError` if the images have another shape than `image_shape`.
        """
        seeds = torch.randint(2**62, (len(indices),), generator=generator)
        labels = self.labels[indices].cpu()
        start = 0
        for first in range(0, len(sizes), BATCHES_AHEAD):
            ahead = sizes[first : first + BATCHES_AHEAD]
            end = start + sum(ahead)
            images = self.generate(labels[start:end], seeds[start:end])
            if images.shape[1:] != self.image_shape:
                shapes = tuple(self.image_shape), tuple(images.shape[1:])
                raise ConfigError(f"expected generated images of shape {shapes[0]}, as the real ones, got {shapes[1]}")
            yield from torch.split(images.to(self.labels.device), ahead)
            start = end

    def draw(self, number: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return new images, uint8 (n, C, H, W), and their labels, int64 (n,), both on the CPU.

        How often each class is drawn: see `draw_classes`.
        """
        labels = draw_classes(class_weights(self, "plain"), number, generator)
        return self.generate(labels, torch.randint(2**62, (number,), generator=generator)), labels


AnyPool = Pool | FreshPool


def _smoothed(target: Tensor, smoothing: float) -> Tensor:
    return (1 - smoothing) * target + smoothing / target.shape[1] if smoothing else target


def class_weights(pool: AnyPool, sampling: str) -> Tensor:
    """Return how often `pool` draws each class, relative to the others: float64, one per class up to its largest."""
    counts = pool.labels.cpu().bincount(minlength=0 if pool.class_weights is None else len(pool.class_weights))
    weights = counts.double() ** SAMPLING[sampling] if pool.class_weights is None else pool.class_weights
    return torch.where(counts > 0, weights, 0.0)


def draw_probabilities(pool: AnyPool, sampling: str) -> Tensor:
    """Return the probability to draw each image of `pool`: float64, N, on the CPU."""
    weights, labels = class_weights(pool, sampling), pool.labels.cpu()
    sizes = labels.bincount(minlength=len(weights)).clamp(min=1)
    return (weights / weights.sum() / sizes)[labels]


def draw_classes(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw `count` indices into `weights` (float64) by systematic sampling: equal steps from a random start.

    So each class gets its part of the count, rounded up or down. Equal classes are consecutive.
    """
    classes = weights.nonzero().squeeze(1)
    order = classes[torch.randperm(len(classes), generator=generator)]
    ends = weights[order].cumsum(0) / weights.sum()
    points = (torch.rand((), dtype=torch.float64, generator=generator) + torch.arange(count)) / count
    return order[torch.searchsorted(ends, points, right=True).clamp(max=len(order) - 1)]


def check_pools(pools: Sequence[AnyPool], num_classes: int, steps: int) -> None:
    """Raise `ConfigError` if the pools do not fit each other, the number of classes or the number of steps."""
    if not math.isclose(sum(p.share for p in pools), 1.0, abs_tol=1e-6) or min(p.share for p in pools) < 0:
        raise ConfigError(f"the shares of the pools must add to 1, got {[p.share for p in pools]}")
    for p in pools:
        if len(p.image_shape) != 3 or p.image_shape != pools[0].image_shape:
            shapes = [q.image_shape for q in pools]
            raise ConfigError(f"expected images of one shape C x H x W in all pools, got {shapes}")
        if p.image_shape[1] != p.image_shape[2]:
            raise ConfigError(f"expected square images, got {p.image_shape[1]} x {p.image_shape[2]} px")
        if not len(p.labels) or p.labels.min() < 0 or p.labels.max() >= num_classes:
            found = f"{p.labels.min()} to {p.labels.max()}" if len(p.labels) else "none"
            raise ConfigError(f"expected labels 0 to {num_classes - 1}, got {found}")
        if isinstance(p, Pool):
            _check_stored(p, num_classes)
        if not class_weights(p, "plain").sum() > 0:
            raise ConfigError("expected a class weight above 0 for a class of the pool, got none")
        if not 0 <= p.span[0] < p.span[1] <= 1 or (p.share and not _active_steps(p, steps)):
            raise ConfigError(f"expected spans within 0 to 1 that hold one of {steps} steps, got {p.span}")
    for start, end, active in phases(pools, steps):
        if not sum(pools[i].share for i in active):
            raise ConfigError(f"steps {start} to {end} have no pool to draw from: the spans leave a gap")


def _check_stored(p: Pool, num_classes: int) -> None:
    count = p.views.shape[1]
    if p.labels.shape != (count,):
        raise ConfigError(f"expected one label for each of {count} images, got {tuple(p.labels.shape)}")
    if p.soft is not None and (p.soft.shape != (count, num_classes) or not _simplex_error(p.soft) < 1e-4):
        raise ConfigError(f"expected soft labels of shape {count} x {num_classes} with rows that add to 1")
    if p.weights is not None and (p.weights.shape != (count,) or not _are_valid_weights(p.weights)):
        raise ConfigError(f"expected {count} finite weights of 0 or more, got {tuple(p.weights.shape)}")


def _simplex_error(probabilities: Tensor) -> float:
    """Return how far the rows of an N x K tensor are, at most, from being probability distributions."""
    return float((probabilities.sum(1) - 1).abs().max() + probabilities.min().clamp(max=0).abs())


def _are_valid_weights(weights: Tensor) -> bool:
    return bool(((weights >= 0) & weights.isfinite()).all())


def _active_steps(pool: AnyPool, steps: int) -> range:
    start, end = pool.span
    return range(round(start * steps), round(end * steps))


def phases(pools: Sequence[AnyPool], steps: int) -> list[tuple[int, int, list[int]]]:
    """Split the training where a span starts or ends: (first step, step after the last, indices of active pools)."""
    ranges = [_active_steps(pool, steps) for pool in pools]
    boundaries = sorted({0, steps, *(r.start for r in ranges), *(r.stop for r in ranges)})
    return [(start, end, [i for i, r in enumerate(ranges) if start in r]) for start, end in pairwise(boundaries)]
