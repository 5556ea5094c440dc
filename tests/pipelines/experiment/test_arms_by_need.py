"""Images that fill up the small classes are drawn together with the real ones, as if all were real."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from augment.dataset.images import LabelledImages
from augment.dataset.ratios import balances_classes
from augment.generators.sampling import SyntheticImages
from augment.runtime import Runtime
from classifiers.pools import class_weights
from classifiers.training import ClassifierConfig
from pipelines.config.arm_section import Arm
from pipelines.config.reading import parse
from pipelines.config.sections import EvaluateConfig, fill_small_classes
from pipelines.evaluation import ReportContext, evaluate_folds
from pipelines.experiment.arms import check_arms, train_arm
from pipelines.experiment.folds import Design, Fold

CPU = torch.device("cpu")
CONFIG = EvaluateConfig(repeats=2, views=2, classifier=ClassifierConfig(width=4, steps=3, batch_size=6))


@pytest.fixture
def filling(shoes: LabelledImages) -> LabelledImages:
    """3 sneakers and 5 boots, darker than the real ones, which bring 9 sandals, 6 sneakers and 4 boots to 9 each."""
    members = [np.flatnonzero(shoes.labels == k)[np.arange(n) % 4] for k, n in ((1, 3), (2, 5))]
    some = shoes.take(np.concatenate(members))
    return LabelledImages(some.images // 2, some.labels, some.class_names)


def test_images_that_fill_up_differ_from_balanced_ones(shoes: LabelledImages, filling: LabelledImages) -> None:
    assert balances_classes(filling, shoes)
    assert not balances_classes(filling.take(np.arange(7)), shoes)
    assert not balances_classes(shoes, shoes)
    even = shoes.take(np.concatenate([np.flatnonzero(shoes.labels == k)[:4] for k in range(3)]))
    assert not balances_classes(even, even)


def test_the_mixed_arms_draw_from_all_images_at_once(
    shoes: LabelledImages, filling: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.experiment.learners.fit", lambda pools, *_, **__: pools)
    config, (note,) = fill_small_classes(CONFIG)
    assert "fill up the small classes" in note
    fold = Fold(shoes, shoes, (0, 1), synthetic=SyntheticImages(filling))
    check_arms(fold, config)
    pools = {arm.name: train_arm(arm, fold, config, seed=1, device=CPU) for arm in config.resolved_arms()}
    (pool,) = pools["none+synthetic"]  # type: ignore[misc]
    assert pool.labels.bincount().tolist() == [9, 9, 9]
    assert torch.equal(pool.views[0], torch.from_numpy(np.concatenate([shoes.images, filling.images])))
    assert pool.share == 1
    assert len(pools["none"]) == 1  # type: ignore[arg-type]
    assert pools["none"][0].labels.tolist() == shoes.labels.tolist()  # type: ignore[index]


def test_weights_and_soft_labels_go_with_their_images(
    shoes: LabelledImages, filling: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.experiment.learners.fit", lambda pools, *_, **__: pools)
    arm = Arm(name="faint", synthetic=True, by_need=True, weight=0.25)
    fold = Fold(shoes, shoes, synthetic=SyntheticImages(filling))
    (pool,) = train_arm(arm, fold, CONFIG, seed=1, device=CPU)  # type: ignore[misc]
    assert pool.weights.tolist() == [1.0] * 19 + [0.25] * 8


def test_a_share_draws_all_synthetic_images_apart(
    shoes: LabelledImages, filling: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.experiment.learners.fit", lambda pools, *_, **__: pools)
    arms = (Arm(name="share", synthetic=True, share=0.4), Arm(name="first", synthetic=True, synthetic_first=0.5))
    config, _ = fill_small_classes(CONFIG.model_copy(update={"arms": arms}))
    fold = Fold(shoes, shoes, synthetic=SyntheticImages(filling))
    check_arms(fold, config)
    share, first = config.resolved_arms()
    real, synthetic = train_arm(share, fold, config, seed=1, device=CPU)  # type: ignore[misc]
    assert (real.share, synthetic.share) == (0.6, 0.4)
    assert synthetic.labels.tolist() == filling.labels.tolist()
    assert class_weights(synthetic, "plain").tolist() == [0, 1, 1]
    real, synthetic = train_arm(first, fold, config, seed=1, device=CPU)  # type: ignore[misc]
    assert (real.span, synthetic.span) == ((0.5, 1.0), (0.0, 0.5))


def test_arms_that_are_fed_do_not_take_the_stored_images(shoes: LabelledImages) -> None:
    arms = parse(EvaluateConfig, {"arms": ["classical", "classical+grid", "classical+synthetic"]}, "the test").arms
    config, _ = fill_small_classes(CONFIG.model_copy(update={"arms": arms}))
    assert [arm.by_need for arm in config.arms] == [False, False, True]
    assert train_arm(config.resolved_arms()[1], Fold(shoes, shoes), config, seed=1, device=CPU) is not None


def test_an_evaluation_names_the_mix(shoes: LabelledImages, filling: LabelledImages, tmp_path: Path) -> None:
    config, _ = fill_small_classes(CONFIG)
    context = ReportContext("shoes", Design(why="a test", test_labels=shoes.labels))
    fold = Fold(shoes, shoes, (0, 1), synthetic=SyntheticImages(filling))
    evaluate_folds([fold], config, tmp_path / "out", context, Runtime())
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert "all synthetic images, which fill up the small classes" in results["protocol"]["mix"]
