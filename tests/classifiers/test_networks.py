"""Every network of the classifier on every size, width and number of channels that is promised."""

from __future__ import annotations

import math

import pytest
import torch

from augment.errors import ConfigError
from classifiers.networks import NETWORKS, build, features


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("size", "channels"), [(8, 1), (12, 2), (28, 1), (36, 3), (128, 4)])
def test_logits_and_features_have_their_shapes(network: str, size: int, channels: int) -> None:
    model = build(network, 5, channels, size, 2, seed=0).eval()
    x = torch.rand(3, channels, size, size) * 2 - 1
    assert model(x).shape == (3, 5)
    assert features(model, x).shape == (3, {"small": 4 * 2, "wrn-16": 64 * 2}[network])


@pytest.mark.parametrize("network", NETWORKS)
def test_the_first_loss_is_log_k(network: str) -> None:
    model = build(network, 7, 1, 12, 4, seed=0)
    loss = torch.nn.functional.cross_entropy(model(torch.randn(6, 1, 12, 12)), torch.arange(6))
    assert loss.item() == pytest.approx(math.log(7))


@pytest.mark.parametrize("network", NETWORKS)
def test_samples_do_not_mix_in_eval_mode(network: str) -> None:
    model = build(network, 3, 1, 12, 4, seed=0).eval()
    x = torch.randn(4, 1, 12, 12)
    torch.testing.assert_close(features(model, x)[2:3], features(model, x[2:3]))


def test_wide_resnet_16_2_has_the_published_depth_and_size() -> None:
    model = build("wrn-16", 10, 3, 32, 2, seed=0)
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    assert sum(m.kernel_size == (3, 3) for m in convolutions) == 13  # 16 layers: these 13 and 3 shortcuts
    assert sum(m.kernel_size == (1, 1) for m in convolutions) == 3
    assert sum(p.numel() for p in model.parameters()) == 691_674


def test_no_width_means_the_width_of_the_network() -> None:
    small, wide = build("small", 2, 1, 28, seed=0), build("wrn-16", 2, 1, 28, seed=0)
    x = torch.zeros(2, 1, 28, 28)
    assert (features(small, x).shape[1], features(wide, x).shape[1]) == (4 * 32, 64 * 2)


def test_the_seed_decides_the_weights_and_the_global_state_stays() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (build("small", 3, 1, 12, 4, seed=seed).body[0][0].weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("network", NETWORKS)
def test_a_size_between_the_steps_is_refused(network: str) -> None:
    with pytest.raises(ConfigError, match="the nearest is 32"):
        build(network, 3, 1, 30, seed=0)
