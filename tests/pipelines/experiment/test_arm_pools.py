"""How many views of each image are made in advance."""

from __future__ import annotations

import pytest
import torch

from classifiers.pools import Pool
from classifiers.training import ClassifierConfig
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment import arm_pools
from pipelines.experiment.arm_pools import views_needed


def pool(class_weights: torch.Tensor | None = None) -> Pool:
    """90 images of one class and 10 of another."""
    labels = torch.tensor([0] * 90 + [1] * 10)
    return Pool(torch.zeros(1, 100, 1, 8, 8, dtype=torch.uint8), labels, class_weights=class_weights)


def test_an_image_of_an_often_drawn_class_gets_more_views() -> None:
    data, rare = pool(), pool(class_weights=torch.tensor([0.0, 1.0]).double())
    config = EvaluateConfig(
        views=32, classifier=ClassifierConfig(steps=10, batch_size=40, sampling="plain")
    )  # 400 draws
    balanced = config.model_copy(update={"classifier": ClassifierConfig(steps=10, batch_size=40, sampling="balanced")})
    assert views_needed(data, config, 1.0) == views_needed(data, config, 0.9) == 4
    assert views_needed(data, balanced, 1.0) == 20  # 200 draws of 10 images
    assert views_needed(rare, config, 0.5) == 20
    assert views_needed(data, balanced.model_copy(update={"views": 7}), 1.0) == 7


def test_views_of_many_large_images_are_limited_by_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arm_pools, "MAX_BYTES", 6 * 100 * 64)
    data = pool()
    config = EvaluateConfig(views=32, classifier=ClassifierConfig(steps=10, batch_size=40, sampling="balanced"))
    assert views_needed(data, config, 1.0) == 6
    more = config.model_copy(update={"classifier": ClassifierConfig(steps=20, batch_size=40, sampling="balanced")})
    assert views_needed(data, more, 1.0) == 8  # the mean number of draws
