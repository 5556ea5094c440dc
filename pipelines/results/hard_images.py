"""Select the test images that the classifiers of an arm most often get wrong, so that a person can look at them.

An image that every classifier gets wrong belongs to a class that looks like another one, differs from the training
images, or is wrongly labelled.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages
from pipelines.experiment.records import Record

if TYPE_CHECKING:
    from pipelines.experiment.loading import Names

MAX_IMAGES = 16
MAX_PER_CONFUSION = 3  # images of one class that are taken for one other class


@dataclass(frozen=True)
class HardImage:
    """A test image, uint8 C x H x W, with its class, and the class that it was most often taken for.

    name: its file, or its place in an array; empty if that is not known. wrong, tested: how many classifiers got it
    wrong, and how many were tested on it.
    """

    pixels: NDArray[np.uint8]
    true: str
    taken_for: str
    wrong: int
    tested: int
    name: str = ""


def hard_images(records: Sequence[Record], tests: Mapping[str, LabelledImages], names: Names) -> list[HardImage]:
    """Return the images that are most often misclassified, the worst first, with few of each confusion of two classes.

    records: of one arm, in any order, which does not affect the result. tests: the test images by the name of the fold.
    An image that several of them hold counts once, with all classifiers that were tested on it. names: of images, by
    their hashes and labels.
    """
    taken_for: dict[tuple[str, int], Counter[int]] = defaultdict(Counter)  # by the hash of an image and its class
    tested, examples = Counter[tuple[str, int]](), dict[tuple[str, int], tuple[LabelledImages, int]]()
    for record in sorted(records, key=lambda record: (record.repeat, record.fold)):
        test = tests[record.fold]
        keys = list(zip(test.hashes, test.labels.tolist(), strict=True))
        tested.update(keys)
        for i, (key, predicted) in enumerate(zip(keys, record.predicted_labels.tolist(), strict=True)):
            if predicted != key[1]:
                taken_for[key][predicted] += 1
                examples[key] = test, i
    found = [
        replace(_hard_image(*examples[key], wrong, tested[key]), name=names.get(key, ""))
        for key, wrong in taken_for.items()
    ]
    found.sort(key=lambda image: (-image.wrong / image.tested, -image.wrong))
    selected: list[HardImage] = []
    confusions = Counter[tuple[str, str]]()
    for image in found:
        confusion = image.true, image.taken_for
        if confusions[confusion] < MAX_PER_CONFUSION:
            confusions[confusion] += 1
            selected.append(image)
    return selected[:MAX_IMAGES]


def _hard_image(test: LabelledImages, i: int, wrong: Counter[int], tested: int) -> HardImage:
    (taken_for, _), *_ = wrong.most_common()
    return HardImage(
        pixels=test.images[i],
        true=test.class_names[test.labels[i]],
        taken_for=test.class_names[taken_for],
        wrong=wrong.total(),
        tested=tested,
    )
