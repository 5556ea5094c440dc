"""Select the test images that the classifiers of an arm most often get wrong, so that a person can look at them.

An image that every classifier gets wrong belongs to a class that looks like another one, differs from the training
images, or is wrongly labelled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages, fingerprint
from pipelines.experiment.records import Record

MOST = 16  # images
MOST_OF_A_CONFUSION = 3  # images of one class that are taken for one other class


@dataclass(frozen=True)
class HardImage:
    """A test image, uint8 C x H x W, with its class, and the class that it was most often taken for.

    wrong, tested: how many classifiers got it wrong, and how many were tested on it.
    """

    pixels: NDArray[np.uint8]
    true: str
    taken_for: str
    wrong: int
    tested: int


def hard_images(records: Sequence[Record], tests: Mapping[str, LabelledImages]) -> list[HardImage]:
    """Return the images that are most often misclassified, the worst first, with few of each confusion of two classes.

    records: of one arm. tests: the test images by the name of the fold. Images that several folds share count once.
    """
    by_set: dict[str, list[tuple[LabelledImages, NDArray[np.uint16]]]] = {}
    for record in records:
        test = tests[record.fold]
        by_set.setdefault(fingerprint(test), []).append((test, record.predicted_labels))
    found = [image for trained in by_set.values() for image in _of_set(trained[0][0], [p for _, p in trained])]
    found.sort(key=lambda image: (-image.wrong / image.tested, -image.wrong))
    selected: list[HardImage] = []
    confusions, seen = Counter[tuple[str, str]](), set[bytes]()
    for image in found:
        confusion, pixels = (image.true, image.taken_for), image.pixels.tobytes()
        if confusions[confusion] < MOST_OF_A_CONFUSION and pixels not in seen:
            confusions[confusion] += 1
            seen.add(pixels)
            selected.append(image)
    return selected[:MOST]


def _of_set(test: LabelledImages, predictions: Sequence[NDArray[np.uint16]]) -> list[HardImage]:
    """Return the images of one test set that a classifier got wrong. predictions: N, of each classifier."""
    predicted = np.stack(predictions)
    wrong = predicted != test.labels
    images = []
    for i in np.flatnonzero(wrong.any(0)):
        (taken_for, _), *_ = Counter(predicted[wrong[:, i], i].tolist()).most_common()
        images.append(
            HardImage(
                pixels=test.images[i],
                true=test.class_names[test.labels[i]],
                taken_for=test.class_names[taken_for],
                wrong=int(wrong[:, i].sum()),
                tested=len(predicted),
            )
        )
    return images
