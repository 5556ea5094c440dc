"""Judges of synthetic images have not seen what these resemble."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from augment.dataset.images import LabelledImages, concatenate, split_per_class, subset_per_class
from augment.errors import ConfigError
from augment.generators.sampling import SyntheticImages
from classifiers.training import FitConfig
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.cross_fitting import assign_parts, judge
from pipelines.experiment.folds import Fold

CONFIG = EvaluateConfig(views=4, classifier=FitConfig(width=8, steps=60, batch_size=40))
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
    with pytest.raises(ConfigError, match="judging needs 2 training images of each class"):
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
    judged = judge(Fold(train, other, synthetic=images), CONFIG, seed=0, device=CPU)
    n = len(other)
    sure = judged.probabilities[np.arange(3 * n), judged.labels]
    right, mislabelled, of_noise = sure[:n].mean(), sure[n : 2 * n].mean(), sure[2 * n :].mean()
    assert right > 0.4
    assert max(mislabelled, of_noise) < right / 2
    near, far, farthest = (judged.distance[i * n : (i + 1) * n].mean() for i in range(3))
    assert near < 1.5  # in units of the real images' own distances
    assert far > 1.2 * near
    assert farthest > 1.2 * near
    assert judged.probabilities.sum(1) == pytest.approx(1)


def test_copies_are_judged_as_if_unseen(halves: tuple[LabelledImages, LabelledImages]) -> None:
    """Copies of training images under wrong labels: a judge that had trained on those labels would confirm them."""
    train, other = halves
    poisoned = train.labels.copy()
    poisoned[::7] = (poisoned[::7] + 1) % 10
    train = LabelledImages(train.images, poisoned, train.class_names)
    longer = CONFIG.model_copy(update={"classifier": FitConfig(width=16, steps=250, batch_size=40, mixup=0.0)})
    judged = judge(Fold(train, other, synthetic=SyntheticImages(train)), longer, seed=0, device=CPU)
    np.testing.assert_allclose(judged.probabilities, judged.real_probabilities, atol=1e-5)
    confirmed = judged.probabilities[np.arange(len(train)), poisoned]
    assert confirmed[::7].mean() < 0.35
    assert np.delete(confirmed, np.arange(0, len(train), 7)).mean() > 0.5
    assert (judged.distance > 0.05).all()  # never at no distance from itself


def test_without_synthetic_images_only_the_real_ones_are_judged(halves: tuple[LabelledImages, LabelledImages]) -> None:
    train, other = halves
    judged = judge(Fold(train, other), CONFIG, seed=0, device=CPU)
    assert (len(judged.labels), judged.probabilities.shape, judged.distance.shape) == (0, (0, 10), (0,))
    accuracy = (judged.real_probabilities.argmax(1) == train.labels).mean()
    assert accuracy > 0.4  # out of fold; chance is 0.1
