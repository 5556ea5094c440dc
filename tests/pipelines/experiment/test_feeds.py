"""Arms are fed with new images while they train: by the generator of their fold, or by a control."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fitting import fit as fit_run
from pydantic import ValidationError

from augment.dataset.images import LabelledImages
from augment.errors import ConfigError
from augment.generators.anchored import AnchoredConfig
from augment.generators.cgan import CganConfig
from classifiers.pools import FreshPool
from pipelines.config.arm_section import FEEDS, Arm
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.arms import check_arms, train_arm
from pipelines.experiment.feeds import MODELS, feed
from pipelines.experiment.folds import Fold

ANCHORED = AnchoredConfig(anchors="grid-difference", width=4, latent_dim=8, steps=4, batch_size=8, lenders_from=6)
LABELS, SEEDS = torch.tensor([0, 2, 1, 1]), torch.tensor([5, 6, 7, 8])


@pytest.fixture(scope="module")
def fold(shoes: LabelledImages, tmp_path_factory: pytest.TempPathFactory) -> Fold:
    run = tmp_path_factory.mktemp("feeds") / "run"
    fit_run(shoes, ANCHORED, run)
    return Fold(shoes, shoes, (0,), run=run)


def fresh_pool(fold: Fold, monkeypatch: pytest.MonkeyPatch, **arm: Any) -> FreshPool:
    monkeypatch.setattr("pipelines.experiment.learners.fit", lambda given, *_, **__: given)
    settings = Arm(name="a", **{"synthetic": True, "feed": "grid", **arm})
    _, pool = train_arm(settings, fold, EvaluateConfig(), seed=3, device=torch.device("cpu"))  # type: ignore[misc]
    return pool  # type: ignore[no-any-return]


def test_every_feed_has_a_model() -> None:
    assert MODELS.keys() == FEEDS.keys()


@pytest.mark.parametrize("name", FEEDS)
@pytest.mark.parametrize("policy", [None, "light"])
def test_a_feed_repeats_with_its_seeds(name: str, policy: str | None, fold: Fold) -> None:
    generate = feed(name, fold, policy, horizontal_flip=False)
    images = generate(LABELS, SEEDS)
    assert images.shape == (4, 1, 12, 12)
    assert images.dtype == torch.uint8
    assert torch.equal(generate(LABELS, SEEDS), images)
    assert not torch.equal(generate(LABELS, SEEDS + 1), images)


@pytest.mark.parametrize("name", ["resample", "grid", "cutmix"])
def test_controls_need_no_generator(name: str, fold: Fold) -> None:
    images = feed(name, replace(fold, run=None), None, horizontal_flip=False)(LABELS, SEEDS)
    assert images.shape == (4, 1, 12, 12)


def test_resample_gives_training_images_of_the_class(fold: Fold) -> None:
    images = feed("resample", fold, None, horizontal_flip=False)(LABELS, SEEDS).numpy()
    for image, label in zip(images, LABELS.tolist(), strict=True):
        assert any(np.array_equal(image, real) for real in fold.train.images[fold.train.labels == label])


def test_a_policy_changes_the_fed_images_as_it_changes_real_ones(fold: Fold) -> None:
    feeds = [feed("resample", fold, policy, horizontal_flip=False) for policy in (None, "strong")]
    plain, changed = (generate(LABELS, SEEDS) for generate in feeds)
    assert (plain != changed).flatten(1).any(1).all()


def test_reconstructions_are_nearer_to_their_class_than_mixtures(fold: Fold, tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit_run(fold.train, ANCHORED.model_copy(update={"steps": 150, "width": 8, "batch_size": 16}), run)
    labels, seeds = torch.arange(3).repeat(40), torch.arange(120)
    distances = []
    for name in ("reconstruction", "generator"):
        images = feed(name, replace(fold, run=run), None, horizontal_flip=False)(labels, seeds).float()
        real = torch.from_numpy(fold.train.images).float()
        distances.append((images[:, None] - real[None]).abs().mean((2, 3, 4)).min(1).values.mean())
    assert distances[0] < 0.9 * distances[1]


def test_a_feed_without_its_generator_is_refused(fold: Fold) -> None:
    with pytest.raises(ConfigError, match="an arm has a feed that needs a generator, but there is none"):
        feed("generator", replace(fold, run=None), None, horizontal_flip=False)


def test_reconstructions_of_another_kind_of_generator_are_refused(fold: Fold, tmp_path: Path) -> None:
    fit_run(fold.train, CganConfig(width=4, latent_dim=8, steps=1, batch_size=8), tmp_path / "run")
    with pytest.raises(ConfigError, match="needs a generator of kind anchored, got cgan"):
        feed("reconstruction", replace(fold, run=tmp_path / "run"), None, horizontal_flip=False)


def test_a_generator_of_other_classes_is_refused(fold: Fold) -> None:
    renamed = LabelledImages(fold.train.images, fold.train.labels, ("a", "b", "c"))
    with pytest.raises(ConfigError, match="fitted to other classes"):
        feed("generator", replace(fold, train=renamed), None, horizontal_flip=False)


def test_fed_arms_need_no_stored_images(fold: Fold) -> None:
    arms = ("classical", "classical+grid", "classical+fresh")
    check_arms(fold, EvaluateConfig(arms=arms))
    assert fold.synthetic is None


def test_a_fed_arm_takes_its_share_from_its_ratio_or_its_own(fold: Fold, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fresh_pool(fold, monkeypatch).share == pytest.approx(0.5)
    assert fresh_pool(fold, monkeypatch, share=0.2).share == pytest.approx(0.2)


def test_the_exponent_gives_small_classes_more_of_the_synthetic_images(
    fold: Fold, monkeypatch: pytest.MonkeyPatch
) -> None:
    even = fresh_pool(fold, monkeypatch).class_weights
    assert even is not None
    assert even.tolist() == [1, 1, 1]
    by_need = fresh_pool(fold, monkeypatch, class_exponent=-1).class_weights
    assert by_need is not None
    assert (by_need * torch.tensor([9, 6, 4])).tolist() == pytest.approx([1, 1, 1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keep": 0.5}, "keep is for stored images"),
        ({"weight": 0.3}, "weight is for stored images"),
        ({"by_need": True}, "by_need is for stored images"),
        ({"synthetic": False}, "synthetic: true is missing"),
    ],
)
def test_settings_for_stored_images_are_refused_with_a_feed(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Arm(**{"name": "a", "synthetic": True, "feed": "generator", **settings})
