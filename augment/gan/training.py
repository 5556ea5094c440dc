"""The parts of a training step: drawing batches, updating G and D, and the EMA of G's weights.

All random numbers come from one `torch.Generator`, which is part of the training state. The data stay on the device as
uint8 and batches are gathered there. No training step waits for the device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from augment.dataset.images import LabelledImages, to_signed
from augment.gan.acceleration import Graphed
from augment.gan.class_index import ClassIndex, draw_labels
from augment.gan.config import GanConfig, TrainingConfig
from augment.gan.diffaugment import augmenter
from augment.gan.losses import LOSSES
from augment.gan.networks import class_of, hide_class
from augment.gan.noise import draw_noise
from augment.gan.penalties import weighted_sum
from augment.gan.step_times import TrainingStep
from augment.gan.steps import STEPS, GanSetup, critic_step
from augment.gan.training_state import TrainingState

RECALIBRATION_BATCHES, RECALIBRATION_BATCH = 32, 256
BATCH_PER_RECONSTRUCTION = 4  # a step reconstructs one training image for every 4 of its batch, if it does at all


def generate_from_noise(state: TrainingState, config: GanConfig) -> Callable[[Tensor], Tensor]:
    """Return a function that maps labels (B,) to images (B, C, H, W) in [-1, 1], with noise from `state.rng`."""
    rng = state.rng
    generator = state.in_precision(state.generator)
    return lambda labels: generator(draw_noise(len(labels), config.latent_dim, rng), labels)


def make_setup(
    state: TrainingState,
    config: TrainingConfig,
    generate: Callable[[Tensor], Tensor],
    generator_term: Callable[[], Tensor] | None = None,
) -> GanSetup:
    """Return the setup of steps with penalties; all its random numbers come from `state.rng`.

    generate, generator_term: see `GanSetup`.
    """
    rng = state.rng
    discriminate = state.in_precision(state.discriminator)
    augment = augmenter(config.augment, rng)
    penalties = {name: weight * config.penalty_every for name, weight in config.penalties.items()}
    return GanSetup(
        generate=generate,
        discriminate=discriminate,
        discriminator=state.discriminator,
        augment=augment,
        loss=LOSSES[config.loss],
        terms=state.terms,
        penalty=weighted_sum(penalties, lambda x, y: discriminate(augment(x), y), rng) if penalties else None,
        optimizer_g=state.optimizer_g,
        optimizer_d=state.optimizer_d,
        generator_term=generator_term,
    )


def make_step(
    data: LabelledImages,
    state: TrainingState,
    config: TrainingConfig,
    setup: GanSetup,
    classes: Tensor | None = None,
    unlabelled: LabelledImages | None = None,
) -> TrainingStep:
    """Return a function that does one training step; its argument says whether the step includes the penalties.

    It updates `state` except for the EMA of G and the step counter. classes: see `make_batch_sampler`. unlabelled:
    real images whose labels mean nothing; D learns from them by `with_unlabelled`.
    """
    draw, update = make_batch_sampler(data, config.batch_size, state.rng, classes), STEPS[config.trainer]
    count = min(round(config.unlabelled * config.batch_size), config.batch_size - 1)
    if unlabelled is not None and count:
        draw = with_unlabelled(draw, unlabelled, count, torch.from_numpy(np.flatnonzero(data.counts())), state.rng)
        generate = setup.generate
        setup = replace(setup, generate=lambda labels: generate(class_of(labels, data.num_classes)))

    def step(setup: GanSetup) -> None:
        for _ in range(config.n_critic - 1):
            real, labels = draw()
            critic_step(setup, real, labels, labels)
        real, labels = draw()
        state.loss_sums += torch.stack(update(setup, real, labels, labels))

    steps: dict[bool, Callable[[], None]] = {  # by whether the step includes the penalties
        penalised: partial(step, setup if penalised else replace(setup, penalty=None)) for penalised in (True, False)
    }
    if config.fast:
        steps = {penalised: Graphed(function, state.rng) for penalised, function in steps.items()}
    return lambda penalised: steps[penalised and bool(config.penalties)]()


def make_batch_sampler(
    data: LabelledImages, size: int, rng: torch.Generator, classes: Tensor | None = None
) -> Callable[[], tuple[Tensor, Tensor]]:
    """Return a function that draws a batch of real images (B, C, H, W) in [-1, 1] and their labels (B,).

    On average all of `classes` (int64) are drawn equally often; None means all classes that have images. Within a class
    images are drawn with replacement.
    """
    device = rng.device
    images = torch.from_numpy(data.images).to(device)  # on a CPU this shares memory with `data`
    index = ClassIndex.from_images(data, device)
    drawn_classes = index.present if classes is None else classes

    def draw() -> tuple[Tensor, Tensor]:
        labels = draw_labels(drawn_classes, size, rng)
        uniforms = torch.rand(size, generator=rng, device=device, dtype=torch.float64)
        batch = images[index.draw(labels, uniforms)]
        return to_signed(batch.contiguous(memory_format=torch.channels_last)), labels

    return draw


def with_unlabelled(
    draw: Callable[[], tuple[Tensor, Tensor]],
    unlabelled: LabelledImages,
    count: int,
    classes: Tensor,
    rng: torch.Generator,
) -> Callable[[], tuple[Tensor, Tensor]]:
    """Return `draw` with the first `count` real images replaced by unlabelled ones.

    Their labels are random ones of `classes` (int64), hidden by `hide_class`: G makes a fake of the class, and D scores
    the unlabelled image and this fake without a class. So D gives one logit per sample, as one-stage training
    requires, and its score without a class learns from all images. (Lucic et al., arXiv 1903.02271, label such images
    by a classifier instead.)
    """
    images, classes = torch.from_numpy(unlabelled.images).to(rng.device), classes.to(rng.device)

    def draw_both() -> tuple[Tensor, Tensor]:
        real, labels = draw()
        i = torch.randint(len(images), (count,), generator=rng, device=rng.device)
        real[:count] = to_signed(images[i])
        labels[:count] = hide_class(draw_labels(classes, count, rng), unlabelled.num_classes)
        return real, labels

    return draw_both


@torch.no_grad()
def update_ema(ema: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Update the exponential moving average of the model's weights; buffers, such as batch statistics, are copied.

    The decay is warmed up as min(decay, (1 + step) / (10 + step)), as in TensorFlow's ExponentialMovingAverage.
    """
    decay = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(ema.parameters()), list(model.parameters()), 1 - decay)
    for average, buffer in zip(ema.buffers(), model.buffers(), strict=True):
        average.copy_(buffer)


@torch.no_grad()
def recalibrate_batch_norm(
    generator: nn.Module, forward: Callable[[int, torch.Generator], object], *, seed: int
) -> None:
    """Recompute the running batch statistics of the averaged G ("standing statistics"), and leave G in eval mode.

    forward(count, rng): runs G on `count` random inputs, drawn from `rng`.

    This is needed because the statistics from training belong to the weights before averaging. Source: Brock et al.,
    BigGAN, arXiv 1809.11096, appendix C.1.
    """
    norms = [m for m in generator.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # None: the plain mean over all batches
    device = next(generator.parameters()).device
    rng = torch.Generator(device).manual_seed(seed)
    generator.train()
    for _ in range(RECALIBRATION_BATCHES):
        forward(RECALIBRATION_BATCH, rng)
    generator.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
