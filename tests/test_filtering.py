"""The best share of each class is kept, by a score that asks for what it needs."""

from __future__ import annotations

import numpy as np
import pytest

from augment.errors import ConfigError
from augment.filtering import SCORERS, Judged, keep_best

LABELS = np.array([1, 0, 1, 0, 1, 2])


def judged(logits: bool = True) -> Judged:
    probabilities = [[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6], [0.9, 0, 0.1], [0, 1, 0], [0.4, 0.4, 0.2]]
    return Judged(
        labels=LABELS,
        probabilities=np.array(probabilities),
        distance=np.array([0.5, 2.0, 1.0, 0.1, 3.0, 0.7]),
        logits=np.array([-1.0, 4.0, 2.0, 0.5, 3.0, 9.0]) if logits else None,
        real_probabilities=np.zeros((0, 3)),
    )


def test_each_scorer_says_what_it_is_about() -> None:
    assert SCORERS["confidence"](judged()).tolist() == [0.7, 0.5, 0.2, 0.9, 1.0, 0.2]
    assert SCORERS["discriminator"](judged()).tolist() == [-1.0, 4.0, 2.0, 0.5, 3.0, 9.0]
    assert SCORERS["distance"](judged()).argmax() == 3  # the nearest is the best


def test_images_without_the_discriminators_scores_cannot_be_filtered_by_it() -> None:
    with pytest.raises(ConfigError, match="filter by confidence or distance"):
        SCORERS["discriminator"](judged(logits=False))


@pytest.mark.parametrize(
    ("share", "kept"),
    [(1.0, [0, 1, 2, 3, 4, 5]), (2 / 3, [0, 3, 4, 5]), (0.5, [0, 3, 4, 5]), (1 / 3, [3, 4, 5]), (0.01, [3, 4, 5])],
)
def test_the_best_of_each_class_are_kept_and_at_least_one(share: float, kept: list[int]) -> None:
    places = keep_best(LABELS, SCORERS["confidence"](judged()), share)  # class 0: 1, 3; class 1: 0, 2, 4; class 2: 5
    assert places.tolist() == kept


def test_of_equal_scores_the_earlier_image_is_kept() -> None:
    assert keep_best(LABELS, np.zeros(6), 0.5).tolist() == [0, 1, 2, 5]
