"""Metrics of the classifier against references written out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from classifiers.metrics import (
    confusion,
    expected_calibration_error,
    pairwise_auc,
    per_class_recall,
    score,
    softmax,
)

# Rows: labels 0 0 0 0 2 2, class 1 never occurs but is predicted once.
LABELS = np.array([0, 0, 0, 0, 2, 2])
PROBABILITIES = np.array(
    [
        [0.70, 0.20, 0.10],
        [0.50, 0.30, 0.20],
        [0.25, 0.65, 0.10],
        [0.10, 0.05, 0.85],
        [0.15, 0.05, 0.80],
        [0.45, 0.15, 0.40],
    ]
)
LOGITS = np.log(PROBABILITIES) + 7.0  # a shift changes nothing


def test_softmax_gives_back_the_probabilities_and_survives_large_logits() -> None:
    np.testing.assert_allclose(softmax(LOGITS), PROBABILITIES, rtol=1e-12)
    np.testing.assert_allclose(softmax([[1e4, -1e4]]), [[1.0, 0.0]])


def test_averages_are_over_the_classes_that_occur() -> None:
    result = score(LOGITS, LABELS, 3)
    assert result["accuracy"] == pytest.approx(3 / 6)
    assert result["balanced_accuracy"] == pytest.approx((2 / 4 + 1 / 2) / 2)
    f1 = [2 * 2 / (4 + 3), 2 * 1 / (2 + 2)]  # 2 hits / (labels + predictions), classes 0 and 2
    assert result["macro_f1"] == pytest.approx(sum(f1) / 2)


def test_log_loss_is_the_mean_negative_log_probability_of_the_label() -> None:
    expected = -np.mean([math.log(p) for p in (0.70, 0.50, 0.25, 0.10, 0.80, 0.40)])
    assert score(LOGITS, LABELS, 3)["log_loss"] == pytest.approx(expected)


def test_every_figure_is_a_finite_float_even_for_a_single_tested_class() -> None:
    result = score(LOGITS[:4], LABELS[:4], 3)
    assert all(type(value) is float and math.isfinite(value) for value in result.values())


def test_calibration_error_follows_its_definition_bin_by_bin() -> None:
    rng = np.random.default_rng(5)
    probabilities = rng.dirichlet([2.0, 1.0, 0.5, 0.3], 400)
    labels = rng.integers(0, 4, 400)
    expected = 0.0
    for m in range(15):
        inside = [i for i in range(400) if m / 15 < max(probabilities[i]) <= (m + 1) / 15]
        if inside:
            hits = sum(int(probabilities[i].argmax() == labels[i]) for i in inside)
            confidence = sum(max(probabilities[i]) for i in inside)
            expected += abs(hits - confidence) / 400
    assert expected_calibration_error(probabilities, labels) == pytest.approx(expected)


def test_calibration_error_of_certainty_is_the_error_rate() -> None:
    certain = np.eye(3)[[0, 1, 2, 2]]
    assert expected_calibration_error(certain, np.array([0, 1, 2, 0])) == pytest.approx(0.25)


def test_recall_of_a_class_that_does_not_occur_is_none() -> None:
    assert per_class_recall(LOGITS, LABELS, 3) == [0.5, None, 0.5]


def test_confusion_has_labels_in_rows_and_predictions_in_columns() -> None:
    np.testing.assert_array_equal(confusion(LOGITS, LABELS, 3), [[2, 1, 1], [0, 0, 0], [1, 0, 1]])


def test_pairwise_area_is_the_mean_area_of_all_pairs_of_classes() -> None:
    rng = np.random.default_rng(3)
    logits, labels = rng.normal(size=(60, 4)).round(1), rng.choice([0, 1, 3], 60)  # rounded, so that there are ties
    areas = []
    for i, j in [(0, 1), (0, 3), (1, 3)]:
        pair = np.isin(labels, [i, j])
        areas.append(roc_auc_score(labels[pair] == i, logits[pair, i] - logits[pair, j]))
    assert pairwise_auc(logits, labels) == pytest.approx(np.mean(areas))
    assert pairwise_auc(np.eye(4)[labels], labels) == 1.0


def test_favouring_a_class_changes_no_pairwise_area() -> None:
    rng = np.random.default_rng(4)
    logits, labels = rng.normal(size=(60, 4)), rng.integers(0, 4, 60)
    favoured = logits + np.array([3.0, 0.0, -1.0, 0.5])
    assert pairwise_auc(favoured, labels) == pytest.approx(pairwise_auc(logits, labels))
    assert score(favoured, labels, 4)["balanced_accuracy"] != score(logits, labels, 4)["balanced_accuracy"]
