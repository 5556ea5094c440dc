"""Each method for long-tailed classes, against its formula in plain loops over images and classes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from classifiers.long_tail import (
    LONG_TAIL,
    LongTail,
    effective_number_weights,
    inverse_frequencies,
    ldam_margins,
    log_prior,
    plain_loss,
    remix_label_lam,
)
from classifiers.networks import NormalisedLinear, build

COUNTS = torch.tensor([60.0, 5.0, 20.0])
LOGITS = torch.tensor([[1.0, -0.5, 0.3], [0.2, 0.9, -1.1], [-0.7, 0.4, 2.0], [0.0, 0.6, 0.1]])
SOFT = torch.tensor([[0.7, 0.3, 0.0], [0.0, 1.0, 0.0], [0.1, 0.2, 0.7], [0.0, 0.0, 0.0]])
WEIGHTS = torch.tensor([1.0, 0.3, 0.6, 1.0])  # of the images; the last one has no target, as if its weight were 0
TARGET = SOFT * WEIGHTS[:, None]


def softmax_loss(logits: list[float], k: int) -> float:
    return math.log(sum(math.exp(z) for z in logits)) - logits[k]


def reference(offset: list[float], margins: list[float], class_weights: list[float]) -> float:
    """The sum over images and classes of weight x target x cross entropy, divided by the batch size."""
    total = 0.0
    for logits, soft, weight in zip(LOGITS.tolist(), SOFT.tolist(), WEIGHTS.tolist(), strict=True):
        lowered = [z + offset[j] - 30 * margins[j] * soft[j] for j, z in enumerate(logits)]
        total += sum(weight * t * class_weights[k] * softmax_loss(lowered, k) for k, t in enumerate(soft))
    return total / len(LOGITS)


def cui(counts: list[float]) -> list[float]:
    weights = [(1 - 0.999) / (1 - 0.999**n) for n in counts]
    return [w * len(counts) / sum(weights) for w in weights]


ZEROS, ONES = [0.0] * 3, [1.0] * 3
PRIOR = [math.log(n / 85) for n in (60, 5, 20)]
MARGINS = [0.5 * 5**0.25 / n**0.25 for n in (60, 5, 20)]
CUI = cui([60, 5, 20])


@pytest.mark.parametrize(
    ("name", "time", "expected"),
    [
        ("none", 0.9, (ZEROS, ZEROS, ONES)),
        ("logit-adjustment", 0.0, (PRIOR, ZEROS, ONES)),
        ("logit-adjustment", 0.9, (PRIOR, ZEROS, ONES)),
        ("logit-adjustment-post-hoc", 0.9, (ZEROS, ZEROS, ONES)),
        ("effective-number", 0.0, (ZEROS, ZEROS, CUI)),
        ("deferred-reweighting", 0.79, (ZEROS, ZEROS, ONES)),
        ("deferred-reweighting", 0.8, (ZEROS, ZEROS, CUI)),
        ("ldam-drw", 0.79, (ZEROS, MARGINS, ONES)),
        ("ldam-drw", 0.8, (ZEROS, MARGINS, CUI)),
    ],
)
def test_the_loss_is_the_formula_of_the_paper(name: str, time: float, expected: tuple[list[float], ...]) -> None:
    loss = LONG_TAIL[name].loss_at(time)(LOGITS, TARGET, COUNTS, COUNTS.expand(len(LOGITS), 3) / 99)
    assert loss.item() == pytest.approx(reference(*expected), rel=1e-5)


def test_logits_are_adjusted_by_the_prior_of_each_image() -> None:
    prior = torch.rand(len(LOGITS), 3, generator=torch.Generator().manual_seed(4)) + 0.1
    loss = LONG_TAIL["logit-adjustment"].loss_at(0.5)(LOGITS, TARGET, COUNTS, prior)
    expected = 0.0
    for logits, target, of_image in zip(LOGITS.tolist(), TARGET.tolist(), prior.tolist(), strict=True):
        scores = [math.exp(logit) * p for logit, p in zip(logits, of_image, strict=True)]
        expected -= sum(t * math.log(s / sum(scores)) for t, s in zip(target, scores, strict=True))
    assert loss.item() == pytest.approx(expected / len(LOGITS), rel=1e-5)


def test_the_log_prior_is_known_up_to_a_constant() -> None:
    difference = log_prior(COUNTS) - torch.tensor(PRIOR)
    torch.testing.assert_close(difference, difference[:1].expand(3))


def test_class_weights_have_the_mean_one_and_favour_rare_classes() -> None:
    weights = effective_number_weights(torch.tensor([5000.0, 0.5, 300.0]))
    np.testing.assert_allclose(weights.numpy(), cui([5000, 0.5, 300]), rtol=1e-5)
    assert weights.mean().item() == pytest.approx(1)


def test_the_rarest_class_has_the_largest_margin() -> None:
    np.testing.assert_allclose(ldam_margins(COUNTS).numpy(), MARGINS, rtol=1e-6)
    assert ldam_margins(COUNTS)[1] == 0.5


@pytest.mark.parametrize("name", [name for name, method in LONG_TAIL.items() if name not in ("none", "ldam-drw")])
def test_equal_counts_leave_the_loss_as_it_is_bit_by_bit(name: str) -> None:
    for count in (0.1, 7.0, 1 / 3):
        equal = torch.full((3,), count)
        loss = LONG_TAIL[name].loss_at(0.9)(LOGITS, TARGET, equal, equal.expand(len(LOGITS), 3))
        assert torch.equal(loss, cross_entropy(LOGITS, TARGET))


def test_logits_are_lowered_by_the_log_prior_after_training() -> None:
    network = build("small", 3, 1, 12, 4, seed=0).eval()
    x = torch.randn(5, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    nn.init.normal_(network.head.weight, generator=torch.Generator().manual_seed(1))
    before = network(x).detach()
    change = LONG_TAIL["logit-adjustment-post-hoc"].after_training
    assert change is not None
    change(network, COUNTS)
    expected = before.softmax(1).numpy() / np.array([60, 5, 20])
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(network(x).softmax(1).detach().numpy(), expected, rtol=1e-4)


def chou(lam: float, own: float, other: float) -> float:
    """The rule of the paper, with kappa = 3 and tau = 0.5."""
    if own / other >= 3 and lam < 0.5:
        return 0.0
    if own / other <= 1 / 3 and 1 - lam < 0.5:
        return 1.0
    return lam


@pytest.mark.parametrize("lam", [0.1, 0.49, 0.5, 0.51, 0.9])
def test_remix_gives_the_label_to_the_rarer_class(lam: float) -> None:
    counts = torch.tensor([60.0, 5.0, 12.0])  # ratios of 12, 5 and 2.4
    pairs = [(i, j) for i in range(3) for j in range(3)]
    own, other = (torch.eye(3)[[pair[side] for pair in pairs]] * 0.3 + 0.01 for side in (0, 1))
    expected = [chou(lam, float(counts[i]), float(counts[j])) for i, j in pairs]
    assert remix_label_lam(lam, own, other, counts).flatten().tolist() == pytest.approx(expected)
    assert len(set(expected)) == (2 if lam != 0.5 else 1)


def test_foregrounds_are_drawn_by_inverse_frequency() -> None:
    weights = inverse_frequencies(COUNTS)
    np.testing.assert_allclose((weights / weights.sum()).numpy(), [1 / 16, 12 / 16, 3 / 16], rtol=1e-6)


def test_a_normalised_layer_gives_scaled_cosines() -> None:
    layer = NormalisedLinear(4, 3, scale=30.0)
    x = torch.tensor([[1.0, 2.0, 0.0, -1.0], [0.1, 0.0, 0.3, 0.2]])
    weight = layer.weight.detach().numpy()
    for i, features in enumerate(x.numpy()):
        for k in range(3):
            cosine = features @ weight[k] / (np.linalg.norm(features) * np.linalg.norm(weight[k]))
            assert layer(x)[i, k].item() == pytest.approx(30 * cosine, rel=1e-4)


def test_a_late_loss_takes_over_after_four_fifths_of_the_steps() -> None:
    def other(logits: Tensor, target: Tensor, counts: Tensor, prior: Tensor) -> Tensor:
        return logits.sum()

    late = LongTail(late_loss=other)
    assert [late.loss_at(step / 300) is other for step in (0, 239, 240, 299)] == [False, False, True, True]
    assert LongTail().loss_at(1.0) is plain_loss
