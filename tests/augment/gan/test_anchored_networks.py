"""The encoder halves and the decoder doubles, at every size, and noise changes what is decoded."""

from __future__ import annotations

import pytest
import torch

from augment.gan.anchored_networks import AnchoredGenerator, build_anchored, feature_levels
from augment.gan.networks import Shape


@pytest.mark.parametrize(("size", "levels"), [(8, 1), (12, 1), (20, 1), (28, 2), (32, 2), (56, 3), (64, 3), (128, 4)])
def test_features_are_four_px_or_more_and_seven_where_they_can_be(size: int, levels: int) -> None:
    assert feature_levels(size) == levels
    assert size / 2**levels >= (7 if size >= 14 else 4)


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (28, 3), (36, 2), (128, 4)])
def test_images_come_back_in_the_shape_they_went_in(size: int, channels: int) -> None:
    shape = Shape(num_classes=3, channels=channels, image_size=size, width=4, latent_dim=5)
    generator, discriminator = build_anchored(shape, seed=0)
    assert isinstance(generator, AnchoredGenerator)
    images = torch.rand(3, channels, size, size) * 2 - 1
    encoded = generator.encode(images)
    assert encoded.shape == (3, 4 * 2 ** feature_levels(size), *2 * (size >> feature_levels(size),))
    assert encoded.min() >= 0
    decoded = generator.decode(encoded, torch.randn(3, 5))
    assert decoded.shape == images.shape
    assert decoded.abs().max() <= 1
    assert discriminator(decoded, torch.tensor([0, 1, 2])).shape == (3,)


def test_noise_changes_an_image_and_features_change_it_more() -> None:
    generator, _ = build_anchored(Shape(3, 1, 28, 8, 6), seed=1)
    assert isinstance(generator, AnchoredGenerator)
    rng = torch.Generator().manual_seed(2)
    h = generator.eval().encode(torch.rand(2, 1, 28, 28, generator=rng) * 2 - 1)
    z = torch.randn(2, 6, generator=rng)
    first = generator.decode(h, z)
    by_noise = (generator.decode(h, z.flip(0)) - first).abs().mean()
    by_features = (generator.decode(h.flip(0), z) - first).abs().mean()
    assert by_noise > 0
    assert by_features > 0


def test_networks_repeat_with_their_seed_and_leave_the_global_state() -> None:
    shape = Shape(3, 1, 12, 4, 5)
    state = torch.get_rng_state()
    first, again, other = (build_anchored(shape, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    for a, b in zip(first, again, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(next(first[0].parameters()), next(other[0].parameters()))
