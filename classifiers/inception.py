"""Inception v3 as a feature network, from weights that the user has: figures that other work can be compared with.

The weights are those of `torchvision.models.inception_v3` (IMAGENET1K_V1 is the file that torchvision downloads). They
come from TensorFlow and take pixels from -1 to 1; torchvision's own preprocessing, ImageNet's mean and deviation and
then `transform_input`, ends at the same values. The FID of the literature was measured with a variant of this network
that pools differently, so figures come close to it without being equal.
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
BATCH = 16  # at 299 px a batch of 128 takes gigabytes
EXPECTED = "expected a state dict of torchvision.models.inception_v3 with 1000 classes and AuxLogits"


def load_inception(path: Path) -> Classifier:
    """The network in eval mode on the CPU: features (N, 2048) of images (N, C, size, size) from -1 to 1.

    path: `.safetensors`, or else a file of `torch.save`, of which only tensors are read. Of 4 channels the first three
    are taken, of 1 or 2 the first for all three. Raises `ConfigError` if the file is not these weights, all of them.
    """
    from torchvision.models import inception_v3  # takes a second, and few ask for it

    with torch.device("meta"):
        network = inception_v3(weights=None, init_weights=False)
    try:
        network.load_state_dict(_read(path), strict=True, assign=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise ConfigError(f"{path}: {EXPECTED}, and it does not fit: {reason[:200]}") from error
    head, network.fc, network.AuxLogits = network.fc, nn.Identity(), None
    classifier = Classifier(_Resized(network), DIMENSION, head.out_features)
    classifier.head = head
    return classifier.float().eval().requires_grad_(False)


def check_inception(path: Path) -> Path:
    """`path`, if `load_inception` can load it: asked before hours of training, not after. Raises `ConfigError`."""
    load_inception(path)
    return path


class _Resized(nn.Module):
    """A network on 299 px and three channels, a few images at a time."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.network(_as_pictures(part)) for part in torch.split(x, BATCH)])


def _as_pictures(x: Tensor) -> Tensor:
    """(N, C, size, size) to (N, 3, 299, 299)."""
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
