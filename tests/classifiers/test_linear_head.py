"""The linear classifier minimises its loss exactly, and corrects for the class frequencies of each pool."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from augment.dataset.images import LabelledImages
from classifiers.linear_head import fit_linear_head, log_priors, weighted_targets
from classifiers.pools import Pool


@pytest.fixture(scope="module")
def pixels(four: LabelledImages) -> Tensor:
    """Every fourth pixel of 40 pictures in each of four classes, as features: float32, 160 x 196."""
    small = four.images[:, 0, ::2, ::2].reshape(4, 100, 196)[:, :40]
    return torch.from_numpy(small.reshape(160, 196) / 255).float()


LABELS = torch.arange(4).repeat_interleave(40)
ONE_HOT = torch.nn.functional.one_hot(LABELS, 4).float()
NO_OFFSETS = torch.zeros(160, 4)


def test_the_fit_is_that_of_scikit_learn(pixels: Tensor) -> None:
    weights = torch.linspace(0.2, 3.0, 160)
    head = fit_linear_head(pixels, ONE_HOT * weights[:, None], NO_OFFSETS, 0.3)
    reference = LogisticRegression(C=0.3, tol=1e-8, max_iter=2000)
    reference.fit(pixels.double().numpy(), LABELS.numpy(), sample_weight=weights.double().numpy())
    torch.testing.assert_close(head.weight.detach(), torch.from_numpy(reference.coef_).float(), rtol=1e-3, atol=1e-4)


def test_the_loss_has_no_slope_at_the_fit(pixels: Tensor) -> None:
    """With soft targets of unlike sums and with offsets, by the derivative of the loss in closed form."""
    rng = np.random.default_rng(3)
    targets, offsets = rng.random((160, 4)), rng.normal(0, 2, (160, 4))
    head = fit_linear_head(pixels, torch.from_numpy(targets), torch.from_numpy(offsets), 0.3)
    weight, bias, x = (t.detach().double().numpy() for t in (head.weight, head.bias, pixels))
    errors = targets - targets.sum(1, keepdims=True) * softmax(x @ weight.T + bias + offsets, axis=1)
    np.testing.assert_allclose(0.3 * errors.T @ x, weight, atol=1e-4)
    np.testing.assert_allclose(errors.sum(0), 0, atol=1e-3)
    assert np.abs(weight).max() > 0.1


def test_the_fit_changes_no_random_state_and_repeats_itself(pixels: Tensor) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second = (fit_linear_head(pixels, ONE_HOT, NO_OFFSETS, 1.0) for _ in range(2))
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture
def pools(four: LabelledImages) -> list[Pool]:
    """Three real images of classes 0, 0 and 2, and two synthetic ones of classes 0 and 2 with unlike weights."""
    views = torch.from_numpy(four.images)[None]
    real = Pool(views[:, :3], torch.tensor([0, 0, 2]), share=0.75)
    class_weights = torch.tensor([1.0, 5.0, 3.0], dtype=torch.float64)
    weights = torch.tensor([1.0, 0.5])
    synthetic = Pool(views[:, 3:5], torch.tensor([0, 2]), 0.25, weights=weights, class_weights=class_weights)
    return [real, synthetic]


def test_images_count_by_the_shares_and_class_weights_of_their_pools(pools: list[Pool]) -> None:
    real, synthetic = weighted_targets(pools, 3)
    assert real.tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 1]]
    assert synthetic.tolist() == [[4 * 0.25 * 1 / 4, 0, 0], [0, 0, 4 * 0.25 * 3 / 4 * 0.5]]


def test_each_pool_has_the_prior_of_its_own_classes(pools: list[Pool]) -> None:
    """A class that a pool lacks has the prior of the rarest one."""
    real, synthetic = log_priors(pools, 3)
    assert real.tolist() == pytest.approx([0, math.log(1 / 2), math.log(1 / 2)])
    assert synthetic.tolist() == pytest.approx([math.log(2 / 3), math.log(2 / 3), 0])  # 1/4 against 3/4 * 1/2


def test_rare_classes_are_predicted_as_often_as_others(four: LabelledImages, pixels: Tensor) -> None:
    seen = torch.cat([torch.arange(0, 38), torch.arange(40, 43), torch.arange(80, 118), torch.arange(120, 123)])
    pool = Pool(torch.from_numpy(four.images[seen])[None], LABELS[seen])
    targets, offsets = weighted_targets([pool], 4)[0], log_priors([pool], 4)[0].expand(len(seen), 4)
    others = torch.from_numpy(four.images[:, 0, ::2, ::2].reshape(4, 100, 196)[:, 40:].reshape(240, 196) / 255).float()
    recalls = []
    for offset in (NO_OFFSETS[: len(seen)], offsets):
        predicted = fit_linear_head(pixels[seen], targets, offset, 0.05)(others).argmax(1).view(4, 60)
        recalls.append([(predicted[k] == k).float().mean().item() for k in (1, 3)])
    plain, adjusted = np.mean(recalls, axis=1)
    assert adjusted > plain + 0.1
