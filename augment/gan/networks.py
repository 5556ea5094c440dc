"""Class-conditional generators and discriminators for square images of 8 to 128 px and 1 to 4 channels: `NETWORKS`.

A generator maps (z, y) to images in [-1, 1]. A discriminator maps (images, y) to
one logit a sample, by projection (Miyato and Koyama, "cGANs with Projection Discriminator", arXiv 1802.05637), and
never mixes samples: it is normalised by spectral norm (Miyato et al., arXiv 1802.05957) or by groups, which the
one-stage step relies on. Sizes come from one rule: the image is a base of at least 4 px, doubled `levels` times.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d, leaky_relu_, pad
from torch.nn.utils.parametrizations import spectral_norm

from augment.dataset.images import check_size


class Pair(NamedTuple):
    """The two networks of a setup; they share no weights."""

    generator: nn.Module  # (z: (B, latent_dim), y: int64 (B,)) -> (B, C, size, size) in [-1, 1]
    discriminator: nn.Module  # (images: (B, C, size, size), y: int64 (B,)) -> logits (B,)


class Shape(NamedTuple):
    """What a pair of networks is built for. width: channels at full resolution; they double with each halving."""

    num_classes: int
    channels: int
    image_size: int
    width: int
    latent_dim: int

    @property
    def levels(self) -> int:
        """Doublings between base and image: the most that leave a base of at least 4 px."""
        size, levels = check_size(self.image_size), 0
        while size % 2 == 0 and size >= 8:
            size, levels = size // 2, levels + 1
        return levels

    @property
    def base(self) -> int:
        """Side of the smallest feature map, px."""
        return int(self.image_size / 2**self.levels)

    def widths(self) -> list[int]:
        """Channels from full resolution down to the base, `levels` + 1 of them, at most 16 times `width`."""
        return [self.width * min(2**level, 16) for level in range(self.levels + 1)]


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose gain and bias are linear in the condition, noise and class embedding together.

    Source: Brock et al., BigGAN, arXiv 1809.11096, section 3 (there a chunk of the noise at each layer). With the class
    alone, as in arXiv 1707.00683, G at 20 images a class came to draw one picture of each class.
    """

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain = nn.Linear(condition, channels)
        self.bias = nn.Linear(condition, channels)
        for linear, at_zero in ((self.gain, 1.0), (self.bias, 0.0)):
            nn.init.normal_(linear.weight, 0.0, 0.05)
            nn.init.constant_(linear.bias, at_zero)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x: (B, C, H, W), condition: (B, condition); same shape as x back."""
        gain, bias = self.gain(condition)[:, :, None, None], self.bias(condition)[:, :, None, None]
        return torch.addcmul(bias, self.norm(x), gain)


class DoublingConv(nn.Conv2d):
    """A 3 x 3 convolution, padded by 1, of images doubled by nearest neighbours, for 4/9 of the multiplications.

    A pixel meets each output through the sum of the weights that its copies would meet: together that is a transposed
    convolution of stride 2 with a 4 x 4 kernel, and the doubled images are never made.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, in, H, W) -> (B, out, 2 H, 2 W)."""
        w = pad(self.weight.flip(2, 3), (1, 1, 1, 1))
        kernel = w[..., 1:, 1:] + w[..., 1:, :-1] + w[..., :-1, 1:] + w[..., :-1, :-1]
        return conv_transpose2d(x, kernel.transpose(0, 1), stride=2, padding=1)


class ProjectionGenerator(nn.Module):
    """A linear layer to the base, then doubling, a 3 x 3 convolution and cBN at every level.

    Nearest-neighbour doubling: free transposed convolutions left a checkerboard on small sets (Odena et al., Distill
    2016).
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        widths, condition = shape.widths()[::-1], 2 * shape.latent_dim
        self.base = shape.base
        self.embed = nn.Embedding(shape.num_classes, shape.latent_dim)
        self.stem = nn.Linear(condition, widths[0] * shape.base**2)
        self.norms = nn.ModuleList(ConditionalBatchNorm(w, condition) for w in widths)
        self.convs = nn.ModuleList(DoublingConv(w_in, w_out) for w_in, w_out in pairwise(widths))
        self.to_image = nn.Conv2d(widths[-1], shape.channels, 3, padding=1)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """z: (B, latent_dim), y: (B,) -> (B, C, size, size) in [-1, 1]."""
        condition = torch.cat([z, self.embed(y)], 1)
        x = self.stem(condition).unflatten(1, (-1, self.base, self.base))
        x = self.norms[0](x.contiguous(memory_format=torch.channels_last), condition).relu_()
        for conv, norm in zip(self.convs, self.norms[1:], strict=True):
            x = norm(conv(x), condition).relu_()
        return torch.tanh(self.to_image(x))


class ProjectionDiscriminator(nn.Module):
    """Convolutions down to the base, then the sum over space and the projection on the class; spectral norm throughout.

    Source: the SNGAN discriminator of arXiv 1802.05957, table 3, with 3 x 3 strides for its 4 x 4 (half the time on a
    CPU), and the head of arXiv 1802.05637, section 3.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        widths = shape.widths()
        self.convs = nn.ModuleList([spectral_norm(nn.Conv2d(shape.channels, widths[0], 3, padding=1))])
        for w_in, w_out in pairwise(widths):
            self.convs.append(spectral_norm(nn.Conv2d(w_in, w_out, 3, stride=2, padding=1)))
            self.convs.append(spectral_norm(nn.Conv2d(w_out, w_out, 3, padding=1)))
        self.linear = spectral_norm(nn.Linear(widths[-1], 1))
        self.embed = spectral_norm(nn.Embedding(shape.num_classes, widths[-1]))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """x: (B, C, size, size), y: (B,) -> logits (B,)."""
        for conv in self.convs:
            x = leaky_relu_(conv(x), 0.1)
        h = x.sum((2, 3))
        logits: Tensor = self.linear(h).squeeze(1) + (self.embed(y) * h).sum(1)
        return logits


class DCGANGenerator(nn.Module):
    """DCGAN (Radford et al., arXiv 1511.06434) with the class embedding beside the noise and cBN for BN."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        widths, condition = shape.widths()[1:][::-1], 2 * shape.latent_dim
        self.embed = nn.Embedding(shape.num_classes, shape.latent_dim)
        self.stem = nn.ConvTranspose2d(condition, widths[0], shape.base, bias=False)
        self.norms = nn.ModuleList(ConditionalBatchNorm(w, condition) for w in widths)
        self.convs = nn.ModuleList(
            nn.ConvTranspose2d(w_in, w_out, 4, stride=2, padding=1, bias=False) for w_in, w_out in pairwise(widths)
        )
        self.to_image = nn.ConvTranspose2d(widths[-1], shape.channels, 4, stride=2, padding=1)
        self.apply(_dcgan_init)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """z: (B, latent_dim), y: (B,) -> (B, C, size, size) in [-1, 1]."""
        condition = torch.cat([z, self.embed(y)], 1)
        x = self.norms[0](self.stem(condition[:, :, None, None]), condition).relu_()
        for conv, norm in zip(self.convs, self.norms[1:], strict=True):
            x = norm(conv(x), condition).relu_()
        return torch.tanh(self.to_image(x))


class DCGANDiscriminator(nn.Module):
    """DCGAN's strided convolutions with group norm (Wu and He, arXiv 1803.08494) for BN, and a projection head."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        widths = shape.widths()[1:]
        self.convs = nn.ModuleList(
            nn.Conv2d(w_in, w_out, 4, stride=2, padding=1) for w_in, w_out in pairwise([shape.channels, *widths])
        )
        self.norms = nn.ModuleList([nn.Identity(), *(nn.GroupNorm(math.gcd(w, 16), w) for w in widths[1:])])
        self.head = nn.Linear(widths[-1] * shape.base**2, 1)
        self.embed = nn.Embedding(shape.num_classes, widths[-1])
        self.apply(_dcgan_init)
        nn.init.zeros_(self.embed.weight)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """x: (B, C, size, size), y: (B,) -> logits (B,)."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = leaky_relu_(norm(conv(x)), 0.2)
        logits: Tensor = self.head(x.flatten(1)).squeeze(1) + (self.embed(y) * x.mean((2, 3))).sum(1)
        return logits


def _dcgan_init(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)


NETWORKS: dict[str, Callable[[Shape], Pair]] = {
    "projection": lambda shape: Pair(ProjectionGenerator(shape), ProjectionDiscriminator(shape)),
    "dcgan": lambda shape: Pair(DCGANGenerator(shape), DCGANDiscriminator(shape)),
}


def build(network: str, shape: Shape, *, seed: int) -> Pair:
    """A fresh pair in channels-last memory, initialised from `seed`; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pair = NETWORKS[network](shape)
    for player in pair:
        player.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return pair
