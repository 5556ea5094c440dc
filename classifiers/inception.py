"""Inception v3 as a feature network, with weights that the user provides, for fidelity metrics close to published ones.

The weights are those of `torchvision.models.inception_v3` (IMAGENET1K_V1 is the file that torchvision downloads). They
come from TensorFlow and expect pixels from -1 to 1. The preprocessing of torchvision (normalisation by the mean and
standard deviation of ImageNet, then `transform_input`) results in the same values. Published FIDs were measured with a
variant of this network with different pooling, so the values here are close to them but not equal.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from classifiers.backbones import to_colour
from classifiers.networks import Classifier
from classifiers.weights import load_strictly, read_weights

DIMENSION = 2048
SIDE = 299  # px
BATCH = 16  # because a batch of 128 at 299 px needs gigabytes of memory
EXPECTED = "expected a state dict of torchvision.models.inception_v3 with 1000 classes and AuxLogits"


def load_inception(path: Path) -> Classifier:
    """Load the network in eval mode on the CPU: features (N, 2048) of images (N, C, size, size) from -1 to 1.

    path: a `.safetensors` file or a file of `torch.save`, from which only tensors are read. If the images have 1 or 2
    channels, the first one is used for red, green and blue; if they have 4, the last one is dropped. Raises
    `ConfigError` if the file does not contain exactly these weights.
    """
    from torchvision.models import inception_v3  # here, because the import takes a second and is rarely needed

    with torch.device("meta"):
        network = inception_v3(weights=None, init_weights=False)
        classifier = Classifier(nn.Identity(), DIMENSION, network.fc.out_features)  # its head is replaced
    load_strictly(network, read_weights(path, EXPECTED), str(path), EXPECTED)
    classifier.head, network.fc, network.AuxLogits = network.fc, nn.Identity(), None
    classifier.body = _ResizeInput(network)
    return classifier.float().eval().requires_grad_(False)


class _ResizeInput(nn.Module):
    """Resize images to 299 px and three channels and run a network on them, `BATCH` images at a time."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.network(to_colour(part, SIDE)) for part in torch.split(x, BATCH)])
