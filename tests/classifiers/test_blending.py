"""mixup and CutMix blend images and targets in the same proportion."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from classifiers.blending import Blend, blend, draw_blends


def blended(x: torch.Tensor, target: torch.Tensor, parameters: Blend) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch blended with itself, as in the papers."""
    return blend(x, target, parameters, partners=(x, target), label_lam=parameters.lam)


def test_mixup_weighs_an_image_by_lam_and_its_partner_by_the_rest() -> None:
    x, target = torch.tensor([0.0, 10.0, 100.0]).view(3, 1, 1, 1), torch.eye(3)
    mixed, mixed_target = blended(x, target, Blend(0.8, torch.tensor([1, 2, 0]), None))
    torch.testing.assert_close(mixed.flatten(), torch.tensor([2.0, 28.0, 80.0]))
    torch.testing.assert_close(mixed_target[1], torch.tensor([0.0, 0.8, 0.2]))


def test_cutmix_shows_the_partner_in_the_box_and_nowhere_else() -> None:
    x = torch.arange(3.0).view(3, 1, 1, 1).repeat(1, 2, 4, 6)
    partner, before = torch.tensor([2, 0, 1]), x.clone()
    cut, target = blended(x, torch.eye(3), Blend(0.75, partner, (1, 3, 2, 5)))
    for i in range(3):
        assert (cut[i, :, 1:3, 2:5] == partner[i]).all()
        outside = torch.ones(4, 6, dtype=torch.bool)
        outside[1:3, 2:5] = False
        assert (cut[i][:, outside] == i).all()
    torch.testing.assert_close(target[0], torch.tensor([0.75, 0.0, 0.25]))
    assert torch.equal(x, before)  # the batch that came in is as it was


def test_the_loss_of_a_blend_is_the_weighted_loss_of_both_targets() -> None:
    """Soft targets and weights are folded into one target; against the two losses of each image on its own."""
    random = torch.Generator().manual_seed(2)
    logits, x = torch.randn(4, 3, generator=random), torch.zeros(4, 1, 8, 8)
    soft, weights = torch.rand(4, 3, generator=random).softmax(1), torch.tensor([1.0, 0.3, 0.0, 0.8])
    partner = torch.tensor([3, 0, 1, 2])
    _, target = blended(x, weights[:, None] * soft, Blend(0.7, partner, (0, 4, 1, 7)))
    losses = [
        sum(
            share * float(weights[j]) * float(cross_entropy(logits[i : i + 1], soft[j : j + 1]))
            for j, share in ((i, 0.7), (int(partner[i]), 0.3))
        )
        for i in range(4)
    ]
    assert float(cross_entropy(logits, target)) == pytest.approx(sum(losses) / 4)


def test_lam_is_the_part_that_the_box_leaves() -> None:
    blends = list(draw_blends(0.0, 1.0, batch_size=5, size=20, steps=400, seed=3))
    lams = []
    for how in blends:
        assert how is not None
        assert how.box is not None
        top, bottom, left, right = how.box
        assert 0 <= top <= bottom <= 20
        assert 0 <= left <= right <= 20
        assert how.lam == pytest.approx(1 - (bottom - top) * (right - left) / 400)
        assert sorted(how.partner.tolist()) == [0, 1, 2, 3, 4]
        lams.append(how.lam)
    assert min(lams) < 0.2
    assert max(lams) > 0.98
    assert 0.55 < np.mean(lams) < 0.75  # half without borders, which cut boxes off


def test_a_box_covers_1_minus_lam_except_at_the_border() -> None:
    rng, inside = np.random.default_rng(5), 0
    for how in draw_blends(0.0, 1.0, batch_size=3, size=200, steps=60, seed=5):
        assert how is not None
        assert how.box is not None
        lam, _, centre = rng.beta(1.0, 1.0), rng.permutation(3), rng.uniform(0, 200, 2)
        top, bottom, left, right = how.box
        if min(top, left) > 0 and max(bottom, right) < 200:
            assert how.lam == pytest.approx(lam, abs=0.01)  # of whole pixels
            assert (top + bottom, left + right) == pytest.approx(2 * centre, abs=1.01)
            inside += 1
        assert how.lam > lam - 0.01
    assert inside > 5


def test_with_both_on_each_has_its_own_alpha() -> None:
    blends = [how for how in draw_blends(0.02, 200.0, batch_size=3, size=100, steps=200, seed=0) if how]
    assert all(how.lam > 0.4 for how in blends if how.box)  # near 0.5, or more where the border cuts the box off
    assert np.mean([abs(how.lam - 0.5) > 0.45 for how in blends if not how.box]) > 0.8


def test_with_both_on_each_batch_takes_one_of_them_by_chance() -> None:
    kinds = [
        how is not None and how.box is None for how in draw_blends(0.4, 1.0, batch_size=4, size=8, steps=600, seed=0)
    ]
    assert 0.45 < np.mean(kinds) < 0.55


def test_mixup_alone_draws_lam_and_then_the_partners() -> None:
    """Nothing else is taken from the seed, so that results from before CutMix stand."""
    rng = np.random.default_rng(7)
    for how in draw_blends(0.4, 0.0, batch_size=6, size=8, steps=5, seed=7):
        assert how is not None
        assert how.lam == rng.beta(0.4, 0.4)
        assert how.partner.tolist() == rng.permutation(6).tolist()
        assert how.box is None


def test_partners_are_on_the_device_before_the_steps() -> None:
    kinds = {
        how.partner.device.type
        for how in draw_blends(0.4, 1.0, batch_size=4, size=8, steps=9, seed=0, device="meta")
        if how
    }
    assert kinds == {"meta"}


def test_without_either_nothing_is_drawn() -> None:
    assert list(draw_blends(0.0, 0.0, batch_size=4, size=8, steps=3, seed=0)) == [None, None, None]


def test_lam_of_mixup_is_drawn_from_its_beta_distribution() -> None:
    lams = np.array(
        [how.lam for how in draw_blends(0.4, 0.0, batch_size=4, size=8, steps=4000, seed=1) if how is not None]
    )
    assert lams.mean() == pytest.approx(0.5, abs=0.02)
    assert lams.var() == pytest.approx(0.25 / 1.8, abs=0.01)  # of Beta(a, a): 1 / (4 (2 a + 1))
