"""Store training images in a finished run, and read them back, for generators that start from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from augment.dataset.images import LabelledImages, check_size
from augment.errors import AugmentError, SourceError
from augment.generators.runs import GeneratorMetadata


def image_tensors(images: LabelledImages) -> dict[str, Tensor]:
    """Return the tensors to save: `images`, uint8 (N, C, H, W), and `labels`, int64 (N,)."""
    return {
        "images": torch.from_numpy(np.ascontiguousarray(images.images)),
        "labels": torch.from_numpy(images.labels),
    }


def read_images(tensors: Mapping[str, Tensor], metadata: GeneratorMetadata, folder: Path) -> LabelledImages:
    """Return the images among the tensors of a finished run. Raises `SourceError` if they contradict `metadata`."""
    try:
        images = LabelledImages(tensors["images"].numpy(), tensors["labels"].numpy(), metadata.classes)
        check_size(images.size)
        if tensors["labels"].dtype != torch.int64 or images.per_class() != metadata.train_per_class:
            raise SourceError("the labels are not those of its metadata")
    except (KeyError, ValueError, AugmentError) as error:
        raise SourceError(f"{folder} is damaged, or of another version of this program: {error}") from error
    return images


def check_present(labels: NDArray[np.int64], counts: NDArray[np.int64], class_names: Sequence[str]) -> None:
    """Raise `SourceError` that names the first of `labels` whose class has no training images."""
    empty = labels[counts[labels] == 0]
    if len(empty):
        raise SourceError(f"class {class_names[empty[0]]!r} has no training images to start from")
