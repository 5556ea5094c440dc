"""Whether generated images are all alike: mode collapse to one picture, which no loss and no error tells of.

Images of a class are alike if they differ from their mean picture by at most 2 grey levels of 255, root mean square:
about what saving a picture as JPEG of quality 95 changes in it (1.5 on average and 1.9 at most, of 300 images of
Fashion-MNIST). Real classes of Fashion-MNIST and of scikit-learn's digits have 40 to 72, generators after 3 steps of
training 9 to 27, and those trained at learning rates of 1 and more 0.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages
from augment.generators.registry import load_model
from augment.generators.sampling import generate
from augment.words import counted, shortened

ALIKE = 2.0  # grey levels of 255
CHUNK = 256
SAMPLES, FEWEST = 512, 2  # images drawn from a model: in all, and of a class at least
NAMED = 5  # at most, in one sentence


def spread(images: NDArray[np.uint8]) -> float:
    """Root mean square difference of N x C x H x W images from their mean image, in grey levels; 0 for equal ones."""
    total, squares = np.zeros((2, *images.shape[1:]))
    for start in range(0, len(images), CHUNK):
        part = images[start : start + CHUNK].astype(np.float64)
        total += part.sum(0)
        squares += np.square(part).sum(0)
    variance = squares / len(images) - np.square(total / len(images))
    return float(np.sqrt(max(variance.mean(), 0.0)))


def constant_classes(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> tuple[int, ...]:
    """The labels of which all images are alike, in ascending order; of a class with a single image nothing is said.

    images: uint8, N x C x H x W; labels: int64, N.
    """
    members = {int(k): labels == k for k in np.unique(labels)}
    return tuple(k for k, of_class in members.items() if of_class.sum() > 1 and spread(images[of_class]) <= ALIKE)


def collapse_notes(data: LabelledImages) -> tuple[str, ...]:
    """A sentence on generated images that are alike, over all classes or within some; nothing where they vary."""
    advice = "the generator has collapsed, and these images add nothing; lower its learning rates, or train it anew"
    if len(data) > 1 and spread(data.images) <= ALIKE:
        return (f"all {len(data):,} generated images look the same: {advice}",)
    names = [repr(shortened(data.class_names[k], 40)) for k in constant_classes(data.images, data.labels)]
    if not names:
        return ()
    some = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
    return (f"all generated images of {counted(len(names), 'class')} look the same ({some}): {advice}",)


def notes_on_run(run: Path, device: torch.device) -> tuple[str, ...]:
    """The same of a finished RUN, from some images of each class drawn with a fixed seed."""
    model = load_model(run, device)
    per_class = max(SAMPLES // len(model.about.classes), FEWEST)
    return collapse_notes(generate(model, dict.fromkeys(model.about.classes, min(per_class, 16)), seed=0).data)
