"""`cgan`: a class-conditional GAN that maps noise and a class to an image, trained by the one-stage step by default.

One pair of networks is trained on the images of all classes. The score of an image is D's logit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import model_validator
from torch import Tensor, nn

from augment.dataset.images import LabelledImages, check_size, to_uint8
from augment.errors import SourceError
from augment.gan.config import GanConfig
from augment.gan.networks import NETWORKS, Shape, build
from augment.gan.noise import draw_noise, noise_from_seeds
from augment.gan.training import generate_from_noise, make_setup, make_step, recalibrate
from augment.gan.training_state import State, start
from augment.generators.adversarial import PREVIEW_COLUMNS, check_finite_training, train
from augment.generators.base import Fitted, Generator, GeneratorConfig, Outcome, Samples, TrainingData
from augment.generators.runs import ModelAbout, Run, open_run, read_model
from augment.output_folders import Replace
from augment.runtime import Runtime
from augment.seeds import derive_seed
from augment.tensor_files import load_network, prefixed, unprefixed

PROBE_STEPS = 3  # timed steps, after one warm-up step


class CganConfig(GanConfig, GeneratorConfig):
    """The settings of the class-conditional GAN: those of `GanConfig` and the kind."""

    kind: Literal["cgan"] = "cgan"

    @property
    def total(self) -> int:
        """Number of optimiser steps."""
        return self.steps

    def with_horizontal_flip(self) -> Self:
        """Return these settings with flips added to the augmentation of D's inputs."""
        return self if "flip" in self.augment else self.model_copy(update={"augment": (*self.augment, "flip")})


class CganAbout(ModelAbout):
    """The description of a finished class-conditional GAN."""

    network: str
    shape: Shape

    @model_validator(mode="after")
    def _shape_is_possible(self) -> Self:
        check_size(self.shape.image_size)
        if self.shape.num_classes != len(self.classes):
            raise ValueError("the classes and the networks do not agree")
        if not (1 <= self.shape.channels <= 4 and 1 <= self.shape.width <= 512 and 1 <= self.shape.latent_dim <= 2**20):
            raise ValueError("no network has such a shape")
        return self


def fit(
    data: TrainingData,
    config: CganConfig,
    folder: Path,
    runtime: Runtime,
    *,
    overwrite: bool = False,
    replace: Replace = "nothing",
) -> Fitted:
    """Train both networks on all images of `data`; see `base.Fit`."""
    images, shape = data.images, _shape(data.images, config)
    state = _start(config, shape, runtime.device)
    with open_run(folder, config, images, data.origin.name, overwrite=overwrite, replace=replace) as run:
        finished = run.finished_step()
        if finished is not None and finished >= config.steps:
            return Fitted(Outcome.ALREADY_FINISHED, finished)
        step = make_step(images, state, config, make_setup(state, config, generate_from_noise(state, config)))
        if not train(state, config, run, runtime, step=step, preview=lambda: _preview(state.ema, shape)):
            return Fitted(Outcome.STOPPED, state.step)
        recalibrate(state.ema, random_inputs(state.ema, shape), seed=derive_seed(config.seed, "recalibration"))
        check_finite_training(state, run, list(state.ema.state_dict().values()))
        _save(state, data, config, run)
    return Fitted(Outcome.FINISHED, state.step)


def _start(config: CganConfig, shape: Shape, device: torch.device) -> State:
    return start(config, build(config.network, shape, seed=derive_seed(config.seed, "weights")), shape, device)


def random_inputs(generator: nn.Module, shape: Shape) -> Callable[[int, torch.Generator], Tensor]:
    """Return a function that runs G on that many inputs: random noise, and classes drawn equally often."""

    def forward(count: int, random: torch.Generator) -> Tensor:
        y = torch.randint(shape.num_classes, (count,), generator=random, device=random.device)
        images: Tensor = generator(draw_noise(count, shape.latent_dim, random), y)
        return images

    return forward


def _save(state: State, data: TrainingData, config: CganConfig, run: Run) -> None:
    """Write the EMA generator and the discriminator, with their description, for sampling."""
    about = CganAbout(
        identity=run.output.identity,
        network=config.network,
        shape=_shape(data.images, config),
        classes=data.images.class_names,
        train_per_class=data.images.per_class(),
        name=data.origin.name,
        origin=data.origin.arguments,
        tested=data.origin.tested,
        step=state.step,
        threads=torch.get_num_threads(),
    )
    generator, discriminator = state.ema.state_dict(), state.discriminator.state_dict()
    run.save_model({**prefixed("generator", generator), **prefixed("discriminator", discriminator)}, about)


def _shape(images: LabelledImages, config: GanConfig) -> Shape:
    return Shape(images.num_classes, images.channels, images.size, config.width, config.latent_dim)


@torch.no_grad()
def _preview(generator: nn.Module, shape: Shape) -> NDArray[np.uint8]:
    """Return images for a grid with one row per class and one noise per column: uint8, (K * columns, C, H, W)."""
    device = next(generator.parameters()).device
    y = torch.arange(shape.num_classes, device=device).repeat_interleave(PREVIEW_COLUMNS)
    z = noise_from_seeds(range(PREVIEW_COLUMNS), shape.latent_dim).repeat(shape.num_classes, 1).to(device)
    training = generator.training
    images: NDArray[np.uint8] = to_uint8(generator.eval()(z, y)).cpu().numpy()
    generator.train(training)
    return images


@dataclass(frozen=True)
class Cgan:
    """The networks of a finished run, in eval mode, and their description."""

    generator: nn.Module
    discriminator: nn.Module
    about: CganAbout

    @torch.inference_mode()
    def sample(self, labels: NDArray[np.int64], seeds: Sequence[int] | NDArray[np.uint64]) -> Samples:
        """Return an image and D's logit for each label and seed."""
        device = next(self.generator.parameters()).device
        y = torch.from_numpy(labels).to(device)
        images = self.generator(noise_from_seeds(seeds, self.about.shape.latent_dim).to(device), y)
        return Samples(to_uint8(images).cpu().numpy(), self.discriminator(images, y).float().cpu().numpy())


def load(folder: Path, device: torch.device) -> Cgan:
    """Load the model of a finished RUN folder. Raises `SourceError` if it is damaged or contradicts its description."""
    tensors, about = read_model(folder, CganAbout)
    if about.network not in NETWORKS:
        raise SourceError(f"{folder} holds a network of another version of this program, {about.network[:60]!r}")
    largest = max((max(tensor.shape, default=1) for tensor in tensors.values()), default=0)
    if max(about.shape.width << about.shape.levels, about.shape.latent_dim, about.shape.num_classes) > largest:
        raise SourceError(f"{folder} is damaged: its description needs larger networks than its weights")
    generator, discriminator = build(about.network, about.shape, seed=0)
    load_network(generator, unprefixed("generator", tensors))
    load_network(discriminator, unprefixed("discriminator", tensors))
    for network in (generator, discriminator):
        network.to(device).eval().requires_grad_(False)
    return Cgan(generator, discriminator, about)


def estimate_seconds(data: TrainingData, config: CganConfig, device: torch.device) -> float:
    """Estimate the seconds of a fit from a few steps on the same images."""
    plain = config.model_copy(update={"fast": False})  # capturing a CUDA graph would take too long for an estimate
    state = _start(plain, _shape(data.images, plain), device)
    step = make_step(data.images, state, plain, make_setup(state, plain, generate_from_noise(state, plain)))
    step(False)
    begin = time.perf_counter()
    for _ in range(PROBE_STEPS):
        step(False)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - begin) / PROBE_STEPS * config.steps


CGAN = Generator(CganConfig, fit, load, estimate_seconds)
