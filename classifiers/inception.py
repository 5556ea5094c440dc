"""Inception v3 as a feature network, with weights that the user provides, for fidelity figures close to published ones.

The weights are those of `torchvision.models.inception_v3` (IMAGENET1K_V1 is the file that torchvision downloads). They
come from TensorFlow and expect pixels from -1 to 1. The preprocessing of torchvision (normalisation by the mean and
standard deviation of ImageNet, then `transform_input`) results in the same values. Published FIDs were measured with a
variant of this network with different pooling, so the figures here are close to them but not equal.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from augment.errors import ConfigError
from classifiers.networks import Classifier

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
    try:
        network.load_state_dict(_read(path), strict=True, assign=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise ConfigError(f"{path}: {EXPECTED}, and it does not fit: {reason[:200]}") from error
    head, network.fc, network.AuxLogits = network.fc, nn.Identity(), None
    classifier = Classifier(_ResizeInput(network), DIMENSION, head.out_features)
    classifier.head = head
    return classifier.float().eval().requires_grad_(False)


def check_inception(path: Path) -> Path:
    """Return `path` if `load_inception` can load it; raises `ConfigError` otherwise.

    This finds a wrong file before hours of training and not after them.
    """
    load_inception(path)
    return path


class _ResizeInput(nn.Module):
    """Resize images to 299 px and three channels and run a network on them, `BATCH` images at a time."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.network(_resize(part)) for part in torch.split(x, BATCH)])


def _resize(x: Tensor) -> Tensor:
    """Resize images (N, C, size, size) to (N, 3, 299, 299)."""
    colours = x[:, :3] if x.shape[1] >= 3 else x[:, :1].expand(-1, 3, -1, -1)
    return nn.functional.interpolate(colours, (SIDE, SIDE), mode="bilinear", antialias=True)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        tensors = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else "the file ends too early"
        raise ConfigError(f"{path}: {EXPECTED}, and it cannot be read: {reason[:200]}") from error
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ConfigError(f"{path}: {EXPECTED}, got something that is not a dict of tensors")
    return tensors
