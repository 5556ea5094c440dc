"""One-stage gradients are those of two separate passes: for every loss and penalty, wherever the logits lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from textbook_gan import (
    AVERAGES,
    LAMBDA,
    REGIMES,
    RHO,
    SHAPE,
    TEXTBOOK,
    WEIGHTS,
    Rigged,
    Setting,
    fisher,
    flat,
    grads,
    ones,
    textbook_extras,
)
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from augment.errors import ConfigError
from augment.gan.losses import LOSSES, cotangents
from augment.gan.networks import NETWORKS
from augment.gan.penalties import PENALTIES, Batch
from augment.gan.steps import (
    Step,
    check_discriminator,
    critic_step,
    one_stage,
    one_stage_gradients,
    two_stage,
    two_stage_published,
)


def compare(setting: Setting, loss: str, *, extras: bool) -> None:
    """Hold one-stage gradients to those of two full backward passes, in the norms of the specification."""
    setting.play(one_stage_gradients, setting.setup(loss, extras=extras))
    ours_g, ours_d = grads(setting.generator), grads(setting.discriminator)

    loss_d, loss_g = TEXTBOOK[loss]
    l_r, l_f = setting.logits(setting.fake().detach())
    total_d = loss_d(l_r, l_f) + (textbook_extras(setting, l_r, l_f) if extras else 0)
    theirs_d = setting.gradients(setting.discriminator, total_d)
    own = setting.pull(setting.generator(-setting.z, setting.real_labels)) if extras else 0
    theirs_g = setting.gradients(setting.generator, loss_g(*setting.logits(setting.fake())) + own)
    unit = setting.gradients(setting.discriminator, torch.cat(setting.logits(setting.fake().detach())).sum())

    relative, of_unit = (1e-6, 1e-12) if setting.real.dtype == torch.float64 else (1e-4, 1e-10)
    d_has_won = theirs_d.norm() < 1e-6 * unit.norm()
    assert (ours_d - theirs_d).norm() <= (of_unit * unit.norm() if d_has_won else relative * theirs_d.norm())
    if theirs_g.norm() >= 1e-6 * unit.norm():
        assert (ours_g - theirs_g).norm() <= relative * theirs_g.norm()
    else:  # a saturating loss: G's gradient underflows in both ways of computing it
        assert (ours_g - theirs_g).norm() <= of_unit * unit.norm()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("extras", [False, True], ids=["plain", "with LeCam, penalties and a term of G"])
@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("network", NETWORKS)
def test_one_stage_gradients_equal_two_separate_passes(
    network: str, loss: str, regime: str, extras: bool, dtype: torch.dtype
) -> None:
    compare(Setting(network, regime, dtype), loss, extras=extras)


class Hiding(Setting):
    """Three real images and three fakes are judged without their class, and nothing moves the logits."""

    def __init__(self, network: str) -> None:
        super().__init__(network, next(iter(REGIMES)), torch.float64)
        self.discriminator = self.discriminator.inner  # type: ignore[assignment]
        self.real_labels[:3] += SHAPE.num_classes
        self.fake_labels[2:5] += SHAPE.num_classes

    def fake(self) -> Tensor:
        images: Tensor = self.generator(self.z, self.fake_labels % SHAPE.num_classes)
        return images


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("network", NETWORKS)
def test_gradients_are_exact_where_classes_are_hidden(network: str, loss: str) -> None:
    compare(Hiding(network), loss, extras=False)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    network=st.sampled_from(sorted(NETWORKS)),
    loss=st.sampled_from(sorted(LOSSES)),
    regime=st.sampled_from(sorted(REGIMES)),
    batch=st.integers(2, 9),
    seed=st.integers(0, 2**31),
    extras=st.booleans(),
    shift=st.lists(st.floats(-9, 9, width=32), min_size=6, max_size=6),
)
def test_one_stage_gradients_equal_two_separate_passes_for_any_draw(
    network: str, loss: str, regime: str, batch: int, seed: int, extras: bool, shift: list[float]
) -> None:
    setting = Setting(network, regime, torch.float64, batch=batch, seed=seed)
    setting.discriminator.offsets += torch.tensor(shift)
    compare(setting, loss, extras=extras)


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("loss", LOSSES)
def test_under_bfloat16_gradients_stay_within_three_percent_of_two_separate_passes(loss: str, regime: str) -> None:
    """Both under the same autocast, logits to losses in float32: what is left is rounding to 8 bits on the way back."""
    setting = Setting("dcgan", regime, torch.float32)
    low = partial(torch.autocast, "cpu", torch.bfloat16, cache_enabled=False)
    discriminate, fake = setting.discriminator.forward, setting.fake
    setting.discriminator.forward = low()(discriminate)  # type: ignore[method-assign]
    setting.fake = lambda: low()(fake)().float()  # type: ignore[method-assign]
    setting.play(one_stage_gradients, setting.setup(loss))
    ours_g, ours_d = grads(setting.generator), grads(setting.discriminator)
    loss_d, loss_g = TEXTBOOK[loss]
    logits = [value.float() for value in setting.logits(setting.fake().detach())]
    theirs_d = setting.gradients(setting.discriminator, loss_d(*logits))
    unit = setting.gradients(setting.discriminator, torch.cat(setting.logits(setting.fake().detach())).sum())
    logits = [value.float() for value in setting.logits(setting.fake())]
    theirs_g = setting.gradients(setting.generator, loss_g(*logits))
    if theirs_d.norm() >= 1e-6 * unit.norm():
        assert (ours_d - theirs_d).norm() <= 0.03 * theirs_d.norm()
    else:
        assert (ours_d - theirs_d).norm() <= 1e-9 * unit.norm()
    if theirs_g.norm() >= 1e-6 * unit.norm():
        assert (ours_g - theirs_g).norm() <= 0.03 * theirs_g.norm()
    else:
        assert (ours_g - theirs_g).norm() <= 1e-9 * unit.norm()


def test_every_loss_has_a_textbook_formula() -> None:
    assert TEXTBOOK.keys() == LOSSES.keys()
    assert WEIGHTS.keys() == PENALTIES.keys()


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_is_called_symmetric_exactly_if_g_descends_what_d_ascends(loss: str) -> None:
    real, fake = torch.tensor([0.4, -0.7, 2.0]).double(), torch.tensor([0.3, -0.2, -1.7]).double()
    constraint = LOSSES[loss].constraint
    terms = [(constraint, torch.tensor([LAMBDA]))] if constraint else []
    c = cotangents(LOSSES[loss], terms, real, fake)
    assert torch.allclose(c.gamma * c.fake, -c.fake, atol=1e-12) == LOSSES[loss].symmetric


STEPPING = [one_stage, two_stage, two_stage_published]


@pytest.mark.parametrize("step", STEPPING)
@pytest.mark.parametrize("extras", [False, True], ids=["plain", "with LeCam, penalties and a term of G"])
def test_every_step_iterates_spectral_norm_once_and_moves_both_networks(step: Step, extras: bool) -> None:
    setting = Setting("projection", "all fakes dead", torch.float64)
    setting.discriminator.train()
    vectors = [b.clone() for n, b in setting.discriminator.named_buffers() if n.endswith("_u")]
    expected = Setting("projection", "all fakes dead", torch.float64)
    expected.discriminator.train()
    with torch.no_grad():
        expected.discriminator(expected.real, expected.real_labels)  # one call: one power iteration
    before = [flat(n.parameters()).detach().clone() for n in (setting.generator, setting.discriminator)]
    setting.play(step, setting.setup("hinge", extras=extras))
    after = [b for n, b in setting.discriminator.named_buffers() if n.endswith("_u")]
    once = [b for n, b in expected.discriminator.named_buffers() if n.endswith("_u")]
    assert all(torch.equal(a, o) for a, o in zip(after, once, strict=True))
    assert not all(torch.equal(a, v) for a, v in zip(after, vectors, strict=True))
    moved = [flat(n.parameters()) for n in (setting.generator, setting.discriminator)]
    assert all(not torch.equal(b, m) for b, m in zip(before, moved, strict=True))
    assert setting.discriminator.training
    assert all(p.requires_grad for p in setting.discriminator.parameters())


@pytest.mark.parametrize("extras", [False, True], ids=["plain", "with LeCam, penalties and a term of G"])
@pytest.mark.parametrize("step", [*STEPPING, critic_step])
def test_every_step_descends_the_same_loss_of_d(step: Step, extras: bool) -> None:
    setting = Setting("projection", "spread over -40 to 40", torch.float64)
    l_r, l_f = setting.logits(setting.fake().detach())
    total = fisher(l_r, l_f) + (textbook_extras(setting, l_r, l_f) if extras else 0)
    wanted = flat(setting.discriminator.parameters()) - 0.1 * setting.gradients(setting.discriminator, total)
    before = flat(setting.generator.parameters()).detach().clone()
    setting.play(step, setting.setup("fisher", extras=extras))
    assert (flat(setting.discriminator.parameters()) - wanted).norm() <= 1e-6 * wanted.norm()
    assert torch.equal(flat(setting.generator.parameters()), before) == (step is critic_step)


@pytest.mark.parametrize("step", [*STEPPING, critic_step])
def test_every_step_moves_the_states_of_the_terms_once(step: Step) -> None:
    setting = Setting("projection", "spread over -40 to 40", torch.float64)
    l_r, l_f = (logits.detach() for logits in setting.logits(setting.fake()))
    setup = setting.setup("fisher", extras=True)
    setting.play(step, setup)
    moment = (l_r.pow(2).mean() + l_f.pow(2).mean()) / 2
    (_, multiplier), (_, averages) = setup.terms
    torch.testing.assert_close(multiplier, (LAMBDA - RHO * (1 - moment)).float().view(1))
    means = torch.stack([l_r.mean(), l_f.mean()]).float()
    torch.testing.assert_close(averages, 0.99 * torch.tensor(AVERAGES) + 0.01 * means)


@pytest.mark.parametrize("step", [two_stage, two_stage_published])
def test_two_stage_updates_g_against_the_new_d(step: Step) -> None:
    setting, fresh = (Setting("projection", "spread over -40 to 40", torch.float64) for _ in range(2))
    setting.discriminator.train()
    setting.play(step, setting.setup("non-saturating"))
    fresh.discriminator.load_state_dict(setting.discriminator.state_dict())
    logits = fresh.discriminator(fresh.augment(fresh.fake()), fresh.fake_labels)
    wanted = fresh.gradients(fresh.generator, bce(logits, ones(logits)))
    assert (grads(setting.generator) - wanted).norm() <= 1e-9 * wanted.norm()


def test_a_penalty_on_the_fakes_themselves_does_not_reach_g() -> None:
    def leaky(batch: Batch) -> Tensor:  # one that forgets to detach what it is given
        return setting.critic(batch.fake, batch.fake_labels).pow(2).mean()

    setting = Setting("projection", "all fakes dead", torch.float64)
    setting.play(one_stage_gradients, setting.setup("hinge"))
    without_g, without_d = grads(setting.generator), grads(setting.discriminator)
    setting.generator.zero_grad()
    setting.discriminator.zero_grad()
    setting.play(one_stage_gradients, replace(setting.setup("hinge"), penalty=leaky))
    assert torch.equal(grads(setting.generator), without_g)
    assert not torch.equal(grads(setting.discriminator), without_d)


def probe(discriminator: Callable[[Tensor, Tensor], Tensor], augment: Callable[[Tensor], Tensor] = lambda x: x) -> None:
    module = Rigged(nn.Identity(), [0.0])
    module.forward = discriminator  # type: ignore[method-assign]
    check_discriminator(module, augment, torch.rand(3, 1, 8, 8))


def test_batch_norm_in_d_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError, match="BatchNorm2d: statistics over the batch mix the samples"):
        check_discriminator(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)), lambda x: x, torch.rand(3, 1, 8, 8))


def test_other_ways_to_mix_samples_are_refused() -> None:
    mixing = "output for one image depends on the others of its batch"
    with pytest.raises(ConfigError, match=mixing):
        probe(lambda x, y: (x * x.std(0)).sum((1, 2, 3)))  # minibatch standard deviation
    with pytest.raises(ConfigError, match=mixing):
        probe(lambda x, y: x.sum((1, 2, 3)), lambda x: 0.8 * x + 0.2 * x.flip(0))  # mixup in D's path


def test_d_with_several_outputs_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"one logit per sample, shape \(B,\), got \(3, 8\)"):
        probe(lambda x, y: x.sum((1, 2)))


@pytest.mark.parametrize("network", NETWORKS)
def test_our_discriminators_behind_every_augmentation_pass(network: str) -> None:
    setting = Setting(network, "all fakes dead", torch.float32)
    check_discriminator(setting.discriminator, setting.augment, setting.real)


def test_float16_is_refused_whether_in_the_logits_or_as_autocast() -> None:
    setting = Setting("projection", "all fakes dead", torch.float32)
    half = replace(setting.setup("hinge"), discriminate=lambda x, y: setting.discriminator(x, y).half())
    with pytest.raises(ConfigError, match="use bfloat16 or float32"):
        setting.play(one_stage, half)
    with torch.autocast("cpu", torch.float16), pytest.raises(ConfigError, match="use bfloat16 or float32"):
        setting.play(one_stage, setting.setup("hinge"))
