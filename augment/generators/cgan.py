"""`cgan`: a class-conditional GAN that maps noise and a class to an image, trained by the one-stage step by default.

One pair of networks is trained on the images of all classes. The score of an image is D's logit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from augment.dataset.images import to_uint8
from augment.errors import SourceError
from augment.gan.config import GanConfig
from augment.gan.networks import NETWORKS, Shape, build
from augment.gan.noise import draw_noise, noise_from_seeds
from augment.gan.training import generate_from_noise, make_setup
from augment.gan.training_state import State, start
from augment.generators.adversarial import (
    PREVIEW_COLUMNS,
    AdversarialAbout,
    AdversarialConfig,
    Training,
    adversarial_generator,
    load_pair,
    network_shape,
    network_tensors,
    preview_grid,
)
from augment.generators.base import Samples, TrainingData, describe
from augment.generators.runs import Run, read_model
from augment.seeds import derive_seed


class CganConfig(GanConfig, AdversarialConfig):
    """The settings of the class-conditional GAN: those of `GanConfig` and the kind."""

    kind: Literal["cgan"] = "cgan"


class CganAbout(AdversarialAbout):
    """The description of a finished class-conditional GAN."""

    network: str


def _prepare(data: TrainingData, config: CganConfig, device: torch.device) -> Training:
    shape = network_shape(data.images, config.width, config.latent_dim)
    state = start(config, build(config.network, shape, seed=derive_seed(config.seed, "weights")), shape, device)
    noise = noise_from_seeds(range(PREVIEW_COLUMNS), shape.latent_dim).repeat(shape.num_classes, 1).to(device)

    def sample(labels: NDArray[np.int64]) -> Tensor:
        images: Tensor = state.ema(noise, torch.from_numpy(labels).to(device))
        return images

    return Training(
        state,
        make_setup(state, config, generate_from_noise(state, config)),
        run_ema=random_inputs(state.ema, shape),
        preview=lambda: preview_grid(state.ema, np.arange(shape.num_classes), sample),
        save=lambda run: _save(state, data, config, shape, run),
    )


def random_inputs(generator: nn.Module, shape: Shape) -> Callable[[int, torch.Generator], Tensor]:
    """Return a function that runs G on that many inputs: random noise, and classes drawn equally often."""

    def forward(count: int, random: torch.Generator) -> Tensor:
        y = torch.randint(shape.num_classes, (count,), generator=random, device=random.device)
        images: Tensor = generator(draw_noise(count, shape.latent_dim, random), y)
        return images

    return forward


def _save(state: State, data: TrainingData, config: CganConfig, shape: Shape, run: Run) -> None:
    """Write the EMA generator and the discriminator, with their description, for sampling."""
    about = CganAbout(**describe(data, config, run, state.step), network=config.network, shape=shape)
    run.save_model(network_tensors(state), about)


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
    shape = about.shape
    largest = max(shape.width << shape.levels, shape.latent_dim, shape.num_classes)
    pair = load_pair(
        lambda: build(about.network, shape, seed=0), tensors, largest=largest, folder=folder, device=device
    )
    return Cgan(*pair, about)


CGAN = adversarial_generator(CganConfig, _prepare, load)
