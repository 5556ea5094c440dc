"""The random inputs of generators: normal noise, and uniform numbers that choose images and mixtures of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Seeds = Sequence[int] | NDArray[np.uint64]


def draw_noise(count: int, latent_dim: int, rng: torch.Generator) -> Tensor:
    """Return standard normal noise: float32 (count, latent_dim), on the device of `rng`."""
    return torch.randn(count, latent_dim, generator=rng, device=rng.device)


def noise_from_seeds(seeds: Seeds, latent_dim: int) -> Tensor:
    """Return noise with one row per seed: float32 (n, latent_dim), on the CPU; see `rows_from_seeds`."""
    return rows_from_seeds(seeds, lambda rng: draw_noise(1, latent_dim, rng))


def draw_uniforms_and_noise(count: int, uniforms: int, latent_dim: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return numbers uniform in [0, 1), float32 (count, uniforms), and noise, float32 (count, latent_dim)."""
    return torch.rand(count, uniforms, generator=rng, device=rng.device), draw_noise(count, latent_dim, rng)


def uniforms_and_noise_from_seeds(
    seeds: Seeds, uniforms: int, latent_dim: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return what `draw_uniforms_and_noise` does, with one row per seed, on a device; see `rows_from_seeds`."""
    rows = rows_from_seeds(seeds, lambda rng: torch.cat(draw_uniforms_and_noise(1, uniforms, latent_dim, rng), 1))
    return rows[:, :uniforms].to(device), rows[:, uniforms:].to(device)


def rows_from_seeds(seeds: Seeds, draw_row: Callable[[torch.Generator], Tensor]) -> Tensor:
    """Return a tensor with one row per seed, on the CPU. draw_row: returns a tensor with one row.

    Row i depends on seed i alone. It is drawn on the CPU, so that it is the same for all devices.
    """
    rng = torch.Generator("cpu")
    rows = [draw_row(rng.manual_seed(int(seed))) for seed in seeds]
    return torch.cat(rows) if rows else draw_row(rng)[:0]
