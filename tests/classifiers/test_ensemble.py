"""An ensemble averages probabilities, and its temperature makes confidence fit unseen images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax

from classifiers.ensemble import Ensemble, fit_temperature, mean_log_probabilities
from classifiers.networks import build


@pytest.fixture
def members() -> list[torch.nn.Module]:
    models = [build("small", 3, 1, 12, 4, seed=seed).eval() for seed in (1, 2)]
    for model in models:
        torch.nn.init.normal_(model.head.weight)  # type: ignore[union-attr, arg-type]
    return models


def test_the_probabilities_are_the_mean_of_the_members(members: list[torch.nn.Module]) -> None:
    images = torch.rand(5, 1, 12, 12) * 2 - 1
    expected = sum(member(images).softmax(1) for member in members) / 2
    torch.testing.assert_close(Ensemble(members, 3)(images).exp(), expected)


def test_the_shift_comes_before_the_temperature(members: list[torch.nn.Module]) -> None:
    images, ensemble = torch.rand(5, 1, 12, 12) * 2 - 1, Ensemble(members, 3)
    averaged = ensemble(images)
    ensemble.temperature, ensemble.shift = torch.tensor(2.0), torch.tensor([0.5, 0.0, -1.0])
    torch.testing.assert_close(ensemble(images), ((averaged - ensemble.shift) / 2).log_softmax(1))


def test_the_mean_is_of_probabilities_and_not_of_logits() -> None:
    logits = torch.tensor([[[4.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]]])
    expected = (torch.tensor([4.0, 0.0, 0.0]).softmax(0) + 1 / 3) / 2
    torch.testing.assert_close(mean_log_probabilities(logits).exp()[0], expected)


@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
def test_the_temperature_is_found_that_the_labels_were_drawn_with(true: float) -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(0, 2, (20_000, 4))
    labels = np.array([rng.choice(4, p=p) for p in softmax(z / true, 1)])
    assert fit_temperature(z, labels, np.full(len(z), 1 / len(z))) == pytest.approx(true, rel=0.05)


def test_weights_say_which_images_the_temperature_fits() -> None:
    z, labels = np.tile([[2.0, 0.0]], (100, 1)), np.repeat([0, 1, 0, 1], [45, 5, 25, 25])
    weights = np.repeat([1.0, 0.0], 50)
    assert fit_temperature(z, labels, weights) == pytest.approx(2 / np.log(9), rel=1e-3)
    assert fit_temperature(z, labels, weights[::-1]) == pytest.approx(20, rel=1e-2)
