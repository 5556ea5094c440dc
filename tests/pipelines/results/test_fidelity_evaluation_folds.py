"""Fidelity figures of several folds are means over them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from stand_ins import CONFIG, fold_of, measure, measure_all, part, record

from augment.dataset.images import LabelledImages
from pipelines.experiment.folds import Fold


@pytest.fixture(scope="module")
def folds(four: LabelledImages) -> list[Fold]:
    """Two of three folds are of the first size, of which one has 5 test images of a class, and so no figures."""
    few = part(four, 30, 60).take(np.arange(25, 120))
    return [
        fold_of(part(four, 0, 30), part(four, 30, 60), part(four, 60, 90), name="a", size=30),
        fold_of(part(four, 5, 30), few, part(four, 60, 99), name="b", size=30),
        fold_of(part(four, 0, 20), part(four, 30, 60), part(four, 60, 70), name="c", size=20),
    ]


def test_figures_are_means_over_the_folds_of_the_first_size(folds: list[Fold]) -> None:
    records = [record(0.1 * i, [0.1 * i, 0.2, None, 0.4], fold=m.name) for i, m in enumerate(folds)]
    found = measure_all(folds, CONFIG, records)
    a, b = (measure(fold, [records[i]]) for i, fold in enumerate(folds[:2]))
    assert found["folds"] == 2
    assert (found["test_images"], found["synthetic_images"]) == (95, 120)
    for key in ("kid", "fid", "coverage", "gan_train_accuracy", "gan_test_accuracy", "memorised_fraction"):
        assert a[key] != b[key]
        assert found[key] == pytest.approx((a[key] + b[key]) / 2)
    assert found["features"] == "own classifier"
    per_class = found["per_class"]
    assert b["per_class"]["recall"]["t-shirt"] is None
    assert per_class["recall"]["t-shirt"] == a["per_class"]["recall"]["t-shirt"]
    assert per_class["recall"]["bag"] == pytest.approx(
        (a["per_class"]["recall"]["bag"] + b["per_class"]["recall"]["bag"]) / 2
    )
    assert per_class["gan_train"]["t-shirt"] == pytest.approx(0.05)
    assert "1 of 4 classes" in found["per_class_note"]


def test_one_fold_keeps_its_own_figures(folds: list[Fold]) -> None:
    records = [record(0.3, [0.1, 0.2, 0.3, 0.4], fold="c"), record(0.9, [0.9] * 4, fold="a")]
    found = measure_all(folds[2:], CONFIG, records)
    assert found == measure(folds[2], records[:1])


def test_a_figure_that_one_fold_lacks_is_no_mean_of_the_others(folds: list[Fold]) -> None:
    small = replace(folds[1], test=folds[1].test.take(np.arange(20, 80)))
    records = [record(0.5, [0.5] * 4, fold=fold) for fold in "ab"]
    found = measure_all([folds[0], small], CONFIG, records)
    assert "fid" not in found
    assert "got 60 real" in found["fid_note"]
