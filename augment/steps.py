"""One training step of a GAN, by the one-stage method or by the classic two stages: same signature, `STEPS`.

One-stage (Shen et al., "Training Generative Adversarial Networks in One Stage", arXiv 2103.00430; FusedProp, arXiv
2004.03335): G runs once, and D once on real and once on fake images; one backward pass through D gives D's parameter
gradients and, at the fake images, the gradient of L_D, which `gamma` turns row by row into that of L_G. Both networks
get exactly the gradients of a simultaneous update. It needs a D that maps each sample on its own to one
logit: `check_discriminator` refuses batch statistics with the reason.

A step knows nothing of what a generator is made from: it is given a function from labels to images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import cached

from augment.errors import ConfigError
from augment.losses import Loss, cotangents


@dataclass(frozen=True)
class Game:
    """The two players and what their step needs.

    generate: labels (B,) -> images (B, C, H, W) in [-1, 1], attached to G's graph; draws its own noise.
    discriminator: (images, labels) -> logits (B,), sample by sample. augment: differentiable, applied to all that D
    sees; draws its own randomness, independently for each sample.
    """

    generate: Callable[[Tensor], Tensor]
    discriminator: nn.Module
    augment: Callable[[Tensor], Tensor]
    loss: Loss
    optimizer_g: torch.optim.Optimizer
    optimizer_d: torch.optim.Optimizer


class StepLosses(NamedTuple):
    """Detached scalars on the device; reading them is what synchronises with it, so only a log should."""

    discriminator: Tensor
    generator: Tensor


Step = Callable[[Game, Tensor, Tensor, Tensor], StepLosses]


def one_stage_gradients(game: Game, real: Tensor, real_labels: Tensor, fake_labels: Tensor) -> StepLosses:
    """Add to `.grad` of both networks the gradients of a simultaneous update, from one forward and one backward pass.

    real: (B, C, H, W) in [-1, 1]; labels: int64 (B,). Source: arXiv 2103.00430, section 3.3 and algorithm 1.
    """
    fake = game.generate(fake_labels)
    leaf = fake.detach().requires_grad_()
    with cached():  # D's normalised weights are computed once, with one power iteration, for both calls
        l_r = game.discriminator(game.augment(real), real_labels)  # apart from the fakes: no gradient of real pixels
        l_f = game.discriminator(game.augment(leaf), fake_labels)
    c = cotangents(game.loss, l_r, l_f)
    torch.autograd.backward([l_r, l_f], [c.real.to(l_r.dtype), c.fake.to(l_f.dtype)])
    assert leaf.grad is not None
    gamma = c.gamma.view(-1, *[1] * (fake.dim() - 1))
    torch.autograd.backward(fake, (gamma * leaf.grad).to(fake.dtype))
    return StepLosses(c.loss_d, c.loss_g)


def one_stage(game: Game, real: Tensor, real_labels: Tensor, fake_labels: Tensor) -> StepLosses:
    """Update G and D together from one forward and one backward pass (3g + 6d in forward times)."""
    _zero_grad(game)
    losses = one_stage_gradients(game, real, real_labels, fake_labels)
    game.optimizer_d.step()
    game.optimizer_g.step()
    return losses


def two_stage(game: Game, real: Tensor, real_labels: Tensor, fake_labels: Tensor) -> StepLosses:
    """Update D, then G against the new D; the fakes are reused and D is frozen in G's turn (3g + 8d).

    The fair baseline: classic alternating training (Goodfellow et al., arXiv 1406.2661, algorithm 1) without waste.
    """
    _zero_grad(game)
    fake = game.generate(fake_labels)
    loss_d, l_r = _update_discriminator(game, real, fake.detach(), torch.cat([real_labels, fake_labels]))
    with _frozen(game.discriminator):
        loss_g = game.loss.generator(l_r, _full(game.discriminator(game.augment(fake), fake_labels)))
        torch.autograd.backward(loss_g)
    game.optimizer_g.step()
    return StepLosses(loss_d, loss_g.detach())


def two_stage_published(game: Game, real: Tensor, real_labels: Tensor, fake_labels: Tensor) -> StepLosses:
    """Two stages as official scripts do: fresh fakes in G's turn, and gradients for a D that drops them (4g + 9d)."""
    _zero_grad(game)
    with torch.no_grad():
        fake = game.generate(fake_labels)
    loss_d, l_r = _update_discriminator(game, real, fake, torch.cat([real_labels, fake_labels]))
    with _power_iterations_stopped(game.discriminator):
        seen = game.augment(game.generate(fake_labels))
        loss_g = game.loss.generator(l_r, _full(game.discriminator(seen, fake_labels)))
        torch.autograd.backward(loss_g)
    game.optimizer_g.step()
    return StepLosses(loss_d, loss_g.detach())


STEPS: dict[str, Step] = {
    "one-stage": one_stage,
    "two-stage": two_stage,
    "two-stage-published": two_stage_published,
}


def check_discriminator(discriminator: nn.Module) -> None:
    """Raise `ConfigError` if D mixes the samples of a batch, which makes one-stage gradients of G wrong."""
    for name, module in discriminator.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise ConfigError(
                f"the discriminator's {name or 'top module'} is a {type(module).__name__}: statistics over the batch "
                "mix the samples, and one-stage gradients of the generator would be wrong; "
                "use spectral or group normalisation"
            )


def _zero_grad(game: Game) -> None:
    game.optimizer_d.zero_grad(set_to_none=True)
    game.optimizer_g.zero_grad(set_to_none=True)


def _update_discriminator(game: Game, real: Tensor, fake: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """D's turn on detached fakes: (its loss, its detached logits on the real images)."""
    logits = _full(game.discriminator(game.augment(torch.cat([real, fake])), labels))
    l_r, l_f = logits.tensor_split([len(real)])
    loss = game.loss.discriminator(l_r, l_f)
    torch.autograd.backward(loss)
    game.optimizer_d.step()
    return loss.detach(), l_r.detach()


def _full(logits: Tensor) -> Tensor:
    """Losses are taken in float32 at least, whatever the networks run in."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


@contextmanager
def _power_iterations_stopped(discriminator: nn.Module) -> Iterator[None]:
    """Spectral norm iterates in training mode only, and once per optimiser step is the rule."""
    discriminator.eval()
    try:
        yield
    finally:
        discriminator.train()


@contextmanager
def _frozen(discriminator: nn.Module) -> Iterator[None]:
    discriminator.requires_grad_(False)
    try:
        with _power_iterations_stopped(discriminator):
            yield
    finally:
        discriminator.requires_grad_(True)
