"""Inception's features are those of torchvision's own model and preprocessing; other files are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import Inception3, inception_v3
from torchvision.transforms.functional import normalize, resize

from augment.dataset.images import LabelledImages, to_signed
from augment.errors import ConfigError
from classifiers import inception
from classifiers.inception import load_inception
from classifiers.networks import features


def random_inception(**options: bool | int) -> Inception3:
    """torchvision's network with weights that keep activations alive through its depth."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        network = inception_v3(weights=None, init_weights=False, **options).eval()
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
    return network


@pytest.fixture(scope="module")
def original() -> Inception3:
    return random_inception(transform_input=True)


@pytest.fixture(scope="module")
def weights(original: Inception3, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(original.state_dict(), path)
    return path


@torch.inference_mode()
def reference(original: Inception3, pictures: Tensor) -> Tensor:
    """Features as torchvision's documentation has them, with `transform_input`. pictures: uint8, N x 3 x H x W."""
    found: list[Tensor] = []
    hook = original.avgpool.register_forward_hook(lambda _, __, pooled: found.append(pooled.flatten(1)))
    large = resize(pictures.float() / 255, [299, 299], antialias=True)
    original(normalize(large, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    hook.remove()
    return found[0]


@torch.inference_mode()
def ours(path: Path, pictures: Tensor) -> Tensor:
    return features(load_inception(path), to_signed(pictures))


def colour(fashion: LabelledImages) -> Tensor:
    """Two pictures of three unlike channels."""
    return torch.from_numpy(fashion.images[[5, 300, 420, 580, 700, 905], 0].reshape(2, 3, 28, 28).copy())


def test_features_are_those_of_torchvision(
    fashion: LabelledImages, original: Inception3, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inception, "BATCH", 1)  # two batches
    expected = reference(original, colour(fashion))
    found = ours(weights, colour(fashion))
    assert found.shape == (2, 2048)
    assert not torch.allclose(expected[0], expected[1], rtol=0.1)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize(("kept", "shown"), [([0], [0, 0, 0]), ([0, 1], [0, 0, 0]), ([0, 1, 2, 2], [0, 1, 2])])
def test_channels_become_three_colours(
    kept: list[int], shown: list[int], fashion: LabelledImages, original: Inception3, weights: Path
) -> None:
    picture = colour(fashion)[:1]
    expected = reference(original, picture[:, shown])
    found = ours(weights, picture[:, kept])
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_safetensors_and_half_precision_hold_the_same_weights(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "inception.safetensors"
    tensors = torch.load(weights, weights_only=True)
    save_file({name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}, path)
    first, second = (load_inception(p).state_dict() for p in (weights, path))
    assert first.keys() == second.keys()
    for name, tensor in second.items():
        torch.testing.assert_close(tensor, first[name], rtol=1e-3, atol=1e-6)


def test_the_network_learns_no_more(weights: Path) -> None:
    network = load_inception(weights)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert network.head.out_features == 1000


def test_weights_of_other_networks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    others: list[tuple[Inception3, str]] = [
        (random_inception(aux_logits=False), "Missing key.*AuxLogits"),
        (random_inception(num_classes=1008), "size mismatch.*1008"),
    ]
    for other, reason in others:
        torch.save(other.state_dict(), path)
        with pytest.raises(ConfigError, match=rf"other\.pth: expected a state dict of torchvision.*{reason}"):
            load_inception(path)


NOT_TENSORS = [{"state_dict": {"weight": torch.zeros(2)}}, [torch.zeros(2)], {"epoch": 3}]


@pytest.mark.parametrize("content", NOT_TENSORS)
def test_a_file_of_something_else_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "thing.pth")
    with pytest.raises(ConfigError, match=r"thing\.pth: expected a state dict .*not a dict of tensors"):
        load_inception(tmp_path / "thing.pth")


def test_a_file_that_cannot_be_read_is_refused_and_runs_no_code(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "module.pth")  # a pickle with classes, which weights_only refuses
    for name, content in (("noise.pth", np.arange(99, dtype=np.uint8).tobytes()), ("empty.pth", b"")):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "noise.safetensors").write_bytes(b"12345678 and so on")
    for name in ("module.pth", "noise.pth", "empty.pth", "noise.safetensors", "missing.pth", "missing.safetensors"):
        with pytest.raises(ConfigError, match=rf"{name}: expected a state dict .* cannot be read: \S"):
            load_inception(tmp_path / name)
