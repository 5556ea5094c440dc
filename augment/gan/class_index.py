"""Which images of a set belong to each class, on a device, for draws without waiting for the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from augment.dataset.images import LabelledImages


@dataclass(frozen=True)
class ClassIndex:
    """The images of each class.

    labels: int64, N. by_class: int64, N; indices of images, sorted by class. ranks: int64, N; where an image is in
    `by_class`. starts, counts: int64, K; where a class begins in `by_class`, and its number of images.
    """

    labels: Tensor
    by_class: Tensor
    ranks: Tensor
    starts: Tensor
    counts: Tensor

    @classmethod
    def from_images(cls, data: LabelledImages, device: torch.device) -> Self:
        """Return the index of `data` on `device`."""
        return cls.from_labels(torch.from_numpy(data.labels).to(device), data.num_classes)

    @classmethod
    def from_labels(cls, labels: Tensor, num_classes: int) -> Self:
        """Return the index of images with these labels, int64, N, on their device."""
        by_class, counts = labels.argsort(stable=True), labels.bincount(minlength=num_classes)
        return cls(labels, by_class, by_class.argsort(), counts.cumsum(0) - counts, counts)

    @property
    def present(self) -> Tensor:
        """The classes that have images: int64. This waits for the device."""
        return self.counts.nonzero().squeeze(1)

    def image_indices(self, labels: Tensor, positions: Tensor) -> Tensor:
        """Return the index of the image at each position within its class: int64 (B,), as `labels` and `positions`."""
        return self.by_class[self.starts[labels] + positions]

    def draw(self, labels: Tensor, uniforms: Tensor) -> Tensor:
        """Draw an image of each class, given a random number in [0, 1) for each: int64 (B,), as `labels`."""
        return self.image_indices(labels, (uniforms.double() * self.counts[labels]).long())

    def draw_another(self, indices: Tensor, uniforms: Tensor) -> Tensor:
        """Draw another image of the class of each image, or the same one if the class has no other: int64 (B,).

        indices: of the images, int64 (B,). uniforms: (B,), in [0, 1).
        """
        labels = self.labels[indices]
        count, position = self.counts[labels], self.ranks[indices] - self.starts[labels]
        return self.image_indices(labels, (position + 1 + (uniforms.double() * (count - 1)).long()) % count)


def draw_labels(classes: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Draw `count` of `classes` (int64) with replacement, each equally often on average: int64, on their device."""
    return classes[torch.randint(len(classes), (count,), generator=rng, device=classes.device)]
