"""Codes: a fixed noise vector for each training image, so that G does not collapse to one image per class.

If G learns a class of few images from D alone, it collapses to one image. With codes, G's output at the code of a
training image is pulled towards that image, and G is trained and sampled between the codes of two images of a class.
Related: GLO learns the codes (Bojanowski et al., arXiv 1707.05776), IMLE matches each image with the nearest of several
samples (arXiv 1809.09087). `benchmarks/cgan_variety.py` compares them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from augment.gan.class_index import ClassIndex
from augment.gan.noise import Seeds, draw_noise, draw_uniforms_and_noise, uniforms_and_noise_from_seeds

UNIFORMS_PER_IMAGE = 3  # uniform in [0, 1), for each sample: two images, and the place between their codes


@dataclass(frozen=True)
class Codes:
    """The codes of N training images.

    codes: float32, N x latent_dim. noise_std: the standard deviation of the noise that is added between two codes.
    """

    index: ClassIndex
    codes: Tensor
    noise_std: float

    @classmethod
    def from_seed(cls, index: ClassIndex, latent_dim: int, noise_std: float, *, seed: int) -> Self:
        """Draw the codes of the images of `index` from a seed, on its device."""
        codes = draw_noise(len(index.labels), latent_dim, torch.Generator().manual_seed(seed))
        return cls(index, codes.to(index.labels.device), noise_std)

    def between(self, labels: Tensor, uniforms: Tensor, z: Tensor) -> Tensor:
        """Return noise for G: a point between the codes of two images of each class, plus `noise_std` times z.

        labels: int64 (B,), of classes with images. uniforms: (B, UNIFORMS_PER_IMAGE). z: (B, latent_dim), normal.
        """
        first, second = (self.codes[self.index.draw(labels, uniforms[:, k])] for k in (0, 1))
        return torch.lerp(first, second, uniforms[:, 2:]) + self.noise_std * z

    def draw(self, labels: Tensor, rng: torch.Generator) -> Tensor:
        """Return `between` with uniforms and noise from `rng`, which is on the device of the codes."""
        latent_dim = self.codes.shape[1]
        return self.between(labels, *draw_uniforms_and_noise(len(labels), UNIFORMS_PER_IMAGE, latent_dim, rng))

    def from_seeds(self, labels: Tensor, seeds: Seeds) -> Tensor:
        """Return `between` with one row per seed, each drawn from its seed alone."""
        latent_dim, device = self.codes.shape[1], self.codes.device
        return self.between(labels, *uniforms_and_noise_from_seeds(seeds, UNIFORMS_PER_IMAGE, latent_dim, device))
