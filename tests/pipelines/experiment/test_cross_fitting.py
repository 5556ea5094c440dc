"""Synthetic images are classified by classifiers that have not seen what these resemble."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from augment.dataset.images import LabelledImages, concatenate, split_per_class, subset_per_class
from augment.errors import ConfigError
from augment.generators.sampling import SyntheticImages
from classifiers.training import ClassifierConfig
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.cross_fitting import assign_parts, cross_fit
from pipelines.experiment.folds import Fold

CONFIG = EvaluateConfig(views=4, classifier=ClassifierConfig(width=8, steps=60, batch_size=40))
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def halves(fashion: LabelledImages) -> tuple[LabelledImages, LabelledImages]:
    return split_per_class(subset_per_class(fashion, 40, seed=0), 0.5, seed=0)


def test_folds_are_even_in_every_class(shoes: LabelledImages) -> None:
    part_of = assign_parts(shoes, seed=1)  # 9, 6 and 4 images
    for k in range(3):
        counts = np.bincount(part_of[shoes.labels == k], minlength=4)
        assert counts.max() - counts.min() <= 1
    assert (assign_parts(shoes, seed=1) == part_of).all()
    assert (assign_parts(shoes, seed=2) != part_of).any()


def test_two_images_of_a_class_make_two_folds_and_one_is_refused(shoes: LabelledImages) -> None:
    assert set(assign_parts(shoes.take(np.array([0, 1, 2, 9, 10, 15, 16])), seed=0).tolist()) == {0, 1}
    with pytest.raises(ConfigError, match="weights by confidence need 2 training images of each class"):
        assign_parts(shoes.take(np.array([0, 1, 2, 9, 10, 15])), seed=0)


def test_unseen_real_images_are_confirmed_and_mislabelled_ones_and_noise_are_not(
    halves: tuple[LabelledImages, LabelledImages],
) -> None:
    train, other = halves
    wrong = LabelledImages(other.images, (other.labels + 3) % 10, other.class_names)
    noise = LabelledImages(
        np.random.default_rng(0).integers(0, 256, other.images.shape).astype(np.uint8), other.labels, other.class_names
    )
    images = SyntheticImages(concatenate([other, wrong, noise]))
    cross_fitted = cross_fit(Fold(train, other, synthetic=images), CONFIG, seed=0, device=CPU)
    n = len(other)
    sure = cross_fitted.probabilities[np.arange(3 * n), cross_fitted.labels]
    right, mislabelled, of_noise = sure[:n].mean(), sure[n : 2 * n].mean(), sure[2 * n :].mean()
    assert right > 0.4
    assert max(mislabelled, of_noise) < right / 2
    near, far, farthest = (cross_fitted.distance[i * n : (i + 1) * n].mean() for i in range(3))
    assert near < 1.5  # in units of the real images' own distances
    assert far > 1.2 * near
    assert farthest > 1.2 * near
    assert cross_fitted.probabilities.sum(1) == pytest.approx(1)


def test_copies_are_classified_as_if_unseen(halves: tuple[LabelledImages, LabelledImages]) -> None:
    """Copies of training images under wrong labels: a classifier trained on those labels would confirm them."""
    train, other = halves
    poisoned = train.labels.copy()
    poisoned[::7] = (poisoned[::7] + 1) % 10
    train = LabelledImages(train.images, poisoned, train.class_names)
    longer = CONFIG.model_copy(update={"classifier": ClassifierConfig(width=16, steps=250, batch_size=40, mixup=0.0)})
    cross_fitted = cross_fit(Fold(train, other, synthetic=SyntheticImages(train)), longer, seed=0, device=CPU)
    np.testing.assert_allclose(cross_fitted.probabilities, cross_fitted.real_probabilities, atol=1e-5)
    confirmed = cross_fitted.probabilities[np.arange(len(train)), poisoned]
    assert confirmed[::7].mean() < 0.35
    assert np.delete(confirmed, np.arange(0, len(train), 7)).mean() > 0.5
    assert (cross_fitted.distance > 0.05).all()  # never at no distance from itself


def test_without_synthetic_images_the_real_ones_are_classified(
    halves: tuple[LabelledImages, LabelledImages],
) -> None:
    train, other = halves
    cross_fitted = cross_fit(Fold(train, other), CONFIG, seed=0, device=CPU)
    assert (len(cross_fitted.labels), cross_fitted.probabilities.shape, cross_fitted.distance.shape) == (
        0,
        (0, 10),
        (0,),
    )
    accuracy = (cross_fitted.real_probabilities.argmax(1) == train.labels).mean()
    assert accuracy > 0.4  # out of fold; chance is 0.1
