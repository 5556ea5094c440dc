"""The noise that generators are fed with: the one place where it is drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def draw_noise(count: int, latent_dim: int, random: torch.Generator) -> Tensor:
    """Standard normal noise: float32, count x latent_dim, on the device of `random`."""
    return torch.randn(count, latent_dim, generator=random, device=random.device)


def noise_of_seeds(seeds: Sequence[int] | NDArray[np.uint64], latent_dim: int) -> Tensor:
    """float32, n x latent_dim, on the CPU: row i is drawn from seed i alone, so that every device gets the same."""
    random = torch.Generator("cpu")
    rows = [draw_noise(1, latent_dim, random.manual_seed(int(seed))) for seed in seeds]
    return torch.cat(rows) if rows else torch.empty(0, latent_dim, device="cpu")
