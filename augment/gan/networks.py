"""Class-conditional generators and discriminators for square images of 8 to 128 px and 1 to 4 channels: `NETWORKS`.

A generator maps (z, y) to images in [-1, 1]. A discriminator maps (images, y) to one logit per sample, by projection
(Miyato and Koyama, "cGANs with Projection Discriminator", arXiv 1802.05637). The one-stage step requires that D never
mixes samples, so D is normalised by spectral norm (Miyato et al., arXiv 1802.05957) or by group norm.

One rule gives all feature map sizes: the image is a base of at least 4 px whose side is doubled `levels` times.
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
    """A generator and a discriminator, which share no weights.

    If D is given a label of `hide_class`, it scores the image without its class.
    """

    generator: nn.Module  # (z: (B, latent_dim), y: int64 (B,)) -> (B, C, size, size) in [-1, 1]
    discriminator: nn.Module  # (images: (B, C, size, size), y: int64 (B,)) -> logits (B,)


class Shape(NamedTuple):
    """The sizes that define a pair of networks."""

    num_classes: int
    channels: int
    image_size: int  # px
    width: int  # channels at full resolution; they double when the side halves
    latent_dim: int

    @property
    def levels(self) -> int:
        """Number of doublings between base and image: the largest one with a base of at least 4 px."""
        size, levels = check_size(self.image_size), 0
        while size % 2 == 0 and size >= 8:
            size, levels = size // 2, levels + 1
        return levels

    @property
    def base(self) -> int:
        """Side of the smallest feature map, in px."""
        return int(self.image_size / 2**self.levels)

    def widths(self) -> list[int]:
        """Return the `levels` + 1 channel counts from full resolution down to the base, at most 16 times `width`."""
        return [self.width * min(2**level, 16) for level in range(self.levels + 1)]


class ConditionalBatchNorm(nn.Module):
    """Batch norm (cBN) with a gain and a bias that are linear in the condition: noise and class embedding.

    Source: Brock et al., BigGAN, arXiv 1809.11096, section 3, where each layer gets another chunk of the noise. If the
    condition is the class alone, as in arXiv 1707.00683, a G trained on 20 images per class collapses to one image per
    class.
    """

    def __init__(self, channels: int, condition_dim: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain = nn.Linear(condition_dim, channels)
        self.bias = nn.Linear(condition_dim, channels)
        for linear, initial in ((self.gain, 1.0), (self.bias, 0.0)):
            nn.init.normal_(linear.weight, 0.0, 0.05)
            nn.init.constant_(linear.bias, initial)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Normalise x: (B, C, H, W), given condition: (B, condition_dim). Returns the shape of x."""
        gain, bias = self.gain(condition)[:, :, None, None], self.bias(condition)[:, :, None, None]
        return torch.addcmul(bias, self.norm(x), gain)


class UpsamplingConv(nn.Conv2d):
    """Nearest-neighbour upsampling by 2 and a 3 x 3 convolution with padding 1, with 4/9 of the multiplications.

    The copies of an input pixel contribute to an output through several weights, which can be summed in advance. This
    gives a transposed convolution with stride 2 and a 4 x 4 kernel, so the upsampled feature maps are never stored.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map x: (B, in_channels, H, W) to (B, out_channels, 2 H, 2 W)."""
        w = pad(self.weight.flip(2, 3), (1, 1, 1, 1))
        kernel = w[..., 1:, 1:] + w[..., 1:, :-1] + w[..., :-1, 1:] + w[..., :-1, :-1]
        return conv_transpose2d(x, kernel.transpose(0, 1), stride=2, padding=1)


class ProjectionGenerator(nn.Module):
    """A linear layer to the base, then upsampling by 2, a 3 x 3 convolution, cBN and ReLU at every level.

    Feature maps are upsampled by nearest neighbours, because unconstrained transposed convolutions left a checkerboard
    pattern on small training sets (Odena et al., Distill 2016).
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        widths, condition_dim = shape.widths()[::-1], 2 * shape.latent_dim
        self.base = shape.base
        self.embed = nn.Embedding(shape.num_classes, shape.latent_dim)
        self.stem = nn.Linear(condition_dim, widths[0] * shape.base**2)
        self.norms = nn.ModuleList(ConditionalBatchNorm(w, condition_dim) for w in widths)
        self.convs = nn.ModuleList(UpsamplingConv(w_in, w_out) for w_in, w_out in pairwise(widths))
        self.to_image = nn.Conv2d(widths[-1], shape.channels, 3, padding=1)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Map z: (B, latent_dim) and y: int64 (B,) to images (B, C, size, size) in [-1, 1]."""
        condition = torch.cat([z, self.embed(y)], 1)
        x = self.stem(condition).unflatten(1, (-1, self.base, self.base))
        x = self.norms[0](x.contiguous(memory_format=torch.channels_last), condition).relu_()
        for conv, norm in zip(self.convs, self.norms[1:], strict=True):
            x = norm(conv(x), condition).relu_()
        return torch.tanh(self.to_image(x))


class ProjectionDiscriminator(nn.Module):
    """Convolutions down to the base, the sum over space and a projection on the class, all with spectral norm.

    Source: the SNGAN discriminator of arXiv 1802.05957, table 3, and the head of arXiv 1802.05637, section 3. Strided
    convolutions have 3 x 3 kernels instead of 4 x 4, which halves the time on a CPU.
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
        """Map x: (B, C, size, size) and y: int64 (B,) to logits (B,)."""
        for conv in self.convs:
            x = leaky_relu_(conv(x), 0.1)
        h = x.sum((2, 3))
        logits: Tensor = self.linear(h).squeeze(1) + (class_vectors(self.embed, y) * h).sum(1)
        return logits


class DCGANGenerator(nn.Module):
    """DCGAN (Radford et al., arXiv 1511.06434) with noise and class embedding as input and cBN instead of BN."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        widths, condition_dim = shape.widths()[1:][::-1], 2 * shape.latent_dim
        self.embed = nn.Embedding(shape.num_classes, shape.latent_dim)
        self.stem = nn.ConvTranspose2d(condition_dim, widths[0], shape.base, bias=False)
        self.norms = nn.ModuleList(ConditionalBatchNorm(w, condition_dim) for w in widths)
        self.convs = nn.ModuleList(
            nn.ConvTranspose2d(w_in, w_out, 4, stride=2, padding=1, bias=False) for w_in, w_out in pairwise(widths)
        )
        self.to_image = nn.ConvTranspose2d(widths[-1], shape.channels, 4, stride=2, padding=1)
        self.apply(_dcgan_init)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Map z: (B, latent_dim) and y: int64 (B,) to images (B, C, size, size) in [-1, 1]."""
        condition = torch.cat([z, self.embed(y)], 1)
        x = self.norms[0](self.stem(condition[:, :, None, None]), condition).relu_()
        for conv, norm in zip(self.convs, self.norms[1:], strict=True):
            x = norm(conv(x), condition).relu_()
        return torch.tanh(self.to_image(x))


class DCGANDiscriminator(nn.Module):
    """DCGAN with group norm (Wu and He, arXiv 1803.08494) instead of BN, and a projection head."""

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
        """Map x: (B, C, size, size) and y: int64 (B,) to logits (B,)."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = leaky_relu_(norm(conv(x)), 0.2)
        logits: Tensor = self.head(x.flatten(1)).squeeze(1) + (class_vectors(self.embed, y) * x.mean((2, 3))).sum(1)
        return logits


def hide_class(labels: Tensor, num_classes: int) -> Tensor:
    """Return labels that make D score images without their classes; `class_of` recovers them: int64 (B,)."""
    return labels + num_classes


def class_of(labels: Tensor, num_classes: int) -> Tensor:
    """Return the class of each label, hidden or not: int64 (B,)."""
    return labels % num_classes


def class_vectors(embed: nn.Module, y: Tensor) -> Tensor:
    """Return the vector of each class by an embedding, (B, width), and zeros for a label that hides the class."""
    assert isinstance(embed, nn.Embedding)
    classes = embed.num_embeddings
    vectors: Tensor = embed(class_of(y, classes))
    return vectors * (y < classes)[:, None]


def _dcgan_init(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)


NETWORKS: dict[str, Callable[[Shape], Pair]] = {
    "projection": lambda shape: Pair(ProjectionGenerator(shape), ProjectionDiscriminator(shape)),
    "dcgan": lambda shape: Pair(DCGANGenerator(shape), DCGANDiscriminator(shape)),
}


def build(network: str, shape: Shape, *, seed: int) -> Pair:
    """Return a new pair of `NETWORKS`, initialised from `seed`; see `initialised`."""
    return initialised(NETWORKS[network], shape, seed=seed)


def initialised(make: Callable[[Shape], Pair], shape: Shape, *, seed: int) -> Pair:
    """Return the pair that `make` builds, in channels-last memory format and initialised from `seed`.

    The global random state does not change.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # `torch.manual_seed` would seed the GPUs too
        pair = make(shape)
    for module in pair:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return pair
