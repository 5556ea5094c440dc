"""`anchored`: a generator that starts from real images, for sets in which some classes have few images, others many.

It encodes training images, combines their features and decodes the result. A synthetic image keeps most of its anchor,
which is a training image of its class, and differs from it as two images of another class differ from each other. See
`augment.gan.anchors` for what is combined, and `augment.gan.anchored_networks` for the networks. The class enters D
only.

D learns from the classes that are large enough to lend differences, and G learns from D what a real change looks like.
On the few images of a small class, D would memorise these images, and G would learn to ignore the differences. Images
of all classes are reconstructed. Unlabelled images, if there are any, are by default half of the real images of D.

The training images are part of the finished run as uint8, so a run can generate without its source.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from augment.dataset.images import LabelledImages, to_signed, to_uint8
from augment.fields import MAX_BATCH_SIZE, MAX_WEIGHT, LearningRate, NameIn, Steps
from augment.gan.anchored_networks import AnchoredGenerator, build_anchored, feature_levels
from augment.gan.anchors import (
    ANCHOR_POLICIES,
    COLUMNS,
    DIFFERENCE_COLUMN,
    DIFFERENCE_FRACTION,
    INDEX_UNIFORMS,
    UNIFORMS_PER_IMAGE,
    AnchorPolicy,
    Anchors,
    Features,
    check_anchor_policy,
)
from augment.gan.class_index import draw_labels
from augment.gan.networks import Shape
from augment.gan.noise import Seeds, draw_uniforms_and_noise, uniforms_and_noise_from_seeds
from augment.gan.training import BATCH_PER_RECONSTRUCTION, make_setup
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
from augment.generators.training_images import check_present, image_tensors, read_images
from augment.seeds import derive_seed


class AnchoredConfig(AdversarialConfig):
    """The settings of the anchored generator: those of the training, and how images are combined."""

    kind: Literal["anchored"] = "anchored"
    anchors: Annotated[str, NameIn(ANCHOR_POLICIES)] = "pooled-difference"
    lenders_from: int = Field(20, ge=2, le=MAX_BATCH_SIZE)  # images; smaller classes lend no differences
    reconstruction: float = Field(5.0, ge=0, le=MAX_WEIGHT)  # weight of the L1 distance to the image
    width: int = Field(16, ge=4, le=512)  # channels at full resolution; they double when the side halves
    latent_dim: int = Field(32, ge=1, le=2**16)
    steps: Steps = 1000
    lr_generator: LearningRate = 4e-4
    unlabelled: float = Field(0.5, ge=0, lt=1)  # as in `TrainingConfig`; the images come closer to real ones with it


class AnchoredMetadata(AdversarialMetadata):
    """The metadata of a finished anchored generator. The same file holds the training images as tensors."""

    anchors: Annotated[str, NameIn(ANCHOR_POLICIES)]
    lenders_from: int = Field(ge=2)
    horizontal_flip: bool


@dataclass(frozen=True)
class Synthesis:
    """A network with the training images that it starts from."""

    network: AnchoredGenerator
    anchors: Anchors
    policy: AnchorPolicy

    def run(
        self, labels: Tensor, uniforms: Tensor, z: Tensor, with_difference: Tensor | slice | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return images, (B, C, H, W) in [-1, 1], and the indices of the training images behind each, int64 (B, 4).

        labels: int64 (B,). uniforms: (B, UNIFORMS_PER_IMAGE), in [0, 1). z: (B, latent_dim), standard normal.
        with_difference: which images get a difference; None: those that the uniforms say.
        """
        indices, mirrored = self.anchors.draw(labels, uniforms)
        features = self._encode(
            indices,
            mirrored,
            uniforms[:, DIFFERENCE_COLUMN] < DIFFERENCE_FRACTION if with_difference is None else with_difference,
        )
        return self.network.decode(self.policy.combine(features, uniforms[:, INDEX_UNIFORMS:]), z), indices

    def reconstruct(self, labels: Tensor, uniforms: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return anchors of these classes and their reconstructions, both (B, C, H, W) in [-1, 1]."""
        indices, mirrored = self.anchors.draw(labels, uniforms)
        real = self._load(indices[:, 0], mirrored[:, 0])
        return real, self.network.decode(self.network.encode(real), z)

    def _encode(self, indices: Tensor, mirrored: Tensor, with_difference: Tensor | slice) -> Features:
        """Encode the images that the policy needs, all in one batch."""
        names = self.policy.used_fields
        rows = [with_difference if name in ("lender", "base") else slice(None) for name in names]
        parts = [
            self._load(indices[row, COLUMNS[name]], mirrored[row, COLUMNS[name]])
            for row, name in zip(rows, names, strict=True)
        ]
        encoded = torch.split(self.network.encode(torch.cat(parts)), [len(part) for part in parts])
        return Features(**dict(zip(names, encoded, strict=True)), with_difference=with_difference)

    def _load(self, indices: Tensor, mirrored: Tensor) -> Tensor:
        images = to_signed(self.anchors.images[indices].contiguous(memory_format=torch.channels_last))
        return torch.where(mirrored[:, None, None, None], images.flip(3), images)


def _prepare(data: TrainingData, config: AnchoredConfig, device: torch.device) -> TrainingParts:
    images = data.images
    check_anchor_policy(config.anchors, images, config.lenders_from)
    shape = network_shape(images, config.width, config.latent_dim)
    state = initial_state(config, build_anchored(shape, seed=derive_seed(config.seed, "weights")), shape, device)
    assert isinstance(state.generator, AnchoredGenerator)
    assert isinstance(state.ema, AnchoredGenerator)
    anchors = Anchors.from_images(images, config.lenders_from, flip="flip" in config.augment, device=device)
    synthesis = Synthesis(state.generator, anchors, ANCHOR_POLICIES[config.anchors])
    average = Synthesis(state.ema, anchors, ANCHOR_POLICIES[config.anchors])
    present = anchors.index.present

    def run_ema(count: int, rng: torch.Generator) -> Tensor:
        labels = draw_labels(present, count, rng)
        return average.run(labels, *draw_uniforms_and_noise(count, UNIFORMS_PER_IMAGE, shape.latent_dim, rng))[0]

    def preview(labels: NDArray[np.int64]) -> Tensor:
        seeds = np.tile(np.arange(PREVIEW_COLUMNS, dtype=np.uint64), len(labels) // PREVIEW_COLUMNS)
        draws = uniforms_and_noise_from_seeds(seeds, UNIFORMS_PER_IMAGE, shape.latent_dim, device)
        return average.run(torch.from_numpy(labels).to(device), *draws)[0]

    return TrainingParts(
        state,
        make_setup(state, config, *_training_functions(synthesis, state, config)),
        run_ema=run_ema,
        preview=lambda: preview_grid(state.ema, np.flatnonzero(images.counts()), preview),
        save=lambda run: _save(state, data, config, shape, run),
        classes=anchors.discriminator_classes,
    )


def _training_functions(
    synthesis: Synthesis, state: TrainingState, config: AnchoredConfig
) -> tuple[Callable[[Tensor], Tensor], Callable[[], Tensor] | None]:
    """Return what generates the fakes of a step, and the reconstruction error as G's own term."""
    rng, present = state.rng, synthesis.anchors.index.present

    def draw(count: int) -> tuple[Tensor, Tensor]:
        return draw_uniforms_and_noise(count, UNIFORMS_PER_IMAGE, config.latent_dim, rng)

    def generate(labels: Tensor) -> Tensor:
        # A fixed number of images get a difference. They are spread over the batch, because the fakes that D scores
        # without a class are the first ones (`with_unlabelled`).
        with_difference = slice(None, None, round(1 / DIFFERENCE_FRACTION))
        return synthesis.run(labels, *draw(len(labels)), with_difference)[0]

    def reconstruction() -> Tensor:
        count = max(config.batch_size // BATCH_PER_RECONSTRUCTION, 2)
        real, reconstructed = synthesis.reconstruct(draw_labels(present, count, rng), *draw(count))
        return config.reconstruction * l1_loss(reconstructed.float(), real)

    generate, reconstruction = (state.in_precision(f) for f in (generate, reconstruction))
    return generate, reconstruction if config.reconstruction else None


def _save(state: TrainingState, data: TrainingData, config: AnchoredConfig, shape: Shape, run: Run) -> None:
    """Write the EMA generator, the discriminator and the training images, with their metadata, for sampling."""
    metadata = AnchoredMetadata(
        **metadata_fields(data, config, run, state.step),
        shape=shape,
        anchors=config.anchors,
        lenders_from=config.lenders_from,
        horizontal_flip="flip" in config.augment,
    )
    run.save_model({**image_tensors(data.images), **network_tensors(state)}, metadata)


@dataclass(frozen=True)
class Anchored:
    """The networks of a finished run, in eval mode, its training images, and their metadata."""

    synthesis: Synthesis
    discriminator: nn.Module
    metadata: AnchoredMetadata

    @torch.inference_mode()
    def sample(self, labels: NDArray[np.int64], seeds: Seeds, *, scored: bool = True) -> Samples:
        """Return an image, D's logit and the indices of its training images for each label and seed.

        There are no logits if they are not needed, or if D has not learnt from all classes: those of different classes
        could not be compared.
        Raises `SourceError` for a class without training images.
        """
        check_present(labels, self.synthesis.anchors.index.counts.cpu().numpy(), self.metadata.classes)
        device = self.synthesis.anchors.images.device
        y = torch.from_numpy(labels).to(device)
        latent_dim = self.metadata.shape.latent_dim
        draws = uniforms_and_noise_from_seeds(seeds, UNIFORMS_PER_IMAGE, latent_dim, device)
        images, indices = self.synthesis.run(y, *draws)
        scored &= len(self.synthesis.anchors.discriminator_classes) == len(self.metadata.classes)
        scores = self.discriminator(images, y).float().cpu().numpy() if scored else None
        used = indices[:, [COLUMNS[name] for name in self.synthesis.policy.used_fields]].cpu().numpy()
        return Samples(to_uint8(images).cpu().numpy(), scores, used)

    def restricted_to(self, images: LabelledImages) -> Anchored:
        """Return the same networks with fewer anchors: `images`, which are some of the training images."""
        return replace(self, synthesis=replace(self.synthesis, anchors=self.synthesis.anchors.restricted_to(images)))


def without_mixing(model: Anchored) -> Anchored:
    """Return the same networks with nothing mixed: every image is the reconstruction of its anchor."""
    return replace(model, synthesis=replace(model.synthesis, policy=ANCHOR_POLICIES["reconstruction"]))


def load(folder: Path, device: torch.device) -> Anchored:
    """Load the model of a finished RUN folder. Raises `SourceError` if it is damaged or contradicts its metadata."""
    tensors, metadata = read_model(folder, AnchoredMetadata)
    images = read_images(tensors, metadata, folder)
    shape = metadata.shape
    largest = max(shape.width << feature_levels(shape.image_size), shape.latent_dim, shape.num_classes)
    generator, discriminator = load_pair(
        lambda: build_anchored(shape, seed=0), tensors, largest=largest, folder=folder, device=device
    )
    assert isinstance(generator, AnchoredGenerator)
    anchors = Anchors.from_images(images, metadata.lenders_from, flip=metadata.horizontal_flip, device=device)
    return Anchored(Synthesis(generator, anchors, ANCHOR_POLICIES[metadata.anchors]), discriminator, metadata)


ANCHORED = adversarial_generator(AnchoredConfig, _prepare, load)
