"""What one training step does: batches are drawn, G and D are updated, and G's weights are averaged.

Everything random comes from one `torch.Generator` that is part of the training state. The data stay uint8 on the device
and every batch is gathered there; nothing here reads a number back from the device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from augment.dataset.images import LabelledImages, to_signed
from augment.gan.acceleration import Graphed, Network, in_bfloat16
from augment.gan.config import GanConfig
from augment.gan.diffaugment import augmenter
from augment.gan.losses import LOSSES
from augment.gan.networks import Shape
from augment.gan.noise import draw_noise
from augment.gan.penalties import weighted_sum
from augment.gan.steps import STEPS, GanSetup, critic_step
from augment.gan.training_state import State

RECALIBRATION_BATCHES, RECALIBRATION_BATCH = 32, 256


def make_setup(state: State, config: GanConfig) -> GanSetup:
    """What a step needs where penalties are due; all that is random comes from the state's random generator."""
    random, device = state.random, state.random.device
    generator: Network = state.generator
    discriminate: Network = state.discriminator
    if config.fast:
        generator, discriminate = in_bfloat16(generator, device), in_bfloat16(discriminate, device)

    def generate(labels: Tensor) -> Tensor:
        return generator(draw_noise(len(labels), config.latent_dim, random), labels)

    augment = augmenter(config.augment, random)
    penalties = {name: weight * config.penalty_every for name, weight in config.penalties.items()}
    return GanSetup(
        generate=generate,
        discriminate=discriminate,
        discriminator=state.discriminator,
        augment=augment,
        loss=LOSSES[config.loss],
        terms=state.terms,
        penalty=weighted_sum(penalties, lambda x, y: discriminate(augment(x), y), random) if penalties else None,
        optimizer_g=state.optimizer_g,
        optimizer_d=state.optimizer_d,
    )


def make_step(data: LabelledImages, state: State, config: GanConfig, setup: GanSetup) -> Callable[[bool], None]:
    """A function that does one training step: it changes `state` but for the average of G and the counter of steps.

    It is told whether the penalties are due in this step.
    """
    draw, update = batches(data, config.batch_size, state.random), STEPS[config.trainer]

    def step(setup: GanSetup) -> None:
        for _ in range(config.n_critic - 1):
            real, labels = draw()
            critic_step(setup, real, labels, labels)
        real, labels = draw()
        state.loss_sums += torch.stack(update(setup, real, labels, labels))

    by_penalties: dict[bool, Callable[[], None]] = {
        due: partial(step, setup if due else replace(setup, penalty=None)) for due in (True, False)
    }
    if config.fast:
        by_penalties = {due: Graphed(each, state.random) for due, each in by_penalties.items()}
    return lambda due: by_penalties[due and bool(config.penalties)]()


def batches(data: LabelledImages, size: int, random: torch.Generator) -> Callable[[], tuple[Tensor, Tensor]]:
    """A function that draws (real images (B, C, H, W) in [-1, 1], labels (B,)), every class equally often on average.

    Empty classes are never drawn; images within a class are drawn with replacement.
    """
    device = random.device
    images = torch.from_numpy(data.images).to(device)  # on a CPU the caller's own memory, not a copy
    by_class = torch.from_numpy(data.labels).argsort(stable=True).to(device)
    counts = torch.from_numpy(data.counts()).to(device)
    starts = counts.cumsum(0) - counts
    present = counts.nonzero().squeeze(1)

    def draw() -> tuple[Tensor, Tensor]:
        labels = present[torch.randint(len(present), (size,), generator=random, device=device)]
        within = torch.rand(size, generator=random, device=device, dtype=torch.float64) * counts[labels]
        chosen = images[by_class[starts[labels] + within.long()]]
        return to_signed(chosen.contiguous(memory_format=torch.channels_last)), labels

    return draw


@torch.no_grad()
def update_ema(ema: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the average towards the model's weights, faster in the first steps; batch statistics are copied.

    The warm-up is min(decay, (1 + step) / (10 + step)), that of TensorFlow's ExponentialMovingAverage.
    """
    decay = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(ema.parameters()), list(model.parameters()), 1 - decay)
    for average, buffer in zip(ema.buffers(), model.buffers(), strict=True):
        average.copy_(buffer)


@torch.no_grad()
def recalibrate(generator: nn.Module, shape: Shape, *, seed: int) -> None:
    """Replace G's running batch statistics by those of the averaged weights themselves ("standing statistics").

    Source: Brock et al., BigGAN, arXiv 1809.11096, appendix E. The statistics gathered in training belong to other
    weights. Leaves G in eval mode.
    """
    norms = [m for m in generator.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
    device = next(generator.parameters()).device
    random = torch.Generator(device).manual_seed(seed)
    generator.train()
    for _ in range(RECALIBRATION_BATCHES):
        y = torch.randint(shape.num_classes, (RECALIBRATION_BATCH,), generator=random, device=device)
        generator(draw_noise(RECALIBRATION_BATCH, shape.latent_dim, random), y)
    generator.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
