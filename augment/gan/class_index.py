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

    by_class: int64, N; indices of images, sorted by class. starts, counts: int64, K; where a class begins in
    `by_class`, and its number of images.
    """

    by_class: Tensor
    starts: Tensor
    counts: Tensor

    @classmethod
    def of(cls, data: LabelledImages, device: torch.device) -> Self:
        """Return the index of `data` on `device`."""
        by_class = torch.from_numpy(data.labels).argsort(stable=True).to(device)
        counts = torch.from_numpy(data.counts()).to(device)
        return cls(by_class, counts.cumsum(0) - counts, counts)

    @property
    def present(self) -> Tensor:
        """The classes that have images: int64. This waits for the device."""
        return self.counts.nonzero().squeeze(1)

    def images(self, labels: Tensor, positions: Tensor) -> Tensor:
        """Return the index of the image at each position within its class. labels, positions: int64 (B,)."""
        return self.by_class[self.starts[labels] + positions]


def draw_labels(classes: Tensor, count: int, random: torch.Generator) -> Tensor:
    """Draw `count` of `classes` (int64) with replacement, each equally often on average: int64, on their device."""
    return classes[torch.randint(len(classes), (count,), generator=random, device=classes.device)]
