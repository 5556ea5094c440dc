"""Noise is standard normal, and each row comes from its own seed on the CPU, whatever the device."""

from __future__ import annotations

import pytest
import torch

from augment.gan.noise import noise_from_seeds
from augment.generators.sampling import image_seeds


@pytest.mark.parametrize("latent_dim", [1, 5, 64])
def test_noise_depends_on_its_own_seed_only(latent_dim: int) -> None:
    seeds = [3, 2**63 - 1, 0, 41]
    rows = noise_from_seeds(seeds, latent_dim)
    assert rows.shape == (4, latent_dim)
    assert rows.dtype == torch.float32
    for row, seed in zip(rows, seeds, strict=True):
        assert torch.equal(row, torch.empty(latent_dim).normal_(generator=torch.Generator().manual_seed(seed)))
    assert torch.equal(noise_from_seeds(seeds[::-1], latent_dim), rows.flip(0))


def test_noise_is_standard_normal() -> None:
    values = noise_from_seeds(image_seeds(5, 0, 3000), 20)
    assert values.mean().abs() < 0.02
    assert (values.std() - 1).abs() < 0.02
    assert values.T.corrcoef().fill_diagonal_(0).abs().max() < 0.1


def test_noise_is_drawn_on_the_cpu_whatever_the_default_device() -> None:
    with torch.device("meta"):
        noise = noise_from_seeds([4, 9], 8)
    assert noise.device.type == "cpu"
    assert torch.equal(noise, noise_from_seeds([4, 9], 8))
