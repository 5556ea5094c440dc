"""Half of the training images is half of each class."""

from __future__ import annotations

import numpy as np

from augment.dataset.images import LabelledImages
from pipelines.experiment.partial_training import half_of


def test_half_of_each_class_is_drawn(four: LabelledImages) -> None:
    data = four.take(np.concatenate([np.arange(100 * k, 100 * k + n) for k, n in enumerate((40, 11, 5, 4))]))
    assert half_of(data, seed=1).counts().tolist() == [20, 5, 2, 2]
    inside = {image.tobytes() for image in data.images}
    assert all(image.tobytes() in inside for image in half_of(data, seed=1).images)
    assert not np.array_equal(half_of(data, seed=1).images, half_of(data, seed=2).images)
