"""The networks of the anchored generator: an encoder, a decoder, and the projection discriminator.

The class is not an input of the generator: it follows from the anchor. Noise enters the decoder through its conditional
batch norms, so that one combination of features gives several images.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from augment.gan.networks import ConditionalBatchNorm, Pair, ProjectionDiscriminator, Shape, UpsamplingConv, initialised

MIN_FEATURE_SIZE = 7  # px; a grid of 4 x 4 cells needs some pixels in each


def feature_levels(image_size: int) -> int:
    """Return how often the encoder halves an image: once, then as long as its side is even and 7 px or more remain."""
    levels, side = 1, image_size // 2
    while side % 2 == 0 and side // 2 >= MIN_FEATURE_SIZE:
        levels, side = levels + 1, side // 2
    return levels


class AnchoredGenerator(nn.Module):
    """An encoder to feature maps and a decoder back to images; the features are combined between the two."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        widths = [shape.width * min(2**level, 16) for level in range(feature_levels(shape.image_size) + 1)]
        strides = [1, *(2 for _ in widths[1:])]
        inputs = [shape.channels, *widths[:-1]]
        self.encoder = nn.Sequential(*(_ConvBlock(*sizes) for sizes in zip(inputs, widths, strides, strict=True)))
        widths = widths[::-1]
        self.stem = nn.Conv2d(widths[0], widths[0], 3, padding=1, bias=False)
        self.norms = nn.ModuleList(ConditionalBatchNorm(width, shape.latent_dim) for width in widths)
        self.convs = nn.ModuleList(UpsamplingConv(w_in, w_out) for w_in, w_out in pairwise(widths))
        self.to_image = nn.Conv2d(widths[-1], shape.channels, 3, padding=1)

    def encode(self, images: Tensor) -> Tensor:
        """Map images (B, C, size, size) in [-1, 1] to features (B, F, side, side) of 0 or more."""
        features: Tensor = self.encoder(images)
        return features

    def decode(self, features: Tensor, z: Tensor) -> Tensor:
        """Map features (B, F, side, side) and noise z: (B, latent_dim) to images (B, C, size, size) in [-1, 1]."""
        x = self.norms[0](self.stem(features), z).relu_()
        for conv, norm in zip(self.convs, self.norms[1:], strict=True):
            x = norm(conv(x), z).relu_()
        return torch.tanh(self.to_image(x))


class _ConvBlock(nn.Sequential):
    """A 3 x 3 convolution with the given stride, batch norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        conv = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        super().__init__(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


def build_anchored(shape: Shape, *, seed: int) -> Pair:
    """Return a new pair, initialised from `seed`; see `initialised`."""
    return initialised(lambda shape: Pair(AnchoredGenerator(shape), ProjectionDiscriminator(shape)), shape, seed=seed)
