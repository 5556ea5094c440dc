"""One-stage gradients are those of two separate passes: for every loss, wherever the logits lie."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import logsigmoid

from augment.diffaugment import POLICIES
from augment.errors import ConfigError
from augment.losses import LOSSES, cotangents
from augment.networks import NETWORKS, Shape, build
from augment.steps import (
    Game,
    Step,
    check_discriminator,
    one_stage,
    one_stage_gradients,
    two_stage,
    two_stage_published,
)

BATCH = 7  # no power of two
SHAPE = Shape(num_classes=6, channels=1, image_size=12, width=8, latent_dim=5)
REAL_LABELS = torch.tensor([0, 1, 2, 2, 0, 1, 1])
FAKE_LABELS = torch.tensor([3, 4, 5, 4, 4, 3, 5])
REGIMES = {  # what is added to the logits of each class: real images have classes 0 to 2, fakes 3 to 5
    "spread over -40 to 40": [-40.0, 1.0, 40.0, -38.0, 2.0, 40.0],
    "all fakes dead": [0.3, -0.2, 0.1, -7.0, -9.0, -6.0],
    "D has won": [41.0, 44.0, 47.0, -43.0, -46.0, -50.0],
}

# The textbook formulas, written without the losses module: (D's loss, G's loss) of (real, fake) logits.
ones, zeros = torch.ones_like, torch.zeros_like
TEXTBOOK: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "minimax": (lambda r, f: bce(r, ones(r)) + bce(f, zeros(f)), lambda r, f: -bce(f, zeros(f))),
    "non-saturating": (lambda r, f: bce(r, ones(r)) + bce(f, zeros(f)), lambda r, f: bce(f, ones(f))),
    "wasserstein": (lambda r, f: -(r.mean() - f.mean()), lambda r, f: -f.mean()),
    "least-squares": (
        lambda r, f: 0.5 * (r - 1).pow(2).mean() + 0.5 * f.pow(2).mean(),
        lambda r, f: 0.5 * (f - 1).pow(2).mean(),
    ),
    "hinge": (
        lambda r, f: -torch.minimum(r - 1, zeros(r)).mean() - torch.minimum(-f - 1, zeros(f)).mean(),
        lambda r, f: -f.mean(),
    ),
    "symmetric-hinge": (
        lambda r, f: -torch.minimum(r - 1, zeros(r)).mean() - torch.minimum(-f - 1, zeros(f)).mean(),
        lambda r, f: torch.minimum(-f - 1, zeros(f)).mean(),
    ),
    "relativistic-paired": (lambda r, f: -logsigmoid(r - f).mean(), lambda r, f: -logsigmoid(f - r).mean()),
    "relativistic-average": (
        lambda r, f: bce(r - f.mean(), ones(r)) + bce(f - r.mean(), zeros(f)),
        lambda r, f: bce(f - r.mean(), ones(f)) + bce(r - f.mean(), zeros(r)),
    ),
    "boundary-seeking": (
        lambda r, f: bce(r, ones(r)) + bce(f, zeros(f)),
        lambda r, f: 0.5 * (logsigmoid(f) - logsigmoid(-f)).pow(2).mean(),
    ),
}


class Rigged(nn.Module):
    """A discriminator whose logits are moved, class by class, to where a test wants them."""

    def __init__(self, discriminator: nn.Module, offsets: list[float]) -> None:
        super().__init__()
        self.inner = discriminator
        self.register_buffer("offsets", torch.tensor(offsets))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        logits: Tensor = self.inner(x, y) + self.offsets[y]
        return logits


class Setting:
    """Two networks, a batch, and augmentation whose draws both ways of computing share."""

    def __init__(self, network: str, regime: str, dtype: torch.dtype) -> None:
        pair = build(network, SHAPE, seed=4)
        self.generator = pair.generator.to(dtype)
        self.discriminator = Rigged(pair.discriminator, REGIMES[regime]).to(dtype).eval()  # power iterations frozen
        random = torch.Generator().manual_seed(5)
        self.real = torch.rand(BATCH, 1, 12, 12, generator=random, dtype=dtype) * 2 - 1
        self.z = torch.randn(BATCH, SHAPE.latent_dim, generator=random, dtype=dtype)
        self.draws = {
            name: torch.rand(BATCH, op.numbers, generator=random, dtype=dtype) for name, op in POLICIES.items()
        }

    def fake(self) -> Tensor:
        return self.generator(self.z, FAKE_LABELS)

    def augment(self, images: Tensor) -> Tensor:
        for name, operation in POLICIES.items():
            draws = self.draws[name].repeat(len(images) // BATCH, 1)  # real and fake images share the draws
            images = operation.apply(images, draws)
        return images

    def logits(self, fake: Tensor) -> tuple[Tensor, Tensor]:
        real = self.discriminator(self.augment(self.real), REAL_LABELS)
        return real, self.discriminator(self.augment(fake), FAKE_LABELS)

    def gradients(self, network: nn.Module, scalar: Tensor) -> Tensor:
        return flat(torch.autograd.grad(scalar, list(network.parameters()), materialize_grads=True))

    def game(self, loss: str) -> Game:
        optimizers = [torch.optim.SGD(n.parameters(), 0.1) for n in (self.generator, self.discriminator)]
        return Game(lambda _: self.fake(), self.discriminator, self.augment, LOSSES[loss], *optimizers)


def flat(tensors: object) -> Tensor:
    return torch.cat([t.flatten() for t in tensors])  # type: ignore[attr-defined]


def grads(network: nn.Module) -> Tensor:
    return flat(p.grad for p in network.parameters())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("network", NETWORKS)
def test_one_stage_gradients_equal_two_separate_passes(
    network: str, loss: str, regime: str, dtype: torch.dtype
) -> None:
    setting = Setting(network, regime, dtype)
    one_stage_gradients(setting.game(loss), setting.real, REAL_LABELS, FAKE_LABELS)
    ours_g, ours_d = grads(setting.generator), grads(setting.discriminator)

    loss_d, loss_g = TEXTBOOK[loss]
    theirs_d = setting.gradients(setting.discriminator, loss_d(*setting.logits(setting.fake().detach())))
    theirs_g = setting.gradients(setting.generator, loss_g(*setting.logits(setting.fake())))
    unit = setting.gradients(setting.discriminator, torch.cat(setting.logits(setting.fake().detach())).sum())

    relative, of_unit = (1e-6, 1e-12) if dtype == torch.float64 else (1e-4, 1e-10)
    d_has_won = theirs_d.norm() < 1e-6 * unit.norm()
    assert (ours_d - theirs_d).norm() <= (of_unit * unit.norm() if d_has_won else relative * theirs_d.norm())
    if theirs_g.norm() >= 1e-6 * unit.norm():
        assert (ours_g - theirs_g).norm() <= relative * theirs_g.norm()
    else:  # a saturating loss: G's gradient underflows in both ways of computing it
        assert (ours_g - theirs_g).norm() <= of_unit * unit.norm()


def test_every_loss_has_a_textbook_formula() -> None:
    assert TEXTBOOK.keys() == LOSSES.keys()


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_is_called_symmetric_exactly_if_g_descends_what_d_ascends(loss: str) -> None:
    c = cotangents(LOSSES[loss], torch.tensor([0.4, -0.7, 2.0]), torch.tensor([0.3, -0.2, -1.7]))
    assert torch.allclose(c.gamma * c.fake, -c.fake, atol=1e-12) == LOSSES[loss].symmetric


@pytest.mark.parametrize("step", [one_stage, two_stage, two_stage_published])
def test_every_step_iterates_spectral_norm_once_and_moves_both_networks(step: Step) -> None:
    setting = Setting("projection", "all fakes dead", torch.float64)
    setting.discriminator.train()
    vectors = [b.clone() for n, b in setting.discriminator.named_buffers() if n.endswith("_u")]
    expected = Setting("projection", "all fakes dead", torch.float64).discriminator.train()
    with torch.no_grad():
        expected(setting.real, REAL_LABELS)  # one call: one power iteration
    before = [flat(n.parameters()).detach().clone() for n in (setting.generator, setting.discriminator)]
    step(setting.game("hinge"), setting.real, REAL_LABELS, FAKE_LABELS)
    after = [b for n, b in setting.discriminator.named_buffers() if n.endswith("_u")]
    once = [b for n, b in expected.named_buffers() if n.endswith("_u")]
    assert all(torch.equal(a, o) for a, o in zip(after, once, strict=True))
    assert not all(torch.equal(a, v) for a, v in zip(after, vectors, strict=True))
    moved = [flat(n.parameters()) for n in (setting.generator, setting.discriminator)]
    assert all(not torch.equal(b, m) for b, m in zip(before, moved, strict=True))
    assert setting.discriminator.training
    assert all(p.requires_grad for p in setting.discriminator.parameters())


@pytest.mark.parametrize("step", [two_stage, two_stage_published])
def test_two_stage_updates_g_against_the_new_d(step: Step) -> None:
    setting, fresh = (Setting("projection", "spread over -40 to 40", torch.float64) for _ in range(2))
    setting.discriminator.train()
    step(setting.game("non-saturating"), setting.real, REAL_LABELS, FAKE_LABELS)
    fresh.discriminator.load_state_dict(setting.discriminator.state_dict())
    logits = fresh.discriminator(fresh.augment(fresh.fake()), FAKE_LABELS)
    wanted = fresh.gradients(fresh.generator, bce(logits, ones(logits)))
    assert (grads(setting.generator) - wanted).norm() <= 1e-9 * wanted.norm()


def test_batch_norm_in_d_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError, match="BatchNorm2d: statistics over the batch mix the samples"):
        check_discriminator(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)))
