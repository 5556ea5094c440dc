"""Class-balanced images from a trained run: `augment generate`.

Every image has a seed of its own, from which it can be made again alone; asking for more images of a class keeps those
that fewer would have given. An image's score is the discriminator's logit: higher is nearer to the real images, as D
sees them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from augment.checkpoints import load_network, unprefixed
from augment.errors import ConfigError, SourceError
from augment.images import LabelledImages, to_uint8
from augment.networks import NETWORKS, Shape, build
from augment.runs import ModelAbout, read_model

BATCH = 256
RECALIBRATION_BATCHES = 32


@dataclass(frozen=True)
class Model:
    """A finished run's networks, in eval mode, and the classes that they know."""

    generator: nn.Module
    discriminator: nn.Module
    about: ModelAbout

    @property
    def shape(self) -> Shape:
        """Sizes of the networks and of their images."""
        return self.about.shape

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of their labels."""
        return self.about.classes


@dataclass(frozen=True)
class Synthetic:
    """Generated images with, for each, the seed it was made from and the discriminator's logit."""

    data: LabelledImages
    seeds: NDArray[np.uint64]
    scores: NDArray[np.float32]


def load_model(folder: Path, device: str | torch.device = "cpu") -> Model:
    """The model of a finished RUN. Raises `SourceError` if there is none, and says how to get it."""
    tensors, about = read_model(folder)
    if about.network not in NETWORKS:
        raise SourceError(f"{folder} holds a network of another version of this program, {about.network[:60]!r}")
    largest = max((max(tensor.shape, default=1) for tensor in tensors.values()), default=0)
    if max(about.shape.width << about.shape.levels, about.shape.latent_dim, about.shape.num_classes) > largest:
        raise SourceError(f"{folder} is damaged: its networks would be larger than the weights that are there")
    generator, discriminator = build(about.network, about.shape, seed=0)
    load_network(generator, unprefixed("generator", tensors))
    load_network(discriminator, unprefixed("discriminator", tensors))
    for network in (generator, discriminator):
        network.to(device).eval().requires_grad_(False)
    return Model(generator, discriminator, about)


def balancing_counts(train_per_class: Mapping[str, int]) -> dict[str, int]:
    """How many images of each class are missing to the largest one."""
    largest = max(train_per_class.values())
    return {name: largest - count for name, count in train_per_class.items()}


def generate(
    model: Model, counts: Mapping[str, int], *, seed: int, on_images: Callable[[int], None] = lambda _: None
) -> Synthetic:
    """`counts[name]` images of each class, in the order of the model's classes; a class left out gets none.

    `on_images` is told after every batch how many there are. Raises `ConfigError` for an unknown class.
    """
    labels = labels_of(model, counts)
    per_class = np.bincount(labels, minlength=len(model.class_names)).tolist()
    seeds = np.concatenate([image_seeds(seed, k, count) for k, count in enumerate(per_class)])
    images = np.empty((len(labels), model.shape.channels, *[model.shape.image_size] * 2), np.uint8)
    scores = np.empty(len(labels), np.float32)
    for begin in range(0, len(labels), BATCH):
        part = slice(begin, begin + BATCH)
        pixels, logits = sample(model, labels[part], seeds[part])
        images[part], scores[part] = pixels.cpu().numpy(), logits.cpu().numpy()
        on_images(min(begin + BATCH, len(labels)))
    return Synthetic(LabelledImages(images, labels, model.class_names), seeds, scores)


def labels_of(model: Model, counts: Mapping[str, int]) -> NDArray[np.int64]:
    """The label of each image that `generate` makes. Raises `ConfigError` for an unknown class."""
    unknown = sorted(set(counts) - set(model.class_names))
    if unknown:
        raise ConfigError(f"the run has no class {unknown[0]!r}; it knows {', '.join(model.class_names)}")
    per_class = [counts.get(name, 0) for name in model.class_names]
    return np.repeat(np.arange(len(per_class)), per_class)


@torch.inference_mode()
def sample(model: Model, labels: NDArray[np.int64], seeds: Sequence[int] | NDArray[np.uint64]) -> tuple[Tensor, Tensor]:
    """(uint8 images (n, C, H, W), float32 logits (n,)) for n labels and as many seeds, on the model's device."""
    device = next(model.generator.parameters()).device
    y = torch.from_numpy(labels).to(device)
    images = model.generator(noise(seeds, model.shape.latent_dim).to(device), y)
    return to_uint8(images), model.discriminator(images, y)


def noise(seeds: Sequence[int] | NDArray[np.uint64], latent_dim: int) -> Tensor:
    """float32, n x latent_dim: row i is drawn from seed i alone, on the CPU, so that every device gets the same."""
    rows = torch.empty(len(seeds), latent_dim, device="cpu")
    random = torch.Generator("cpu")
    for row, seed in zip(rows, seeds, strict=True):
        row.normal_(generator=random.manual_seed(int(seed)))
    return rows


def image_seeds(seed: int, label: int, count: int) -> NDArray[np.uint64]:
    """Seeds below 2^63 of the first `count` images of a class; a larger count has the same ones first."""
    return np.random.SeedSequence([seed, label]).generate_state(count, np.uint64) >> np.uint64(1)


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
        y = torch.randint(shape.num_classes, (BATCH,), generator=random, device=device)
        generator(torch.randn(BATCH, shape.latent_dim, generator=random, device=device), y)
    generator.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


@torch.no_grad()
def sample_grid(generator: nn.Module, num_classes: int, latent_dim: int, *, columns: int = 10) -> Image.Image:
    """A picture with a row a class and the same noise in every row, enlarged to at least 32 px an image."""
    device = next(generator.parameters()).device
    y = torch.arange(num_classes, device=device).repeat_interleave(columns)
    z = noise(range(columns), latent_dim).repeat(num_classes, 1).to(device)
    training = generator.training
    images = to_uint8(generator.eval()(z, y)).cpu().numpy()
    generator.train(training)
    return tile(images, columns)


def tile(images: NDArray[np.uint8], columns: int) -> Image.Image:
    """uint8 images (n, 1 or 3, H, W) as one picture, row by row, enlarged to at least 32 px each."""
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    sheet = np.full((rows * columns, channels, height, width), 255, np.uint8)
    sheet[:count] = images
    grid = sheet.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    pixels = grid.reshape(rows * height, columns * width, channels)
    picture = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels[:, :, :3])
    factor = max(-(-32 // height), 1)
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
