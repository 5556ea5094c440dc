"""Arms of one repeat share the views of the real images, which are those that each would compute alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from augment.dataset.images import LabelledImages
from augment.dataset.policies import POLICIES, bank_of_views
from pipelines.experiment import kept_views
from pipelines.experiment.kept_views import MAX_KEPT, shared_views


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The policies and numbers of views that are computed; nothing is kept at the start."""
    calls: list[tuple[str, int]] = []

    def counted(data: LabelledImages, policy: str, *, views: int, **options: Any) -> Any:
        calls.append((policy, views))
        return bank_of_views(data, policy, views=views, **options)

    monkeypatch.setattr(kept_views, "_kept", type(kept_views._kept)())
    monkeypatch.setattr(kept_views, "bank_of_views", counted)
    return calls


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("flip", [False, True])
def test_fewer_views_are_the_first_of_more(policy: str, flip: bool, shoes: LabelledImages) -> None:
    few, more = (bank_of_views(shoes, policy, views=n, horizontal_flip=flip, seed=3) for n in (2, 5))
    assert np.array_equal(few, more[:2])


def test_views_are_computed_once_for_all_arms(shoes: LabelledImages, computed: list[tuple[str, int]]) -> None:
    options = {"horizontal_flip": False, "seed": 3}
    for views in (5, 4, 5):
        found = shared_views(shoes, "light", views=views, **options)  # type: ignore[arg-type]
        assert np.array_equal(found, bank_of_views(shoes, "light", views=views, **options))  # type: ignore[arg-type]
    assert computed == [("light", 5)]
    assert len(shared_views(shoes, "light", views=6, horizontal_flip=False, seed=3)) == 6
    assert computed[1:] == [("light", 6)]


@pytest.mark.parametrize(
    "change", [{"seed": 4}, {"horizontal_flip": True}, {"policy": "rand-augment"}, {"data": "darker"}]
)
def test_other_views_are_computed(change: dict[str, Any], shoes: LabelledImages, computed: list[Any]) -> None:
    darker = LabelledImages(shoes.images // 2, shoes.labels, shoes.class_names)
    options = {"data": shoes, "policy": "light", "views": 2, "horizontal_flip": False, "seed": 3}
    shared_views(**options)  # type: ignore[arg-type]
    changed = {**options, **({"data": darker} if "data" in change else change)}
    assert np.array_equal(shared_views(**changed), bank_of_views(**changed))
    assert len(computed) == 2


def test_few_banks_are_kept_and_none_that_is_large(
    shoes: LabelledImages, computed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(MAX_KEPT + 2):
        shared_views(shoes, "light", views=2, horizontal_flip=False, seed=seed)
    assert len(kept_views._kept) == MAX_KEPT
    monkeypatch.setattr(kept_views, "MAX_KEPT_BYTES", 10)
    for _ in range(2):
        shared_views(shoes, "light", views=3, horizontal_flip=False, seed=0)
    assert len(computed) == MAX_KEPT + 2 + 2
