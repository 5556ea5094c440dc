"""Generation of images per class with a fitted generator of any kind: `augment generate`.

Each image has its own seed and can be generated again from it alone. If more images of a class are requested, the first
ones stay the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages
from augment.errors import ConfigError
from augment.generators.base import Model
from augment.runtime import NO_OBSERVER, Observer, Task
from augment.seeds import seed_sequence
from augment.words import quoted

BATCH = 256


@dataclass(frozen=True)
class SyntheticImages:
    """Generated images with their labels.

    seeds: uint64, N, one per image; None if unknown. scores: float, N, logits of the generator's discriminator, higher
    for more realistic images; None for generators without comparable logits. anchors: int64, N x A, the indices of the
    training images behind each image; None for generators that do not start from images.
    """

    data: LabelledImages
    seeds: NDArray[np.uint64] | None = None
    scores: NDArray[np.floating] | None = None
    anchors: NDArray[np.int64] | None = None

    def take(self, indices: NDArray[np.integer]) -> SyntheticImages:
        """Return the images at `indices`, in that order."""
        seeds, scores, anchors = (
            None if values is None else values[indices] for values in (self.seeds, self.scores, self.anchors)
        )
        return SyntheticImages(self.data.take(indices), seeds, scores, anchors)

    def __len__(self) -> int:
        return len(self.data)


def generate(
    model: Model, counts: Mapping[str, int], *, seed: int, observer: Observer = NO_OBSERVER
) -> SyntheticImages:
    """Generate `counts[name]` images of each class, in the order of the model's classes; missing classes get none.

    The images have scores only if the model gives finite scores to all of them.
    Raises `ConfigError` for an unknown class, or if there is nothing to generate.
    """
    labels = labels_from_counts(model, counts)
    per_class = np.bincount(labels, minlength=len(model.metadata.classes)).tolist()
    seeds = np.concatenate([image_seeds(seed, k, count) for k, count in enumerate(per_class)])
    task = Task("generate", len(labels))
    observer.on_start(task)
    batches = []
    for begin in range(0, len(labels), BATCH):
        batch = slice(begin, begin + BATCH)
        batches.append(model.sample(labels[batch], seeds[batch]))
        observer.on_progress(task, min(begin + BATCH, len(labels)), {})
    observer.on_end(task, {})
    images, scores, anchors = (_concatenated(parts) for parts in zip(*batches, strict=True))
    if scores is not None and not np.isfinite(scores).all():
        scores = None
    return SyntheticImages(LabelledImages(images, labels, model.metadata.classes), seeds, scores, anchors)


def _concatenated(parts: Sequence[Any]) -> Any:
    return None if any(part is None for part in parts) else np.concatenate(parts)


def balancing_counts(train_per_class: Mapping[str, int]) -> dict[str, int]:
    """Return how many images each class needs to become as large as the largest one."""
    largest = max(train_per_class.values())
    return {name: largest - count for name, count in train_per_class.items()}


def labels_from_counts(model: Model, counts: Mapping[str, int]) -> NDArray[np.int64]:
    """Return the label of each image that `generate` returns. Raises its errors."""
    classes = model.metadata.classes
    unknown = sorted(set(counts) - set(classes))
    if unknown:
        raise ConfigError(f"the run has no class {unknown[0]!r}; its classes are {', '.join(map(quoted, classes))}")
    labels = np.repeat(np.arange(len(classes)), [counts.get(name, 0) for name in classes])
    if not len(labels):
        raise ConfigError("there is nothing to generate: no class needs an image")
    return labels


def image_seeds(seed: int, label: int, count: int) -> NDArray[np.uint64]:
    """Return seeds below 2^63 for `count` images of a class; a larger count begins with the same seeds."""
    return seed_sequence(seed, "images", label).generate_state(count, np.uint64) >> np.uint64(1)
