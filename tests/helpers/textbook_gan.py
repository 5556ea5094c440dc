"""The losses of a GAN as textbooks write them, and small networks to differentiate them by."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import logsigmoid

from augment.gan.diffaugment import OPERATIONS
from augment.gan.losses import LOSSES, lecam
from augment.gan.networks import Shape, build
from augment.gan.penalties import weighted_sum
from augment.gan.steps import (
    GanSetup,
)

SHAPE = Shape(num_classes=6, channels=1, image_size=12, width=8, latent_dim=5)
REGIMES = {  # what is added to the logits of each class: real images have classes 0 to 2, fakes 3 to 5
    "spread over -40 to 40": [-40.0, 1.0, 40.0, -38.0, 2.0, 40.0],
    "all fakes dead": [0.3, -0.2, 0.1, -7.0, -9.0, -6.0],
    "D has won": [41.0, 44.0, 47.0, -43.0, -46.0, -50.0],
}
LAMBDA, RHO = 0.3, 1e-6  # Fisher's multiplier somewhere on its way
LECAM, AVERAGES = 0.7, (1.5, -2.0)  # its weight, and D's mean logits so far on real and on fake images
WEIGHTS = {"r1": 0.4, "r2": 0.9, "gradient-penalty": 2.0}
# The textbook formulas, written without the losses module: (D's loss, G's loss) of (real, fake) logits.
ones, zeros = torch.ones_like, torch.zeros_like


def fisher(r: Tensor, f: Tensor) -> Tensor:
    moment = 0.5 * r.pow(2).mean() + 0.5 * f.pow(2).mean()
    return -(r.mean() - f.mean() + LAMBDA * (1 - moment) - RHO / 2 * (moment - 1).pow(2))


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
    "fisher": (fisher, lambda r, f: -f.mean()),
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

    def __init__(self, network: str, regime: str, dtype: torch.dtype, *, batch: int = 7, seed: int = 4) -> None:
        pair = build(network, SHAPE, seed=seed)
        self.generator = pair.generator.to(dtype)
        self.discriminator = Rigged(pair.discriminator, REGIMES[regime]).to(dtype).eval()  # power iterations frozen
        rng = torch.Generator().manual_seed(seed + 1)
        self.real = torch.rand(batch, 1, 12, 12, generator=rng, dtype=dtype) * 2 - 1
        self.z = torch.randn(batch, SHAPE.latent_dim, generator=rng, dtype=dtype)
        self.real_labels = torch.randint(0, 3, (batch,), generator=rng)
        self.fake_labels = torch.randint(3, 6, (batch,), generator=rng)
        self.draws = {
            name: torch.rand(batch, op.uniforms, generator=rng, dtype=dtype) for name, op in OPERATIONS.items()
        }

    def fake(self) -> Tensor:
        return self.generator(self.z, self.fake_labels)

    def augment(self, images: Tensor) -> Tensor:
        for name, operation in OPERATIONS.items():
            draws = self.draws[name].repeat(len(images) // len(self.real), 1)  # real and fake images share the draws
            images = operation.apply(images, draws.to(images.dtype))
        return images

    def logits(self, fake: Tensor) -> tuple[Tensor, Tensor]:
        real = self.discriminator(self.augment(self.real), self.real_labels)
        return real, self.discriminator(self.augment(fake), self.fake_labels)

    def gradients(self, network: nn.Module, scalar: Tensor) -> Tensor:
        return flat(torch.autograd.grad(scalar, list(network.parameters()), materialize_grads=True))

    def pull(self, images: Tensor) -> Tensor:
        """Return a term of G alone, in images that are not the fakes."""
        return 3 * (images - self.real).abs().mean()

    def critic(self, images: Tensor, labels: Tensor) -> Tensor:
        logits: Tensor = self.discriminator(self.augment(images), labels)
        return logits

    def setup(self, loss: str, *, extras: bool = False) -> GanSetup:
        optimizers = [torch.optim.SGD(n.parameters(), 0.1) for n in (self.generator, self.discriminator)]
        constraint, terms = LOSSES[loss].constraint, []
        if constraint is not None:
            terms.append((constraint, torch.tensor([LAMBDA])))
        if extras:
            terms.append((lecam(LECAM), torch.tensor(AVERAGES)))
        penalty = weighted_sum(WEIGHTS, self.critic, torch.Generator().manual_seed(8)) if extras else None
        own = (lambda: self.pull(self.generator(-self.z, self.real_labels))) if extras else None
        return GanSetup(
            lambda _: self.fake(), self.discriminator, self.discriminator, self.augment, LOSSES[loss], terms, penalty,
            *optimizers, own,
        )  # fmt: skip

    def play(self, step: Callable[[GanSetup, Tensor, Tensor, Tensor], object], setup: GanSetup) -> None:
        step(setup, self.real, self.real_labels, self.fake_labels)


def flat(tensors: object) -> Tensor:
    return torch.cat([t.flatten() for t in tensors])  # type: ignore[attr-defined]


def grads(network: nn.Module) -> Tensor:
    return flat(p.grad for p in network.parameters())


def textbook_extras(setting: Setting, l_r: Tensor, l_f: Tensor) -> Tensor:
    """LeCam's term and the three penalties, written without their modules."""
    real_average, fake_average = AVERAGES
    total = LECAM * ((l_r - fake_average).pow(2).mean() + (l_f - real_average).pow(2).mean())
    fake, rng = setting.fake().detach(), torch.Generator().manual_seed(8)
    mixing = torch.rand(len(fake), 1, 1, 1, generator=rng, dtype=fake.dtype)
    places = {
        "r1": (setting.real, setting.real_labels, lambda norm: 0.5 * norm.pow(2)),
        "r2": (fake, setting.fake_labels, lambda norm: 0.5 * norm.pow(2)),
        "gradient-penalty": (
            mixing * setting.real + (1 - mixing) * fake, setting.real_labels, lambda norm: (norm - 1).pow(2),
        ),
    }  # fmt: skip
    for name, (images, labels, cost) in places.items():
        x = images.clone().requires_grad_()
        for i in range(len(x)):
            (gradient,) = torch.autograd.grad(setting.critic(x, labels)[i], x, create_graph=True)
            total = total + WEIGHTS[name] * cost(gradient[i].pow(2).sum().sqrt()) / len(x)
    return total
