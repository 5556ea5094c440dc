"""Class-balanced images from a fitted generator of any kind: `augment generate`.

Every image has a seed of its own, from which it can be made again alone; asking for more images of a class keeps those
that fewer would have given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages
from augment.errors import ConfigError
from augment.generators.base import Model
from augment.runtime import NO_OBSERVER, Observer, Task
from augment.seeds import seed_sequence

BATCH = 256


@dataclass(frozen=True)
class SyntheticImages:
    """Generated images.

    seeds: uint64, N, from which each was made; None where they are not known. scores: float, N, how real each looks to
    the generator's discriminator, higher is nearer; None for generators that have none.
    """

    data: LabelledImages
    seeds: NDArray[np.uint64] | None = None
    scores: NDArray[np.floating] | None = None

    def take(self, indices: NDArray[np.integer]) -> SyntheticImages:
        """Those at `indices`, in that order."""
        seeds, scores = (None if values is None else values[indices] for values in (self.seeds, self.scores))
        return SyntheticImages(self.data.take(indices), seeds, scores)

    def __len__(self) -> int:
        return len(self.data)


def generate(
    model: Model, counts: Mapping[str, int], *, seed: int, observer: Observer = NO_OBSERVER
) -> SyntheticImages:
    """`counts[name]` images of each class, in the order of the model's classes; a class left out gets none.

    Raises `ConfigError` for an unknown class, or if there is nothing to generate.
    """
    labels = labels_of(model, counts)
    if not len(labels):
        raise ConfigError("there is nothing to generate: no class needs an image")
    per_class = np.bincount(labels, minlength=len(model.about.classes)).tolist()
    seeds = np.concatenate([image_seeds(seed, k, count) for k, count in enumerate(per_class)])
    task, images, scores = (
        Task("generate", len(labels)),
        np.empty(0, np.uint8),
        np.full(len(labels), np.nan, np.float32),
    )
    observer.on_start(task)
    for begin in range(0, len(labels), BATCH):
        part = slice(begin, begin + BATCH)
        samples = model.sample(labels[part], seeds[part])
        if not begin:
            images = np.empty((len(labels), *samples.images.shape[1:]), np.uint8)
        images[part] = samples.images
        scores[part] = np.nan if samples.scores is None else samples.scores
        observer.on_progress(task, min(begin + BATCH, len(labels)), {})
    observer.on_end(task, {})
    data = LabelledImages(images, labels, model.about.classes)
    return SyntheticImages(data, seeds, scores if np.isfinite(scores).all() else None)


def balancing_counts(train_per_class: Mapping[str, int]) -> dict[str, int]:
    """How many images of each class are missing to the largest one."""
    largest = max(train_per_class.values())
    return {name: largest - count for name, count in train_per_class.items()}


def labels_of(model: Model, counts: Mapping[str, int]) -> NDArray[np.int64]:
    """The label of each image that `generate` makes. Raises `ConfigError` for an unknown class."""
    classes = model.about.classes
    unknown = sorted(set(counts) - set(classes))
    if unknown:
        raise ConfigError(f"the run has no class {unknown[0]!r}; it knows {', '.join(classes)}")
    return np.repeat(np.arange(len(classes)), [counts.get(name, 0) for name in classes])


def image_seeds(seed: int, label: int, count: int) -> NDArray[np.uint64]:
    """Seeds below 2^63 of the first `count` images of a class; a larger count has the same ones first."""
    return seed_sequence(seed, "images", label).generate_state(count, np.uint64) >> np.uint64(1)
