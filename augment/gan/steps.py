"""One training step of a GAN, by the one-stage method or by the classic two stages: same signature, `STEPS`.

One-stage (Shen et al., "Training Generative Adversarial Networks in One Stage", arXiv 2103.00430; FusedProp, arXiv
2004.03335): G runs once, and D once on real and once on fake images; one backward pass through D gives D's parameter
gradients and, at the fake images, the gradient of L_D, which `gamma` turns row by row into that of L_G. Both networks
get exactly the gradients of a simultaneous update. It needs a D that maps each sample on its own to one
logit: `check_discriminator` refuses what mixes samples, with the reason.

A step knows nothing of what a generator is made from: it is given a function from labels to images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from augment.errors import ConfigError
from augment.gan.losses import Loss, TermsWithStates, advance, cotangents, discriminator_loss
from augment.gan.penalties import Batch


@dataclass(frozen=True)
class GanSetup:
    """The two players and what their step needs.

    generate: labels (B,) -> images (B, C, H, W) in [-1, 1], attached to G's graph; draws its own noise.
    discriminate: (images, labels) -> logits (B,), sample by sample: how `discriminator` is run.
    augment: differentiable, applied to all that D sees; draws its own randomness, independently for each sample.
    terms: further terms of L_D on logits; a step moves their states.
    penalty: a term of L_D on detached images, or None where none is due.
    """

    generate: Callable[[Tensor], Tensor]
    discriminate: Callable[[Tensor, Tensor], Tensor]
    discriminator: nn.Module
    augment: Callable[[Tensor], Tensor]
    loss: Loss
    terms: TermsWithStates
    penalty: Callable[[Batch], Tensor] | None
    optimizer_g: torch.optim.Optimizer
    optimizer_d: torch.optim.Optimizer


class StepLosses(NamedTuple):
    """Detached scalars on the device; reading them is what synchronises with it, so only a log should."""

    discriminator: Tensor
    generator: Tensor


Step = Callable[[GanSetup, Tensor, Tensor, Tensor], StepLosses]


def one_stage_gradients(setup: GanSetup, real: Tensor, real_labels: Tensor, fake_labels: Tensor) -> StepLosses:
    """Add to `.grad` of both networks the gradients of a simultaneous update, from one forward and one backward pass.

    real: (B, C, H, W) in [-1, 1]; labels: int64 (B,). Also moves the states of the terms. Raises `ConfigError` for
    logits that are not one a sample, and for float16. Source: arXiv 2103.00430, section 3.3 and algorithm 1.
    """
    fake = setup.generate(fake_labels)
    leaf = fake.detach().requires_grad_()
    with _normalised_once(setup.discriminator):
        l_r = setup.discriminate(setup.augment(real), real_labels)  # apart from the fakes: no gradient of real pixels
        l_f = setup.discriminate(setup.augment(leaf), fake_labels)
        penalties = [setup.penalty(Batch(real, real_labels, fake.detach(), fake_labels))] if setup.penalty else []
    check_logits(l_r, l_f)
    c = cotangents(setup.loss, setup.terms, l_r, l_f)
    torch.autograd.backward(
        [l_r, l_f, *penalties], [c.real.to(l_r.dtype), c.fake.to(l_f.dtype), *map(torch.ones_like, penalties)]
    )
    assert leaf.grad is not None
    gamma = c.gamma.view(-1, *[1] * (fake.dim() - 1))
    torch.autograd.backward(fake, (gamma * leaf.grad).to(fake.dtype))
    advance(setup.terms, l_r, l_f)
    return StepLosses(sum(map(torch.detach, penalties), c.loss_d), c.loss_g)


def one_stage(setup: GanSetup, real: Tensor, real_labels: Tensor, fake_labels: Tensor) -> StepLosses:
    """Update G and D together from one forward and one backward pass (3g + 6d in forward times)."""
    _zero_grad(setup)
    losses = one_stage_gradients(setup, real, real_labels, fake_labels)
    setup.optimizer_d.step()
    setup.optimizer_g.step()
    return losses


def two_stage(setup: GanSetup, real: Tensor, real_labels: Tensor, fake_labels: Tensor) -> StepLosses:
    """Update D, then G against the new D; the fakes are reused and D is frozen in G's turn (3g + 8d).

    The fair baseline: classic alternating training (Goodfellow et al., arXiv 1406.2661, algorithm 1) without waste. A
    loss of G that compares with real images (relativistic) meets their logits from D's turn, as no step runs them anew.
    """
    _zero_grad(setup)
    fake = setup.generate(fake_labels)
    loss_d, l_r = _update_discriminator(setup, Batch(real, real_labels, fake.detach(), fake_labels))
    with _frozen(setup.discriminator), _normalised_once(setup.discriminator):
        loss_g = setup.loss.generator(l_r, _full(setup.discriminate(setup.augment(fake), fake_labels)))
        torch.autograd.backward(loss_g)
    setup.optimizer_g.step()
    return StepLosses(loss_d, loss_g.detach())


def two_stage_published(setup: GanSetup, real: Tensor, real_labels: Tensor, fake_labels: Tensor) -> StepLosses:
    """Two stages as official scripts do: fresh fakes in G's turn, and gradients for a D that drops them (4g + 9d)."""
    _zero_grad(setup)
    with torch.no_grad():
        fake = setup.generate(fake_labels)
    loss_d, l_r = _update_discriminator(setup, Batch(real, real_labels, fake, fake_labels))
    with _power_iterations_stopped(setup.discriminator), _normalised_once(setup.discriminator):
        seen = setup.augment(setup.generate(fake_labels))
        loss_g = setup.loss.generator(l_r, _full(setup.discriminate(seen, fake_labels)))
        torch.autograd.backward(loss_g)
    setup.optimizer_g.step()
    return StepLosses(loss_d, loss_g.detach())


def critic_step(setup: GanSetup, real: Tensor, real_labels: Tensor, fake_labels: Tensor) -> None:
    """Update D alone on fresh fakes: what comes before a step where D is updated more often than G (n_critic > 1)."""
    setup.optimizer_d.zero_grad(set_to_none=True)
    with torch.no_grad():
        fake = setup.generate(fake_labels)
    _update_discriminator(setup, Batch(real, real_labels, fake, fake_labels))


STEPS: dict[str, Step] = {
    "one-stage": one_stage,
    "two-stage": two_stage,
    "two-stage-published": two_stage_published,
}


def check_discriminator(discriminator: nn.Module, augment: Callable[[Tensor], Tensor], images: Tensor) -> None:
    """Raise `ConfigError` if D, behind the augmentation, mixes samples or gives no single logit for each.

    images: a few, (B, C, H, W), in [-1, 1]; all are taken for class 0. D's buffers may move: hand over a copy.
    """
    for name, module in discriminator.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise ConfigError(
                f"the discriminator's {name or 'top module'} is a {type(module).__name__}: statistics over the batch "
                "mix the samples, and one-stage gradients of the generator would be wrong; "
                "use spectral or group normalisation"
            )
    leaf = images.detach().requires_grad_()
    logits = discriminator(augment(leaf), torch.zeros(len(images), dtype=torch.long, device=images.device))
    check_logits(logits, logits)
    (gradients,) = torch.autograd.grad(logits[0], leaf)
    if bool(gradients[1:].ne(0).any()):
        raise ConfigError(
            "the discriminator's answer on one image depends on the others of its batch (minibatch statistics, or an "
            "augmentation that mixes images): one-stage gradients of the generator would be wrong; take that part out"
        )


def check_logits(l_r: Tensor, l_f: Tensor) -> None:
    """Raise `ConfigError` unless the logits are one a sample, and of a type whose exponents reach to the floor."""
    for logits in (l_r, l_f):
        if logits.dim() != 1:
            raise ConfigError(
                f"expected one logit a sample, shape (B,), got {tuple(logits.shape)}: with several outputs the ratio "
                "of the two losses' derivatives is not defined; train auxiliary outputs in two stages"
            )
        if logits.dtype == torch.float16 or _autocasts_to_float16(logits.device.type):
            raise ConfigError(
                "float16 cannot hold the cotangents of one-stage training (2^-60 and less); use bfloat16 or float32"
            )


def _autocasts_to_float16(device_type: str) -> bool:
    return torch.is_autocast_enabled(device_type) and torch.get_autocast_dtype(device_type) == torch.float16


def _zero_grad(setup: GanSetup) -> None:
    setup.optimizer_d.zero_grad(set_to_none=True)
    setup.optimizer_g.zero_grad(set_to_none=True)


def _update_discriminator(setup: GanSetup, batch: Batch) -> tuple[Tensor, Tensor]:
    """D's turn: (its loss, its detached logits on the real images)."""
    images, labels = torch.cat([batch.real, batch.fake]), torch.cat([batch.real_labels, batch.fake_labels])
    with _normalised_once(setup.discriminator):
        logits = _full(setup.discriminate(setup.augment(images), labels))
        penalty = setup.penalty(batch) if setup.penalty else None
    l_r, l_f = logits.tensor_split([len(batch.real)])
    loss = discriminator_loss(setup.loss, setup.terms, l_r, l_f)
    if penalty is not None:
        loss = loss + penalty
    torch.autograd.backward(loss)
    setup.optimizer_d.step()
    advance(setup.terms, l_r, l_f)
    return loss.detach(), l_r.detach()


def _full(logits: Tensor) -> Tensor:
    """Losses are taken in float32 at least, whatever the networks run in."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


@contextmanager
def _normalised_once(discriminator: nn.Module) -> Iterator[None]:
    """All calls of D within share one computation of its normalised weights: one power iteration, in full precision."""
    with parametrize.cached():
        for module in discriminator.modules():
            for name in getattr(module, "parametrizations", ()):
                getattr(module, name)
        yield


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
