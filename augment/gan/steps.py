"""Training steps of a GAN, one-stage and two-stage, with one signature: `STEPS`.

One-stage training (Shen et al., "Training Generative Adversarial Networks in One Stage", arXiv 2103.00430; the same
idea: FusedProp, arXiv 2004.03335) runs G once, and D once on real and once on fake images. One backward pass through D
gives D's parameter gradients and, at the fake images, the gradient of L_D. Multiplying it sample by sample by the
gradient scale gamma gives the gradient of L_G. Both networks get exactly the gradients of a simultaneous update.

This requires that D maps each sample independently to one logit; `check_discriminator` raises an error otherwise.
Steps are independent of the inputs of a generator: they only call a function from labels to images.
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
    """The networks, losses and optimisers that a step works on.

    generate: maps labels (B,) to images (B, C, H, W) in [-1, 1] with G's graph attached; it draws its own noise.
    discriminate: maps (images, labels) to logits (B,), each sample independently; it runs `discriminator`.
    augment: differentiable, applied to all images that D sees; it draws random numbers independently for each sample.
    terms: further terms of L_D on logits; a step updates their states.
    penalty: a term of L_D on detached images, or None for a step without penalties.
    generator_term: a term of L_G that does not depend on D, such as a reconstruction error; called in each step.
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
    generator_term: Callable[[], Tensor] | None = None


class StepLosses(NamedTuple):
    """Detached scalars on the device. Reading them waits for the device, so it should be done only for the log."""

    discriminator: Tensor
    generator: Tensor


Step = Callable[[GanSetup, Tensor, Tensor, Tensor], StepLosses]


def one_stage_gradients(setup: GanSetup, real: Tensor, real_labels: Tensor, fake_labels: Tensor) -> StepLosses:
    """Add the gradients of a simultaneous update to `.grad` of both networks, by one forward and one backward pass.

    real: (B, C, H, W) in [-1, 1]; labels: int64 (B,). The states of the terms are updated as well. Raises `ConfigError`
    unless D returns one logit per sample, and for float16. Source: arXiv 2103.00430, section 3.3 and algorithm 1.
    """
    fake = setup.generate(fake_labels)
    leaf = fake.detach().requires_grad_()
    with _weights_normalised_once(setup.discriminator):
        l_r = setup.discriminate(setup.augment(real), real_labels)  # separate from fakes: needs no pixel gradients
        l_f = setup.discriminate(setup.augment(leaf), fake_labels)
        penalties = [setup.penalty(Batch(real, real_labels, fake.detach(), fake_labels))] if setup.penalty else []
    check_logits(l_r, l_f)
    c = cotangents(setup.loss, setup.terms, l_r, l_f)
    torch.autograd.backward(
        [l_r, l_f, *penalties], [c.real.to(l_r.dtype), c.fake.to(l_f.dtype), *map(torch.ones_like, penalties)]
    )
    assert leaf.grad is not None
    gamma = c.gamma.view(-1, *[1] * (fake.dim() - 1))
    own = [setup.generator_term()] if setup.generator_term else []
    torch.autograd.backward([fake, *own], [(gamma * leaf.grad).to(fake.dtype), *map(torch.ones_like, own)])
    advance(setup.terms, l_r, l_f)
    return StepLosses(sum(map(torch.detach, penalties), c.loss_d), sum(map(torch.detach, own), c.loss_g))


def one_stage(setup: GanSetup, real: Tensor, real_labels: Tensor, fake_labels: Tensor) -> StepLosses:
    """Update G and D together after one forward and one backward pass.

    Cost: 3g + 6d, where g and d are the times of a forward pass of G and of D.
    """
    _zero_grad(setup)
    losses = one_stage_gradients(setup, real, real_labels, fake_labels)
    setup.optimizer_d.step()
    setup.optimizer_g.step()
    return losses


def two_stage(setup: GanSetup, real: Tensor, real_labels: Tensor, fake_labels: Tensor) -> StepLosses:
    """Update D, then G against the updated D (3g + 8d). The G step reuses the fakes and freezes D.

    This is the fair baseline: classic alternating training (Goodfellow et al., arXiv 1406.2661, algorithm 1) without
    redundant work. If the loss of G needs logits on real images (relativistic losses), it gets those of the D step,
    because D is not run on them again.
    """
    _zero_grad(setup)
    fake = setup.generate(fake_labels)
    loss_d, l_r = _update_discriminator(setup, Batch(real, real_labels, fake.detach(), fake_labels))
    with _frozen(setup.discriminator), _weights_normalised_once(setup.discriminator):
        loss_g = _generator_loss(setup, l_r, setup.augment(fake), fake_labels)
        torch.autograd.backward(loss_g)
    setup.optimizer_g.step()
    return StepLosses(loss_d, loss_g.detach())


def two_stage_published(setup: GanSetup, real: Tensor, real_labels: Tensor, fake_labels: Tensor) -> StepLosses:
    """Update D, then G, as published two-stage scripts do (4g + 9d).

    The G step generates new fakes and computes gradients of D's parameters, which are then discarded.
    """
    _zero_grad(setup)
    with torch.no_grad():
        fake = setup.generate(fake_labels)
    loss_d, l_r = _update_discriminator(setup, Batch(real, real_labels, fake, fake_labels))
    with _power_iterations_stopped(setup.discriminator), _weights_normalised_once(setup.discriminator):
        loss_g = _generator_loss(setup, l_r, setup.augment(setup.generate(fake_labels)), fake_labels)
        torch.autograd.backward(loss_g)
    setup.optimizer_g.step()
    return StepLosses(loss_d, loss_g.detach())


def critic_step(setup: GanSetup, real: Tensor, real_labels: Tensor, fake_labels: Tensor) -> None:
    """Update D alone on new fakes. For n_critic > 1 this is done n_critic - 1 times before each step."""
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
    """Raise `ConfigError` if D behind the augmentation mixes samples or does not return one logit per sample.

    images: (B, C, H, W) in [-1, 1], at least 2; all get label 0. Pass a copy of D, as its buffers may change.
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
            "the discriminator's output for one image depends on the others of its batch (minibatch statistics, or an "
            "augmentation that mixes images): one-stage gradients of the generator would be wrong; remove that part"
        )


def check_logits(l_r: Tensor, l_f: Tensor) -> None:
    """Raise `ConfigError` unless there is one logit per sample, in a dtype that can represent the floor, 2^-60."""
    for logits in (l_r, l_f):
        if logits.dim() != 1:
            raise ConfigError(
                f"expected one logit per sample, shape (B,), got {tuple(logits.shape)}: with several outputs the ratio "
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
    """Update D and return its loss and its logits on the real images, both detached."""
    images, labels = torch.cat([batch.real, batch.fake]), torch.cat([batch.real_labels, batch.fake_labels])
    with _weights_normalised_once(setup.discriminator):
        logits = _in_float32(setup.discriminate(setup.augment(images), labels))
        penalty = setup.penalty(batch) if setup.penalty else None
    l_r, l_f = logits.tensor_split([len(batch.real)])
    loss = discriminator_loss(setup.loss, setup.terms, l_r, l_f)
    if penalty is not None:
        loss = loss + penalty
    torch.autograd.backward(loss)
    setup.optimizer_d.step()
    advance(setup.terms, l_r, l_f)
    return loss.detach(), l_r.detach()


def _generator_loss(setup: GanSetup, l_r: Tensor, fake: Tensor, fake_labels: Tensor) -> Tensor:
    """Return L_G with G's own term. l_r: D's logits on the real images, detached; fake: after the augmentation."""
    loss = setup.loss.generator(l_r, _in_float32(setup.discriminate(fake, fake_labels)))
    return loss + setup.generator_term() if setup.generator_term else loss


def _in_float32(logits: Tensor) -> Tensor:
    """Return the logits in float32, or in float64 if they are, because losses are not computed in lower precision."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


@contextmanager
def _weights_normalised_once(discriminator: nn.Module) -> Iterator[None]:
    """Compute D's normalised weights once for all calls within: one power iteration, outside of autocast."""
    with parametrize.cached():
        for module in discriminator.modules():
            for name in getattr(module, "parametrizations", ()):
                getattr(module, name)
        yield


@contextmanager
def _power_iterations_stopped(discriminator: nn.Module) -> Iterator[None]:
    """Stop the power iterations of spectral norm, so that there is only one per optimiser step.

    Spectral norm iterates in training mode only, so D is in eval mode meanwhile.
    """
    discriminator.eval()
    try:
        yield
    finally:
        discriminator.train()


@contextmanager
def _frozen(discriminator: nn.Module) -> Iterator[None]:
    """Stop the power iterations and compute no gradients of D's parameters."""
    discriminator.requires_grad_(False)
    try:
        with _power_iterations_stopped(discriminator):
            yield
    finally:
        discriminator.requires_grad_(True)
