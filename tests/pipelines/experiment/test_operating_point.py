"""Classifiers on parts of the images find how far the logits of rare classes have to be raised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from fitting import fit as fit_run
from torch import nn

from augment.dataset.images import LabelledImages
from augment.errors import ConfigError
from augment.generators.anchored import Anchored, AnchoredConfig
from augment.generators.registry import load_model
from augment.generators.resample import ResampleConfig
from classifiers.training import ClassifierConfig
from pipelines.config.arm_section import Arm
from pipelines.config.reading import parse
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.arms import predict_test, train_arm
from pipelines.experiment.feeds import feed
from pipelines.experiment.folds import Fold
from pipelines.experiment.operating_point import ALWAYS_SEEN, assign_parts, fit_shift, set_operating_point
from pipelines.results.pairs import declared_comparisons

CPU = torch.device("cpu")
TINY = ClassifierConfig(width=4, steps=30, batch_size=8, sampling="plain", long_tail="logit-adjustment")
CONFIG = EvaluateConfig(views=2, classifier=TINY)
CROSS_FITTED = Arm(name="a", operating_point="cross-fitted")


@pytest.mark.parametrize("confidence", [0.5, 2.0])
@pytest.mark.parametrize("shift", [-0.3, 0.0, 0.7])
def test_a_known_shift_is_found_whatever_the_confidence(confidence: float, shift: float) -> None:
    """The labels follow the unshifted logits, and then most images of two classes are left out."""
    rng, log_priors = np.random.default_rng(0), np.log([1.0, 0.2, 0.05])
    right = rng.normal(0, 2, (60_000, 3))
    right -= right.mean(0)
    p = np.exp(right) / np.exp(right).sum(1, keepdims=True)
    labels = (p.cumsum(1) < rng.random((len(p), 1))).sum(1)
    kept = rng.random(len(p)) < np.exp(log_priors)[labels]
    logits = (right + shift * log_priors)[kept] / confidence
    assert fit_shift(logits, labels[kept], log_priors) == pytest.approx(shift / confidence, abs=0.06)


def test_the_shift_minimises_the_loss_over_a_grid() -> None:
    rng, log_priors = np.random.default_rng(1), np.log([1.0, 0.1, 0.1])
    logits, labels = rng.normal(size=(40, 3)), np.repeat([0, 1, 2], [30, 5, 5])
    logits[np.arange(40), labels] += 1.5

    def loss(t: float, scale: float) -> float:
        z = scale * (logits - t * log_priors)
        nll = np.log(np.exp(z).sum(1)) - z[np.arange(40), labels]
        return float(np.mean([nll[labels == k].mean() for k in range(3)]))

    best = min((loss(t, s), t) for t in np.arange(-1, 1.01, 0.02) for s in np.arange(0.1, 4, 0.05))
    assert fit_shift(logits, labels, log_priors) == pytest.approx(best[1], abs=0.02)


def test_logits_without_information_are_not_shifted() -> None:
    logits, labels = -5 * np.eye(3)[np.arange(30) % 3], np.arange(30) % 3
    assert fit_shift(logits, labels, np.log([1.0, 0.1, 0.1])) == 0


def test_every_class_is_spread_over_the_parts(shoes: LabelledImages) -> None:
    parts = assign_parts(Fold(shoes, shoes), seed=0)
    for k in range(3):
        counts = np.bincount(parts[shoes.labels == k], minlength=5)
        assert np.ptp(counts) <= 1
    assert not (assign_parts(Fold(shoes, shoes), seed=1) == parts).all()


def test_the_only_image_of_a_class_is_always_seen(shoes: LabelledImages) -> None:
    few = shoes.take(np.concatenate([np.flatnonzero(shoes.labels != 2), np.flatnonzero(shoes.labels == 2)[:1]]))
    parts = assign_parts(Fold(few, few), seed=0)
    assert (parts == ALWAYS_SEEN).tolist() == (few.labels == 2).tolist()


def test_no_classifier_is_asked_about_what_it_has_seen(shoes: LabelledImages) -> None:
    asked, fold = [], Fold(shoes, shoes)
    arm = CROSS_FITTED.model_copy(update={"operating_point": "as-trained"})

    def train(part: Fold, seed: int) -> nn.Module:
        model = train_arm(arm, part, CONFIG, seed=seed, device=CPU)
        model.seen = {image.tobytes() for image in part.train.images}  # type: ignore[assignment]
        return model

    def predict(model: nn.Module, part: Fold) -> torch.Tensor:
        images = [image.tobytes() for image in part.test.images]
        assert not model.seen.intersection(images)  # type: ignore[operator, union-attr]
        asked.extend(images)
        return predict_test(arm, model, part)

    set_operating_point(train(fold, 0), fold, train, predict, seed=3)
    assert sorted(asked) == sorted(image.tobytes() for image in shoes.images)


def test_only_the_biases_change_by_one_multiple_of_the_log_prior(shoes: LabelledImages) -> None:
    fold = Fold(shoes, shoes)
    plain = train_arm(Arm(name="a"), fold, CONFIG, seed=1, device=CPU).state_dict()
    shifted = train_arm(CROSS_FITTED, fold, CONFIG, seed=1, device=CPU).state_dict()
    changed = [name for name, tensor in plain.items() if not torch.equal(tensor, shifted[name])]
    assert changed == ["head.bias"]
    differences = (plain["head.bias"] - shifted["head.bias"]).double().numpy()
    log_priors = np.log(shoes.counts() / shoes.counts().max())
    np.testing.assert_allclose(differences, differences[2] / log_priors[2] * log_priors, atol=1e-6)


def test_equal_classes_need_no_further_training(four: LabelledImages) -> None:
    even = four.take(np.concatenate([np.flatnonzero(four.labels == k)[:3] for k in range(4)]))
    fold = Fold(even, even)
    model = train_arm(Arm(name="a"), fold, CONFIG, seed=1, device=CPU)
    before = [parameter.clone() for parameter in model.parameters()]
    set_operating_point(model, fold, pytest.fail, pytest.fail, seed=0)  # type: ignore[arg-type]
    assert all(map(torch.equal, model.parameters(), before))


def test_a_generator_forgets_the_anchors_that_are_left_out(shoes: LabelledImages, tmp_path: Any) -> None:
    config = AnchoredConfig(width=4, latent_dim=8, steps=2, batch_size=8, lenders_from=6)
    fit_run(shoes, config, tmp_path / "run")
    model = load_model(tmp_path / "run")
    assert isinstance(model, Anchored)
    part = shoes.take(np.flatnonzero(assign_parts(Fold(shoes, shoes), seed=0) != 0))
    anchors = model.restricted_to(part).synthesis.anchors
    assert torch.equal(anchors.images, torch.from_numpy(part.images))
    assert anchors.difference_classes.tolist() == model.synthesis.anchors.difference_classes.tolist() == [0, 1]
    arm = CROSS_FITTED.model_copy(update={"synthetic": True, "feed": "generator", "share": 0.25})
    fold = Fold(shoes, shoes, run=tmp_path / "run")
    plain = arm.model_copy(update={"operating_point": "as-trained"})
    biases = [train_arm(a, fold, CONFIG, seed=1, device=CPU).state_dict()["head.bias"] for a in (arm, plain)]
    assert not torch.equal(*biases)


def test_views_of_images_that_are_left_out_are_not_fed(shoes: LabelledImages, tmp_path: Any) -> None:
    fit_run(shoes, ResampleConfig(policy=None), tmp_path / "run")
    part = shoes.take(np.flatnonzero(assign_parts(Fold(shoes, shoes), seed=0) != 0))
    labels, seeds = torch.from_numpy(part.labels).repeat(20), torch.arange(20 * len(part))
    images = feed("generator", Fold(part, part, run=tmp_path / "run"), None, horizontal_flip=False)(labels, seeds)
    assert {image.tobytes() for image in images.numpy()} <= {image.tobytes() for image in part.images}


def test_what_cannot_be_left_out_is_refused() -> None:
    for wrong in ({"synthetic": True}, {"soft_labels": True}):
        with pytest.raises(ConfigError, match="may depend on the images that are left out"):
            parse(Arm, {"name": "a", "operating_point": "cross-fitted", **wrong}, "the test")
    arms = [{"name": "a", "operating_point": "cross-fitted", "long_tail": "ldam-drw"}]
    with pytest.raises(ConfigError, match="its long_tail method has no biases"):
        parse(EvaluateConfig, {"arms": arms}, "the test")


def test_the_operating_point_of_the_evaluation_is_for_arms_that_allow_it() -> None:
    arms = ["classical", "classical+synthetic", "classical+grid", {"name": "own", "operating_point": "as-trained"}]
    config = parse(EvaluateConfig, {"arms": arms, "operating_point": "cross-fitted"}, "the test")
    assert [arm.is_cross_fitted for arm in config.resolved_arms()] == [True, False, True, False]


def test_arms_that_differ_in_the_operating_point_are_compared() -> None:
    fed = {"synthetic": True, "feed": "grid"}
    arms = [Arm(name="plain"), shifted_arm("shifted"), Arm(name="fed", **fed), shifted_arm("fed-shifted", **fed)]
    pairs = declared_comparisons(arms)
    assert pairs[:2] == [("fed", "plain"), ("fed-shifted", "shifted")]
    assert ("shifted", "plain") in pairs


def shifted_arm(name: str, **other: Any) -> Arm:
    return Arm(name=name, operating_point="cross-fitted", **other)
