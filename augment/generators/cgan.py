"""`cgan`: a class-conditional GAN that maps noise and a class to an image, trained by the one-stage step by default.

One pair of networks is trained on the images of all classes. The score of an image is D's logit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from augment.dataset.images import to_signed, to_uint8
from augment.errors import SourceError
from augment.fields import MAX_WEIGHT
from augment.gan.class_index import ClassIndex, draw_labels
from augment.gan.codes import Codes
from augment.gan.config import GanConfig
from augment.gan.networks import NETWORKS, Shape, build
from augment.gan.noise import Seeds, draw_noise, noise_from_seeds
from augment.gan.training import BATCH_PER_RECONSTRUCTION, generate_from_noise, make_setup
from augment.gan.training_state import TrainingState, initial_state
from augment.generators.adversarial import (
    PREVIEW_COLUMNS,
    AdversarialConfig,
    AdversarialMetadata,
    TrainingParts,
    adversarial_generator,
    load_pair,
    network_shape,
    network_tensors,
    preview_grid,
)
from augment.generators.base import Samples, TrainingData, metadata_fields
from augment.generators.runs import Run, read_model
from augment.generators.training_images import check_present
from augment.seeds import derive_seed

CODES, CODE_LABELS = "codes", "code_labels"  # tensors of a finished run


class CganConfig(GanConfig, AdversarialConfig):
    """The settings of the class-conditional GAN: those of `GanConfig`, the codes and the kind."""

    kind: Literal["cgan"] = "cgan"
    # weight of the L1 distance between a training image and G of its code; 0: no codes. See `augment.gan.codes`
    code_pull: float = Field(0.0, ge=0, le=MAX_WEIGHT)
    code_spread: float = Field(1.0, ge=0, le=100)  # standard deviation of the noise that is added between two codes


class CganMetadata(AdversarialMetadata):
    """The metadata of a finished class-conditional GAN. With codes, the same file holds them as tensors."""

    network: str
    code_spread: float | None = Field(None, ge=0)  # None: no codes


def _prepare(data: TrainingData, config: CganConfig, device: torch.device) -> TrainingParts:
    shape = network_shape(data.images, config.width, config.latent_dim)
    state = initial_state(config, build(config.network, shape, seed=derive_seed(config.seed, "weights")), shape, device)
    codes = _codes(data, config, device) if config.code_pull else None
    classes = np.flatnonzero(data.images.counts())

    def draw(labels: Tensor, rng: torch.Generator) -> Tensor:
        return codes.draw(labels, rng) if codes else draw_noise(len(labels), shape.latent_dim, rng)

    def sample(labels: NDArray[np.int64]) -> Tensor:
        y, seeds = torch.from_numpy(labels).to(device), np.arange(len(labels), dtype=np.uint64) % PREVIEW_COLUMNS
        images: Tensor = state.ema(_noise(codes, y, seeds, shape.latent_dim), y)
        return images

    return TrainingParts(
        state,
        make_setup(state, config, *_training_functions(state, data, config, codes)),
        run_ema=run_on_random(state.ema, torch.from_numpy(classes).to(device), draw),
        preview=lambda: preview_grid(state.ema, classes, sample),
        save=lambda run: _save(state, data, config, shape, run, codes),
    )


def _codes(data: TrainingData, config: CganConfig, device: torch.device) -> Codes:
    index, seed = ClassIndex.from_images(data.images, device), derive_seed(config.seed, "codes")
    return Codes.from_seed(index, config.latent_dim, config.code_spread, seed=seed)


def _noise(codes: Codes | None, labels: Tensor, seeds: Seeds, latent_dim: int) -> Tensor:
    """Return the noise of each label and seed, (B, latent_dim), on the device of the labels."""
    return codes.from_seeds(labels, seeds) if codes else noise_from_seeds(seeds, latent_dim).to(labels.device)


def _training_functions(
    state: TrainingState, data: TrainingData, config: CganConfig, codes: Codes | None
) -> tuple[Callable[[Tensor], Tensor], Callable[[], Tensor] | None]:
    """Return what generates the fakes of a step, and with codes the distance to training images as G's own term."""
    if codes is None:
        return generate_from_noise(state, config), None
    rng, generator = state.rng, state.in_precision(state.generator)
    images, present = torch.from_numpy(data.images.images).to(rng.device), codes.index.present

    def generate(labels: Tensor) -> Tensor:
        fakes: Tensor = generator(codes.draw(labels, rng), labels)
        return fakes

    def distance() -> Tensor:
        count = max(config.batch_size // BATCH_PER_RECONSTRUCTION, 2)
        labels = draw_labels(present, count, rng)
        i = codes.index.draw(labels, torch.rand(count, generator=rng, device=rng.device))
        real = to_signed(images[i].contiguous(memory_format=torch.channels_last))
        return config.code_pull * l1_loss(generator(codes.codes[i], labels).float(), real)

    return generate, distance


def run_on_random(
    generator: nn.Module, classes: Tensor, draw: Callable[[Tensor, torch.Generator], Tensor]
) -> Callable[[int, torch.Generator], Tensor]:
    """Return a function of (count, rng) that runs G on `count` random inputs.

    classes: int64, each equally likely. draw: from labels and rng to the noise, (B, latent_dim).
    """

    def forward(count: int, rng: torch.Generator) -> Tensor:
        y = draw_labels(classes, count, rng)
        images: Tensor = generator(draw(y, rng), y)
        return images

    return forward


def _save(
    state: TrainingState, data: TrainingData, config: CganConfig, shape: Shape, run: Run, codes: Codes | None
) -> None:
    """Write the EMA generator, the discriminator and the codes, with their metadata, for sampling."""
    noise_std = codes.noise_std if codes else None
    metadata = CganMetadata(
        **metadata_fields(data, config, run, state.step), network=config.network, shape=shape, code_spread=noise_std
    )
    of_codes = {CODES: codes.codes, CODE_LABELS: codes.index.labels} if codes else {}
    run.save_model({**network_tensors(state), **of_codes}, metadata)


@dataclass(frozen=True)
class Cgan:
    """The networks of a finished run, in eval mode, and their metadata."""

    generator: nn.Module
    discriminator: nn.Module
    metadata: CganMetadata
    codes: Codes | None = None

    @torch.inference_mode()
    def sample(self, labels: NDArray[np.int64], seeds: Seeds, *, scored: bool = True) -> Samples:
        """Return an image, and if they are needed D's logit, for each label and seed.

        Raises `SourceError` for a class without codes, if there are codes.
        """
        device = next(self.generator.parameters()).device
        y = torch.from_numpy(labels).to(device)
        if self.codes is not None:
            check_present(labels, self.codes.index.counts.cpu().numpy(), self.metadata.classes)
        images = self.generator(_noise(self.codes, y, seeds, self.metadata.shape.latent_dim), y)
        scores = self.discriminator(images, y).float().cpu().numpy() if scored else None
        return Samples(to_uint8(images).cpu().numpy(), scores)


def load(folder: Path, device: torch.device) -> Cgan:
    """Load the model of a finished RUN folder. Raises `SourceError` if it is damaged or contradicts its metadata."""
    tensors, metadata = read_model(folder, CganMetadata)
    if metadata.network not in NETWORKS:
        raise SourceError(f"{folder} holds a network of another version of this program, {metadata.network[:60]!r}")
    shape = metadata.shape
    largest = max(shape.width << shape.levels, shape.latent_dim, shape.num_classes)
    pair = load_pair(
        lambda: build(metadata.network, shape, seed=0), tensors, largest=largest, folder=folder, device=device
    )
    codes = (
        None if metadata.code_spread is None else _read_codes(tensors, metadata, metadata.code_spread, folder, device)
    )
    return Cgan(*pair, metadata, codes)


def _read_codes(
    tensors: Mapping[str, Tensor], metadata: CganMetadata, noise_std: float, folder: Path, device: torch.device
) -> Codes:
    codes, labels, shape = tensors.get(CODES), tensors.get(CODE_LABELS), metadata.shape
    if (
        codes is None
        or labels is None
        or (codes.dtype, labels.dtype) != (torch.float32, torch.int64)
        or codes.shape != (len(labels), shape.latent_dim)
        or labels.ndim != 1
        or not len(labels)
        or not bool(((labels >= 0) & (labels < shape.num_classes)).all())
    ):
        raise SourceError(f"{folder} is damaged: its codes do not fit its metadata")
    return Codes(ClassIndex.from_labels(labels.to(device), shape.num_classes), codes.to(device), noise_std)


CGAN = adversarial_generator(CganConfig, _prepare, load)
