"""Parts of the training images hold the same fraction of each class."""

from __future__ import annotations

import numpy as np

from augment.dataset.images import LabelledImages
from pipelines.experiment.partial_training import part_of


def test_a_part_has_a_fraction_of_each_class_or_two_images(four: LabelledImages) -> None:
    data = four.take(np.concatenate([np.arange(100 * k, 100 * k + n) for k, n in enumerate((40, 10, 3, 1))]))
    assert part_of(data, 0.25, seed=1).counts().tolist() == [10, 2, 2, 1]
    assert part_of(data, 0.5, seed=1).counts().tolist() == [20, 5, 2, 1]


def test_a_smaller_part_lies_in_a_larger_one(four: LabelledImages) -> None:
    smaller, larger = (part_of(four, fraction, seed=3) for fraction in (0.25, 0.5))
    inside = {image.tobytes() for image in larger.images}
    assert all(image.tobytes() in inside for image in smaller.images)
    assert not np.array_equal(part_of(four, 0.25, seed=4).images, smaller.images)
