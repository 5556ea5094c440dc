"""The methods for long-tailed classes in training: what they change, what they leave alone, and that they help."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from augment.dataset.images import LabelledImages, to_signed
from classifiers.batches import class_counts
from classifiers.blending import draw_blends
from classifiers.long_tail import LONG_TAIL
from classifiers.metrics import score
from classifiers.networks import features
from classifiers.pools import Pool
from classifiers.training import ClassifierConfig, TrainingBatch, fit, predict, training_batches

CPU = torch.device("cpu")
QUICK = ClassifierConfig(width=4, steps=10, batch_size=10, sampling="plain", label_smoothing=0.1)
NEED_IMBALANCE = [name for name, method in LONG_TAIL.items() if method.only_if_imbalanced]


def pool(data: LabelledImages, share: float = 1.0) -> Pool:
    return Pool(torch.from_numpy(data.images)[None], torch.from_numpy(data.labels), share)


def trained(pools: list[Pool], **changes: Any) -> dict[str, Tensor]:
    return fit(pools, 3, QUICK.model_copy(update=changes), seed=0, device=CPU).state_dict()


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", NEED_IMBALANCE)
def test_balanced_batches_are_left_alone_bit_by_bit(name: str, shoes: LabelledImages) -> None:
    pools = [pool(shoes, 0.7), replace(pool(shoes, 0.3), span=(0.0, 0.5))]
    plain = trained(pools, sampling="balanced", long_tail="none")
    assert same(plain, trained(pools, sampling="balanced", long_tail=name))


@pytest.mark.parametrize("name", [name for name in LONG_TAIL if name != "none"])
def test_imbalanced_batches_are_trained_differently(name: str, shoes: LabelledImages) -> None:
    unequal = pool(shoes.take(np.arange(17)))  # 9, 6 and 2 images
    changes = {"cutmix": 1.0, "steps": 16}  # long enough for blends that Remix changes
    assert not same(trained([unequal], **changes, long_tail="none"), trained([unequal], **changes, long_tail=name))


@pytest.mark.parametrize("name", LONG_TAIL)
def test_every_method_gives_a_network_that_others_can_use(name: str, shoes: LabelledImages) -> None:
    changes = {"long_tail": name, "network": "wrn-16", "width": 1, "steps": 2}
    network = fit([pool(shoes)], 4, QUICK.model_copy(update=changes), seed=0, device=CPU)  # a class has no images
    assert predict(network, shoes.images).isfinite().all()
    assert features(network, to_signed(torch.from_numpy(shoes.images))).shape == (19, 64)
    assert not network.training


def test_ldam_trains_a_normalised_last_layer(shoes: LabelledImages) -> None:
    network = fit([pool(shoes)], 3, QUICK.model_copy(update={"long_tail": "ldam-drw"}), seed=0, device=CPU)
    images = torch.from_numpy(shoes.images)
    with torch.no_grad():
        h, weight = features(network, to_signed(images)), network.state_dict()["head.weight"]
    cosines = (h @ weight.T) / (h.norm(dim=1)[:, None] * weight.norm(dim=1))
    torch.testing.assert_close(predict(network, shoes.images), 30 * cosines, atol=1e-3, rtol=0)


def test_the_body_starts_alike_under_every_last_layer(shoes: LabelledImages) -> None:
    first = [
        trained([pool(shoes)], steps=1, lr=1e-9, long_tail=name)["body.0.0.weight"] for name in ("none", "ldam-drw")
    ]
    torch.testing.assert_close(*first, atol=1e-6, rtol=0)


def opposite(shoes: LabelledImages) -> list[Pool]:
    """A first half of 9, 3 and 4 images and a second half of 1, 7 and 6: together they are even."""
    picks = [(9, 3, 4), (1, 7, 6)]
    labels = [torch.arange(3).repeat_interleave(torch.tensor(pick)) for pick in picks]
    images = torch.from_numpy(shoes.images)
    spans = [(0.0, 0.5), (0.5, 1.0)]
    return [Pool(images[None, torch.arange(len(y))], y, 0.5, span=span) for y, span in zip(labels, spans, strict=True)]


def test_the_prior_after_training_is_that_of_the_last_phase(shoes: LabelledImages) -> None:
    plain, adjusted = (trained(opposite(shoes), long_tail=name) for name in ("none", "logit-adjustment-post-hoc"))
    prior = (plain["head.bias"] - adjusted["head.bias"]).exp()
    np.testing.assert_allclose(prior / prior.sum(), [1 / 14, 7 / 14, 6 / 14], rtol=1e-4)
    assert same({**plain, "head.bias": adjusted["head.bias"]}, adjusted)


def batches(pools: list[Pool], classes: int, **changes: Any) -> list[TrainingBatch]:
    config = ClassifierConfig.model_validate({**QUICK.model_dump(), "label_smoothing": 0.0, **changes})
    phases = class_counts(pools, classes, config.steps, config.sampling)
    float_phases = [(n, counts.float()) for n, counts in phases]
    return list(training_batches(pools, float_phases, config, 5, list(range(len(pools)))))


def test_a_step_has_the_counts_of_its_phase(shoes: LabelledImages) -> None:
    counts = [batch.counts.tolist() for batch in batches(opposite(shoes), 3)]
    assert counts == [pytest.approx([9, 3, 4])] * 5 + [pytest.approx([1, 7, 6])] * 5


def test_an_image_has_the_prior_of_its_pool_blended_as_it_is(shoes: LabelledImages) -> None:
    """A black pool of 9, 6 and 4 images, and a white one of 1, 1 and 8: the grey of a blend tells its prior."""
    black, white = (torch.full((1, n, 1, 8, 8), value, dtype=torch.uint8) for n, value in ((19, 0), (10, 255)))
    labels = torch.tensor([0] * 9 + [1] * 6 + [2] * 4), torch.tensor([0, 1] + [2] * 8)
    pools = [Pool(black, labels[0], 0.5), Pool(white, labels[1], 0.5)]
    first, second = torch.tensor([9, 6, 4]) / 19, torch.tensor([1, 1, 8]) / 10
    blended = 0
    for batch in batches(pools, 3, mixup=1.0):
        grey = (batch.images.mean((1, 2, 3)) + 1)[:, None] / 2
        torch.testing.assert_close(batch.prior, second * grey + first * (1 - grey), atol=1e-5, rtol=0)
        blended += int(((grey > 0.05) & (grey < 0.95)).sum())
    assert blended > 10


def black_and_white() -> Pool:
    """Twelve black images of the first class, and three white ones of the second."""
    labels = torch.tensor([0] * 12 + [1] * 3)
    return Pool((255 * labels.byte()).view(1, 15, 1, 1, 1).repeat(1, 1, 1, 8, 8), labels)


def test_remix_labels_a_mostly_white_blend_as_white_alone() -> None:
    """The white class is the rare one: it gets the whole label where it has more than half of the pixels."""
    found = batches([black_and_white()], 2, long_tail="remix", mixup=1.0, steps=40)
    white = torch.cat([(batch.images[:, 0, 0, 0] + 1) / 2 for batch in found])
    label = torch.cat([batch.target[:, 1] for batch in found])
    assert ((white > 0.5) & (white < 0.99)).sum() > 20
    assert ((white < 0.5) & (white > 0.01)).sum() > 20
    torch.testing.assert_close(label, torch.where(white > 0.5, 1.0, white), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.0, 0.0), (0.4, 0.0), (0.4, 3.0)])
def test_cmo_pastes_mostly_rare_classes_into_the_usual_batch(mixup: float, cutmix: float) -> None:
    """A batch has 12 black and 3 white images, and what is pasted from has 3 black and 12 white ones."""
    steps = 60
    changes = {"mixup": mixup, "cutmix": cutmix, "batch_size": 15, "steps": steps}
    found = batches([black_and_white()], 2, long_tail="cmo", **changes)
    blends = draw_blends(mixup, cutmix or 1.0, batch_size=15, size=8, steps=steps, seed=5)
    for (x, target, *_), parameters in zip(found, blends, strict=True):
        assert parameters is not None
        torch.testing.assert_close((x.mean((1, 2, 3)) + 1) / 2, target[:, 1], atol=1e-5, rtol=0)
        expected = 3 / 15 if parameters.box is None else parameters.lam * 3 / 15 + (1 - parameters.lam) * 12 / 15
        assert target[:, 1].mean().item() == pytest.approx(expected, abs=1e-5)
    assert {parameters is not None and parameters.box is None for parameters in blends} == {False, mixup > 0}


def test_remix_without_mixup_is_refused() -> None:
    with pytest.raises(ValidationError, match="long_tail remix needs mixup above 0, got 0; set mixup"):
        ClassifierConfig(long_tail="remix", mixup=0.0)
    with pytest.raises(ValidationError, match="expected one of none, logit-adjustment"):
        ClassifierConfig(long_tail="focal")


def test_logit_adjustment_helps_rare_classes(fashion: LabelledImages) -> None:
    """60 images of every other class, 5 of the rest, plain sampling; measured on 40 further images of each class."""
    members = [np.flatnonzero(fashion.labels == k) for k in range(10)]
    train = fashion.take(np.concatenate([m[: 60 if k % 2 else 5] for k, m in enumerate(members)]))
    test = fashion.take(np.concatenate([m[60:] for m in members]))
    reached = {}
    for name in ("none", "logit-adjustment", "logit-adjustment-post-hoc"):
        config = ClassifierConfig(width=8, steps=120, batch_size=40, sampling="plain", long_tail=name)
        network = fit([pool(train)], 10, config, seed=0, device=CPU)
        logits = predict(network, test.images)
        reached[name] = score(logits.numpy(), test.labels, 10)["balanced_accuracy"]
    assert reached["logit-adjustment"] > reached["none"] + 0.05
    assert reached["logit-adjustment-post-hoc"] > reached["none"] + 0.02
