"""Detection of mode collapse to a single image, which neither losses nor errors reveal.

The spread of images is their root mean square difference from their mean image. Images with a spread of at most 2 grey
levels of 255 count as alike. Saving an image as JPEG of quality 95 changes it by about as much (1.5 on average and at
most 1.9, for 300 images of Fashion-MNIST). The classes of Fashion-MNIST and of scikit-learn's digits have spreads of
40 to 72, generators after 3 training steps 9 to 27, and generators trained at learning rates of 1 or more 0.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages
from augment.generators.registry import load_model
from augment.generators.sampling import generate
from augment.words import counted, listed, shortened

COLLAPSED_SPREAD = 2.0  # grey levels of 255
CHUNK = 256
TOTAL_SAMPLES, MIN_PER_CLASS, MAX_PER_CLASS = 512, 2, 16  # images generated for a check, as far as the limits allow
MAX_NAMED_CLASSES = 5  # in one note


def spread(images: NDArray[np.uint8]) -> float:
    """Return the root mean square difference of N x C x H x W images from their mean image, in grey levels."""
    total, squares = np.zeros((2, *images.shape[1:]))
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK].astype(np.float64)
        total += chunk.sum(0)
        squares += np.square(chunk).sum(0)
    variance = squares / len(images) - np.square(total / len(images))
    return float(np.sqrt(max(variance.mean(), 0.0)))


def constant_classes(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> tuple[int, ...]:
    """Return the labels of the classes whose images are all alike, in ascending order.

    Classes with a single image are left out. images: uint8, N x C x H x W; labels: int64, N.
    """
    members = {int(k): labels == k for k in np.unique(labels)}
    return tuple(k for k, mask in members.items() if mask.sum() > 1 and spread(images[mask]) <= COLLAPSED_SPREAD)


def collapse_notes(data: LabelledImages) -> tuple[str, ...]:
    """Return a note if generated images are alike, over all classes or within some; otherwise an empty tuple."""
    advice = "the generator has collapsed, and these images add nothing; lower its learning rates, or train it again"
    if len(data) > 1 and spread(data.images) <= COLLAPSED_SPREAD:
        return (f"all {len(data):,} generated images look the same: {advice}",)
    names = [repr(shortened(data.class_names[k], 40)) for k in constant_classes(data.images, data.labels)]
    if not names:
        return ()
    classes = f"{counted(len(names), 'class')} look the same ({listed(names, MAX_NAMED_CLASSES)})"
    return (f"all generated images of {classes}: {advice}",)


def notes_on_run(run: Path, device: torch.device) -> tuple[str, ...]:
    """Return `collapse_notes` of the generator in a finished RUN folder, from images generated with a fixed seed."""
    model = load_model(run, device)
    per_class = min(max(TOTAL_SAMPLES // len(model.metadata.classes), MIN_PER_CLASS), MAX_PER_CLASS)
    return collapse_notes(generate(model, dict.fromkeys(model.metadata.classes, per_class), seed=0).data)
