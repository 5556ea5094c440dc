"""Copies of images that would be both trained and tested on are reported, for every protocol."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from augment.dataset.images import LabelledImages, split_per_class
from augment.runtime import Observer
from pipelines.config.sections import DataConfig, ProtocolConfig
from pipelines.experiment.loading import LoadedSource
from pipelines.experiment.protocols import make_protocol, with_copy_warnings


@pytest.fixture(scope="module")
def split(fashion: LabelledImages) -> tuple[LabelledImages, LabelledImages]:
    """60 training and 40 test images of each of ten classes, all different."""
    return split_per_class(fashion, 0.4, seed=2)


def warnings_of(
    train: LabelledImages,
    test: LabelledImages | None,
    repeats: int = 2,
    *,
    val: LabelledImages | None = None,
    chooses_mix: bool = False,
    **config: Any,
) -> tuple[str, ...]:
    loaded = LoadedSource("-", train, train, test, (), val)
    options = (DataConfig(source="-"), ProtocolConfig(**config), repeats)
    return with_copy_warnings(make_protocol(loaded, *options, chooses_mix=chooses_mix), Observer()).warnings


def with_copies(data: LabelledImages, copied: LabelledImages) -> LabelledImages:
    """`data`, then three exact copies of the last images of `copied`, and two that are brighter."""
    last = copied.images[-5:]
    brighter = (last[3:] * 0.9).astype(np.uint8)
    images, labels = np.concatenate([data.images, last[:3], brighter]), np.append(data.labels, copied.labels[-5:])
    return LabelledImages(images, labels, data.class_names)


@pytest.mark.parametrize("config", [{"kind": "holdout"}, {"kind": "subsample", "sizes": (2,)}])
def test_images_in_both_training_and_test_are_reported(
    config: dict[str, Any], split: tuple[LabelledImages, LabelledImages]
) -> None:
    """This holds for a pool too, of which one draw of 20 leaves out most images."""
    train, test = split
    before = warnings_of(train, test, **config)
    *others, exact, near = warnings_of(train, with_copies(test, train), **config)
    assert tuple(others) == before
    assert not any("test" in line for line in before)
    assert exact.startswith("3 training images are in the test set too")
    assert near.startswith("2 training images are nearly the same as a test image")


def test_repeated_images_are_reported_where_folds_are_cut(split: tuple[LabelledImages, LabelledImages]) -> None:
    train, _ = split
    assert warnings_of(train, None, 3, kind="kfold", folds=3) == ()
    exact, near = warnings_of(with_copies(train, train), None, 3, kind="kfold", folds=3)
    assert exact.startswith("3 exact duplicates among the images: where they fall into different")
    assert near.startswith("2 pairs of images are nearly the same, or nearly mirror images")


def test_training_images_in_the_validation_set_are_reported(split: tuple[LabelledImages, LabelledImages]) -> None:
    train, test = split
    options = {"val": with_copies(test, train), "kind": "holdout"}
    _, exact, near = warnings_of(train, test, **options, chooses_mix=True)
    assert exact.startswith("3 training images are in the validation set too, pixel for pixel: the choice favours")
    assert near.startswith("2 training images are nearly the same as a validation image")
    assert len(warnings_of(train, test, **options, chooses_mix=False)) == 1
