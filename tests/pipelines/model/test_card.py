"""The model card says what was trained, and which of its figures may be too good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from augment.generators.anchored import AnchoredConfig
from pipelines.model.card import model_card
from pipelines.model.saved_model import ClassifierMetadata, load_model


@pytest.fixture(scope="module")
def metadata(model: Path) -> ClassifierMetadata:
    return load_model(model, torch.device("cpu")).metadata


def card_with(metadata: ClassifierMetadata, **recipe: Any) -> str:
    return model_card(metadata.model_copy(update={"recipe": metadata.recipe.model_copy(update=recipe)}))


def test_the_card_names_what_had_seen_the_images_left_out(metadata: ClassifierMetadata) -> None:
    assert "had seen the images left out" not in model_card(metadata)
    arm = metadata.recipe.arm.model_copy(update={"soft_labels": True})
    soft = metadata.recipe.evaluate.model_copy(update={"arms": (arm,)})
    scored = "classifiers that score images or give soft labels had seen the images left out, so this may be too good."
    assert f"all of these images. The {scored}" in card_with(metadata, evaluate=soft)
    assert f"The generator and the {scored}" in card_with(metadata, evaluate=soft, generator=AnchoredConfig())


def test_the_card_describes_the_arm_in_words(metadata: ClassifierMetadata) -> None:
    assert "- The arm: classical, a network, trained on real images, augmented by" in model_card(metadata)


def test_a_calibration_error_that_rises_is_explained(metadata: ClassifierMetadata) -> None:
    validation = metadata.cross_validation
    assert validation is not None
    for error, explained in ((0.0, False), (1.0, True)):
        after = {**validation.after, "expected_calibration_error": error}
        changed = validation.model_copy(update={"after": after})
        card = model_card(metadata.model_copy(update={"cross_validation": changed}))
        assert ("It lowers the log loss, which it was fitted to." in card) == explained


def test_the_card_counts_what_is_recognised_of_each_class(metadata: ClassifierMetadata) -> None:
    validation = metadata.cross_validation
    assert validation is not None
    assert validation.confusion is not None
    assert sum(map(sum, validation.confusion)) == validation.images
    right = sum(row[k] for k, row in enumerate(validation.confusion))
    assert right == pytest.approx(validation.images * validation.after["accuracy"])
    changed = validation.model_copy(update={"confusion": [[4, 1, 1], [0, 9, 3], [0, 0, 5]]})
    lines = model_card(metadata.model_copy(update={"cross_validation": changed})).splitlines()
    head = lines.index("| class | training images | recognised, cross-validated |")
    assert [line.split(" | ")[-1] for line in lines[head + 2 : head + 5]] == ["4 of 6 |", "9 of 12 |", "5 of 5 |"]
    earlier = validation.model_copy(update={"confusion": None})
    assert "| class | training images |" in model_card(metadata.model_copy(update={"cross_validation": earlier}))


@pytest.mark.parametrize(("suspects", "doubtful"), [(3, False), (20, True)])
def test_many_suspect_labels_are_called_errors_of_the_classifier(
    suspects: int, doubtful: bool, metadata: ClassifierMetadata
) -> None:
    assert metadata.cross_validation is not None
    assert metadata.cross_validation.images == 36
    card = model_card(metadata.model_copy(update={"suspect_labels": suspects}))
    assert f"{suspects} training images with a label that looks wrong" in card
    assert ("Most of these are probably errors of the classifier" in card) == doubtful
