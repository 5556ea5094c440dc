"""Export of a classifier to ONNX: from pixels, uint8, to probabilities, with everything in between inside.

The file is a plain computation, so a program that reads it needs neither torch nor this package.
"""

from __future__ import annotations

import copy
import warnings

import torch
from torch import Tensor, nn

from augment.dataset.images import to_signed
from augment.errors import ConfigError

OPSET = 18
INPUT, OUTPUT = "pixels", "probabilities"


class PixelsToProbabilities(nn.Module):
    """Wraps a network that returns log probabilities, to map pixels to probabilities."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixels, uint8 (N, C, size, size), to probabilities, float32 (N, K)."""
        probabilities: Tensor = self.network(to_signed(pixels)).exp()
        return probabilities


class GlobalMax(nn.Module):
    """The maximum over all positions, which ONNX has; of `AdaptiveMaxPool2d` it has only the case of one position."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, 1, 1)."""
        return x.amax((2, 3), keepdim=True)


def _exportable(network: nn.Module) -> nn.Module:
    """Return a copy of the network without the layers that ONNX lacks."""
    copied = copy.deepcopy(network)
    for name, module in list(copied.named_modules()):
        if isinstance(module, nn.AdaptiveMaxPool2d):
            copied.set_submodule(name, GlobalMax())
    return copied


def to_onnx(network: nn.Module, channels: int, image_size: int) -> bytes:
    """Return the ONNX file of a network that returns log probabilities, in eval mode on the CPU; N stays variable.

    Raises `ConfigError` if the package `onnx` is missing.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError("exporting needs ONNX; run: pip install 'augment-osgan[export]'") from error
    example = torch.zeros(2, channels, image_size, image_size, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about its own parts
        program = torch.onnx.export(
            PixelsToProbabilities(_exportable(network)).eval(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            verbose=False,
        )
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content
