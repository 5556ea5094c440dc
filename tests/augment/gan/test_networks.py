"""Networks fit every allowed size, look at each sample alone and at its class, and come from their seed only."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from augment.dataset.images import LabelledImages, to_signed
from augment.errors import ConfigError
from augment.gan.networks import NETWORKS, Shape, UpsamplingConv, build

SHOES = Shape(num_classes=3, channels=1, image_size=12, width=8, latent_dim=5)

networks = pytest.mark.parametrize("network", NETWORKS)


@pytest.fixture
def real(shoes: LabelledImages) -> tuple[Tensor, Tensor]:
    return to_signed(torch.from_numpy(shoes.images)).double(), torch.from_numpy(shoes.labels)


def differ(a: Tensor, b: Tensor) -> Tensor:
    """Which samples of two batches differ."""
    return (a - b).abs().flatten(1).amax(1) > 1e-6


def test_the_convolution_of_doubled_images_is_what_it_stands_for() -> None:
    rng = torch.Generator().manual_seed(6)
    x = torch.randn(2, 3, 5, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    conv = UpsamplingConv(3, 7).double()
    plain = conv2d(x.repeat_interleave(2, 2).repeat_interleave(2, 3), conv.weight, padding=1)
    quick = conv(x)
    torch.testing.assert_close(quick, plain)
    gradients = [torch.autograd.grad((y**3).sum(), (x, conv.weight)) for y in (quick, plain)]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


def check_shapes(network: str, shape: Shape) -> None:
    generator, discriminator = build(network, shape, seed=1)
    images = generator(torch.randn(3, 5, generator=torch.Generator().manual_seed(2)), torch.tensor([1, 0, 1]))
    assert images.shape == (3, shape.channels, shape.image_size, shape.image_size)
    assert 0 < images.abs().max() <= 1
    logits = discriminator(images, torch.tensor([0, 1, 1]))
    assert logits.shape == (3,)
    logits.sum().backward()
    assert all(p.grad is not None for player in (generator, discriminator) for p in player.parameters())


@networks
@pytest.mark.parametrize("image_size", range(8, 129, 4))
def test_every_multiple_of_4_from_8_to_128_is_a_size(network: str, image_size: int) -> None:
    check_shapes(network, Shape(2, 1, image_size, width=4, latent_dim=5))


@networks
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_images_have_1_to_4_channels(network: str, channels: int) -> None:
    check_shapes(network, Shape(2, channels, 20, width=4, latent_dim=5))


@pytest.mark.parametrize(("image_size", "nearest"), [(6, 8), (10, 12), (27, 28), (29, 28), (126, 128), (500, 128)])
@networks
def test_another_size_is_refused_and_the_nearest_named(network: str, image_size: int, nearest: int) -> None:
    with pytest.raises(ConfigError, match=f"image size {image_size} .*the nearest is {nearest}$"):
        build(network, SHOES._replace(image_size=image_size), seed=0)


@networks
def test_the_logit_of_a_sample_does_not_depend_on_its_batch(network: str, real: tuple[Tensor, Tensor]) -> None:
    images, labels = real
    discriminator = build(network, SHOES, seed=3).discriminator.double().eval()  # power iterations frozen
    together = discriminator(images, labels)
    alone = torch.cat([discriminator(images[i : i + 1], labels[i : i + 1]) for i in range(len(labels))])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)
    assert together.unique().numel() == len(labels)


@networks
def test_discriminators_normalise_alike_in_training_and_evaluation_apart_from_power_iterations(
    network: str, real: tuple[Tensor, Tensor]
) -> None:
    discriminator = build(network, SHOES, seed=3).discriminator.double()
    for _ in range(200):  # until power iterations have converged
        discriminator.train()(*real)
    torch.testing.assert_close(discriminator(*real), discriminator.eval()(*real), rtol=1e-6, atol=1e-9)


@networks
def test_a_generator_draws_each_class_and_each_noise_differently(network: str) -> None:
    generator = build(network, SHOES, seed=4).generator.double().eval()
    rng = torch.Generator().manual_seed(5)
    z, other = (torch.randn(4, 5, generator=rng, dtype=torch.float64) for _ in range(2))
    y, next_class = torch.tensor([0, 1, 2, 2]), torch.tensor([1, 2, 0, 2])
    images = generator(z, y)
    assert differ(images, generator(z, next_class)).tolist() == [True, True, True, False]
    assert differ(images, generator(other, y)).all()
    torch.testing.assert_close(images[1:2], generator(z[1:2], y[1:2]), rtol=0, atol=1e-12)


@networks
def test_a_discriminator_learns_a_class_without_the_others(network: str, real: tuple[Tensor, Tensor]) -> None:
    images, _ = real
    discriminator = build(network, SHOES, seed=6).discriminator.double().eval()
    sandals = torch.zeros(len(images), dtype=torch.int64)
    discriminator(images, sandals).sum().backward()
    embedding = [g for n, p in discriminator.named_parameters() if n.startswith("embed") and (g := p.grad) is not None]
    assert embedding[0][0].abs().max() > 0
    with torch.no_grad():  # DCGAN's class embedding starts at 0, so that only a step shows that it is used
        for parameter in discriminator.parameters():
            assert parameter.grad is not None
            parameter -= 1e-3 * parameter.grad
    assert (discriminator(images, sandals) - discriminator(images, sandals + 1)).abs().min() > 1e-6


@networks
def test_a_seed_decides_the_networks_and_spares_the_global_random_state(network: str) -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first = build(network, SHOES, seed=7)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(12)
    second, other = build(network, SHOES, seed=7), build(network, SHOES, seed=8)
    for one, same, another in zip(first, second, other, strict=True):
        weights, again, different = one.state_dict(), same.state_dict(), another.state_dict()
        assert all(torch.equal(weights[name], again[name]) for name in weights)
        assert any(not torch.equal(weights[name], different[name]) for name in weights)


@networks
def test_widths_double_at_each_halving_up_to_sixteen_times(network: str) -> None:
    assert Shape(2, 1, 128, 4, 5).widths() == [4, 8, 16, 32, 64, 64]
    assert Shape(2, 1, 28, 4, 5).widths() == [4, 8, 16]  # 28, 14 and 7 px
    narrow, wide = (build(network, SHOES._replace(width=width), seed=0) for width in (4, 8))
    for small, large in zip(narrow, wide, strict=True):
        assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in large.parameters())


@networks
def test_a_hidden_class_does_not_count(network: str, real: tuple[Tensor, Tensor]) -> None:
    """The logit is then that of a class whose vector is zero."""
    images, labels = real
    discriminator = build(network, SHOES, seed=1).discriminator.double().eval()
    with torch.no_grad():
        for p in discriminator.embed.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(4)))
        hidden = discriminator(images, labels + 3)
        assert torch.equal(hidden, discriminator(images, torch.full_like(labels, 3)))
        assert (hidden - discriminator(images, labels)).abs().min() > 1e-3
        discriminator.embed = torch.nn.Embedding.from_pretrained(torch.zeros(3, discriminator.embed.embedding_dim))
        torch.testing.assert_close(hidden, discriminator(images, labels))
