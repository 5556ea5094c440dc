"""`AugmentClassifier` is an estimator of scikit-learn for pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils import estimator_checks

from augment.dataset.images import LabelledImages, subset_per_class
from augment.dataset.sources import read_source
from augment.errors import ConfigError, SourceError
from augment.runtime import Runtime
from classifiers.training import predict
from pipelines.config.sections import DataConfig
from pipelines.model.estimator import AugmentClassifier
from pipelines.model.exporting import export
from pipelines.model.recipe import choose_recipe
from pipelines.model.saved_model import load_model
from pipelines.model.training import train

onnxruntime = pytest.importorskip("onnxruntime")

Arrays = tuple[NDArray[np.uint8], NDArray[np.str_]]
QUICK = AugmentClassifier(steps=40, image_size=12)


@pytest.fixture(scope="module")
def pictures(four: LabelledImages) -> Arrays:
    """Twelve pictures of each of four classes, N x H x W, with names as labels."""
    some = subset_per_class(four, 12, seed=0)
    return some.images[:, 0], np.array(some.class_names)[some.labels]


def test_it_recognises_pictures_that_it_has_not_seen(four: LabelledImages, pictures: Arrays) -> None:
    model = clone(QUICK).fit(*pictures)
    assert model.classes_.tolist() == ["bag", "sandal", "t-shirt", "trouser"]
    assert model.score(four.images[:, 0], np.array(four.class_names)[four.labels]) > 0.8
    p = model.predict_proba(pictures[0])
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-6)
    assert (model.predict(pictures[0]) == model.classes_[p.argmax(1)]).all()


def test_it_works_in_cross_validation_and_in_a_grid_search(pictures: Arrays) -> None:
    assert cross_val_score(QUICK, *pictures, cv=2).mean() > 0.6
    search = GridSearchCV(QUICK, {"steps": [1, 40]}, cv=2).fit(*pictures)
    assert search.best_params_ == {"steps": 40}


def test_the_same_seed_gives_the_same_probabilities(pictures: Arrays) -> None:
    first, again, other = (clone(QUICK).set_params(random_state=s).fit(*pictures) for s in (1, 1, 2))
    p = first.predict_proba(pictures[0])
    assert np.array_equal(again.predict_proba(pictures[0]), p)
    assert not np.array_equal(other.predict_proba(pictures[0]), p)


def test_it_is_the_classifier_that_the_command_trains(data: DataConfig, tmp_path: Path) -> None:
    train(data, choose_recipe(None, steps=5), tmp_path / "model", Runtime(), members=2, keep_test=True)
    saved, source = load_model(tmp_path / "model", torch.device("cpu")), read_source(data.source, image_size=12)
    names = np.array(source.train.class_names)[source.train.labels]
    model = AugmentClassifier(steps=5, members=2, calibrated=True).fit(source.train.images[:, 0], names)
    test = source.splits["test"].images
    expected = predict(saved.network, test).exp().numpy()
    np.testing.assert_allclose(model.predict_proba(test[:, 0]), expected, atol=1e-6)
    export(saved, tmp_path / "m.onnx")
    (found,) = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(["probabilities"], {"pixels": test})
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_calibration_leaves_pictures_out(pictures: Arrays) -> None:
    model = clone(QUICK).set_params(calibrated=True, members=2).fit(*pictures)
    assert model.cross_validation_.images == 48
    assert float(model.network_.temperature) != 1
    assert len(model.network_.members) == 2


def test_colour_pictures_have_their_channels_last(pictures: Arrays) -> None:
    colour = np.stack([pictures[0], 255 - pictures[0], pictures[0]], 3)
    model = clone(QUICK).fit(colour, pictures[1])
    assert model.predict_proba(colour).shape == (48, 4)
    with pytest.raises(SourceError, match="expected pictures of 3 channels, as in fit, got 1"):
        model.predict(pictures[0])


@pytest.mark.parametrize("wrong", [np.zeros((4, 9), np.uint8), np.zeros((4, 8, 8)), np.zeros((4, 8, 8, 5), np.uint8)])
def test_arrays_that_are_no_pictures_are_refused(wrong: NDArray[np.generic]) -> None:
    with pytest.raises(SourceError, match="expected pictures as uint8"):
        clone(QUICK).fit(wrong, [0, 0, 1, 1])


def test_a_size_that_is_not_allowed_is_refused(pictures: Arrays) -> None:
    with pytest.raises(ConfigError, match="image size 13 is not a multiple of 4 from 8 to 128; the nearest is 12"):
        AugmentClassifier(steps=2, image_size=13).fit(*pictures)


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_tags_renamed,
        estimator_checks.check_valid_tag_types,
    ],
    ids=lambda check: check.__name__,
)
def test_the_checks_of_scikit_learn_that_need_no_table_pass(check: object) -> None:
    check("AugmentClassifier", AugmentClassifier())  # type: ignore[operator]
