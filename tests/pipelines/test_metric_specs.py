"""Which metric is the default, and what an image counts in it."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from pipelines.metric_specs import default_metric, image_weights


def test_balanced_accuracy_is_the_default_above_one_and_a_half_times():
    assert default_metric({"a": 30, "b": 20}) == "accuracy"
    assert default_metric({"a": 20, "b": 31}) == "balanced_accuracy"


def test_weights_of_images_make_their_correctness_the_metric():
    labels, predicted = np.array([0, 0, 0, 2, 2, 5]), np.array([0, 5, 0, 2, 0, 5])
    right = labels == predicted
    assert right @ image_weights(labels, "accuracy") == pytest.approx(4 / 6)
    for metric in ("balanced_accuracy", "macro_f1"):
        assert right @ image_weights(labels, metric) == pytest.approx(balanced_accuracy_score(labels, predicted))
