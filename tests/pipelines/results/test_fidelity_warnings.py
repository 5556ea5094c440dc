"""Defects of synthetic images are named, and good images have no warnings."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.results.fidelity_warnings import cautions


def figures(**changes: Any) -> dict[str, Any]:
    """The figures of good images of three classes, with other values for some of them."""
    per_class = {
        "recall": {"boot": 0.7, "bag": 0.8, "coat": 0.6},
        "distinctness": {"boot": 0.6, "bag": 1.1, "coat": 0.45} | changes.pop("distinctness", {}),
        "spread": {"boot": 0.6, "bag": 1.1, "coat": 0.8} | changes.pop("spread", {}),
        "gan_train": {"boot": 0.7, "bag": 0.5, "coat": 0.6} | changes.pop("gan_train", {}),
    }
    good = {"test_images": 600, "synthetic_images": 450, "kid": 0.05, "kid_std": 0.01, "kid_subset_size": 225}
    return {**good, **changes, "per_class": per_class}


def test_good_images_have_no_warnings() -> None:
    assert cautions(figures()) == []


def test_collapsed_classes_are_named_the_worst_first() -> None:
    spread = {"boot": 0.3, "coat": 0.1}
    assert cautions(figures(distinctness={"boot": 0.2, "bag": None, "coat": 0.031}, spread=spread)) == [
        "the synthetic images of 2 of 3 classes are nearly identical (mode collapse): coat (3%), boot (20%); "
        "in brackets, the distance between nearest images relative to real images"
    ]


def test_classes_of_a_few_pictures_are_not_said_to_have_collapsed() -> None:
    assert cautions(figures(distinctness={"boot": 0.2, "bag": 0.1}, spread={"bag": 0.1})) == [
        "the synthetic images of 1 of 3 classes are nearly identical (mode collapse): bag (10%); "
        "in brackets, the distance between nearest images relative to real images",
        "the synthetic images of 1 of 3 classes repeat a few pictures with small changes: boot (20%); "
        "in brackets, the distance between nearest images relative to real images",
    ]


def test_classes_that_vary_little_are_named_apart_from_collapsed_ones() -> None:
    found = cautions(figures(distinctness={"boot": 0.1}, spread={"boot": 0.1, "bag": 0.49, "coat": 0.47}))
    assert found[0].startswith(
        "the synthetic images of 1 of 3 classes are nearly identical (mode collapse): boot (10%)"
    )
    assert found[1:] == [
        "the synthetic images of 2 of 3 classes vary less than half as much as real ones: coat (47%), bag (49%)"
    ]


def test_at_most_five_classes_are_named() -> None:
    (said,) = cautions(figures(spread={f"class {k}": 0.01 * k for k in range(8)}))
    assert "8 of 11 classes" in said
    assert said.endswith("class 4 (4%) and 3 more")


@pytest.mark.parametrize(("recall", "said"), [(0.0, True), (0.33, True), (0.36, True), (0.38, False)])
def test_gan_train_within_the_noise_of_chance_is_no_better(recall: float, said: bool) -> None:
    """Chance is 1/3, and two standard errors of 600 images are 0.038."""
    found = cautions(figures(gan_train=dict.fromkeys(("boot", "bag", "coat"), recall)))
    assert [sentence.startswith("a classifier that is trained on the synthetic images") for sentence in found] == (
        [True] if said else []
    )


def test_the_noise_of_chance_is_that_of_all_folds_together() -> None:
    recalls = {"gan_train": dict.fromkeys(("boot", "bag", "coat"), 0.36)}
    assert cautions(figures(**recalls))
    assert not cautions(figures(**recalls, folds=4))


def test_without_gan_train_there_is_no_warning_of_it() -> None:
    assert cautions(figures(gan_train=dict.fromkeys(("boot", "bag", "coat")))) == []


def test_figures_of_too_few_images_are_named() -> None:
    (said,) = cautions(figures(synthetic_images=60))
    assert said.startswith("KID, precision, recall, density and coverage rest on 600 real and 60 synthetic images")
    (said,) = cautions(figures(synthetic_images=200))
    assert said.startswith("KID, precision, recall, density and coverage of single classes rest on fewer than 100")


def test_a_kid_within_its_own_spread_is_no_distance() -> None:
    assert cautions(figures(kid=-0.004)) == [
        "KID (-0.004 ± 0.010 over subsets of 225 images) cannot be distinguished from 0, the KID of real images"
    ]
