"""The best share of each class is kept, by a score that is higher where an image is better."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages
from augment.dataset.ratios import draw_by_ratio, needed_per_class
from augment.errors import ConfigError
from augment.filtering import FILTERS, CrossFittedPredictions, Scores, keep_best, needed_before_filter

LABELS = np.array([1, 0, 1, 0, 1, 2])


def scores_by(name: str) -> Scores:
    probabilities = [[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6], [0.9, 0, 0.1], [0, 1, 0], [0.4, 0.4, 0.2]]
    by_classifiers = FILTERS[name]
    assert by_classifiers is not None
    predictions = CrossFittedPredictions(
        labels=LABELS,
        probabilities=np.array(probabilities),
        distance=np.array([0.5, 2.0, 1.0, 0.1, 3.0, 0.7]),
        real_probabilities=np.zeros((0, 3)),
    )
    return by_classifiers(predictions)


def test_each_filter_has_a_description() -> None:
    assert scores_by("confidence").tolist() == [0.7, 0.5, 0.2, 0.9, 1.0, 0.2]
    assert scores_by("distance").argmax() == 3  # the nearest is the best


def test_only_the_generators_own_scores_need_no_classifiers() -> None:
    assert [name for name, by_classifiers in FILTERS.items() if by_classifiers is None] == ["score"]


@pytest.mark.parametrize(
    ("fraction", "kept"),
    [(1.0, [0, 1, 2, 3, 4, 5]), (2 / 3, [0, 3, 4, 5]), (0.5, [0, 3, 4, 5]), (1 / 3, [3, 4, 5]), (0.01, [3, 4, 5])],
)
def test_the_best_of_each_class_are_kept_and_at_least_one(fraction: float, kept: list[int]) -> None:
    indices = keep_best(LABELS, scores_by("confidence"), fraction)  # class 0: 1, 3; class 1: 0, 2, 4; class 2: 5
    assert indices.tolist() == kept


@pytest.mark.parametrize("fraction", [0.01, 0.05, 0.3, 1 / 3, 0.5, 0.6, 0.7, 0.95, 1.0])
@pytest.mark.parametrize("ratio", [0.01, 0.3, 0.5, 1.0, 1.7, 4.5])
def test_as_many_as_needed_are_enough_after_the_filter_and_no_fewer(
    ratio: float, fraction: float, fashion: LabelledImages
) -> None:
    def draw(per_class: int) -> NDArray[np.int64]:
        indices = np.arange(2 * per_class) % len(fashion)
        generated = LabelledImages(fashion.images[indices], np.repeat([0, 1], per_class), ("boot", "sandal"))
        kept = keep_best(generated.labels, np.zeros(len(generated)), fraction)
        return draw_by_ratio(generated.take(kept), real, ratio, seed=0)

    for count in (4, 7, 15, 30, 41):
        real = LabelledImages(fashion.images[:count], np.arange(count) % 2, ("boot", "sandal"))
        needed = needed_before_filter(real, ratio, fraction)
        assert len(draw(needed)) == 2 * needed_per_class(real, ratio)
        if needed > 1:
            with pytest.raises(ConfigError, match="synthetic images of each class"):
                draw(needed - 1)


def test_of_equal_scores_the_earlier_image_is_kept() -> None:
    assert keep_best(LABELS, np.zeros(6), 0.5).tolist() == [0, 1, 2, 5]
