"""Checkpoints come back to the bit, are written whole or not at all, and are named if they are damaged."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from augment.checkpoints import (
    load_network,
    load_optimizer,
    load_tensors,
    optimizer_tensors,
    prefixed,
    save_tensors,
    unprefixed,
)
from augment.errors import SourceError
from augment.images import LabelledImages, to_signed
from augment.networks import Pair, Shape, build

SHAPE = Shape(num_classes=3, channels=1, image_size=12, width=4, latent_dim=5)
AWKWARD = {
    "special values": torch.tensor([float("nan"), float("inf"), -0.0, 1e-45, 1 / 3]),
    "float64": torch.tensor([[1 / 3, -2e-300]], dtype=torch.float64),
    "bfloat16": torch.tensor([3.14, -0.0], dtype=torch.bfloat16),
    "bytes": torch.arange(256, dtype=torch.uint8),
    "large": torch.tensor([2**62 + 1, -5]),
    "truth": torch.tensor([True, False]),
    "one number": torch.tensor(7.5),
    "nothing": torch.empty(0, 3),
    "transposed": torch.arange(6.0).view(2, 3).T,
    "channels last": torch.arange(48.0).view(2, 2, 3, 4).contiguous(memory_format=torch.channels_last),
}


def bits(tensor: Tensor) -> bytes:
    return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def trained(shoes: LabelledImages, steps: int, seed: int = 0) -> tuple[Pair, list[torch.optim.Adam]]:
    pair = build("projection", SHAPE, seed=seed)
    optimizers = [torch.optim.Adam(player.parameters(), 1e-3, (0.5, 0.9), fused=True) for player in pair]
    for step in range(steps):
        train(pair, optimizers, shoes, step)
    return pair, optimizers


def train(pair: Pair, optimizers: list[torch.optim.Adam], shoes: LabelledImages, step: int) -> None:
    real, y = to_signed(torch.from_numpy(shoes.images)), torch.from_numpy(shoes.labels)
    z = torch.randn(len(y), 5, generator=torch.Generator().manual_seed(step))
    (pair.discriminator(pair.generator(z, y), y) - pair.discriminator(real, y)).mean().backward()
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()


def test_tensors_of_every_kind_come_back_to_the_bit(tmp_path: Path) -> None:
    about = {"step": 12, "classes": ["a/b", "Füße"], "nested": {"x": [1, 2.5, None]}}
    save_tensors(tmp_path / "new" / "folder" / "c.safetensors", AWKWARD, about)
    tensors, told = load_tensors(tmp_path / "new" / "folder" / "c.safetensors")
    assert told == about
    assert tensors.keys() == AWKWARD.keys()
    for name, tensor in AWKWARD.items():
        assert tensors[name].dtype == tensor.dtype
        assert tensors[name].shape == tensor.shape
        assert bits(tensors[name]) == bits(tensor)


def test_prefixes_keep_the_tensors_of_several_networks_apart() -> None:
    tensors = {**prefixed("g", {"weight": torch.ones(1)}), **prefixed("g2", {"weight": torch.zeros(1), "b.c": AWKWARD})}
    assert tensors.keys() == {"g.weight", "g2.weight", "g2.b.c"}
    assert unprefixed("g", tensors) == {"weight": tensors["g.weight"]}
    assert unprefixed("g2", tensors).keys() == {"weight", "b.c"}


def test_fused_adam_goes_on_from_disk_to_the_bit_in_channels_last_memory(shoes: LabelledImages, tmp_path: Path) -> None:
    pair, optimizers = trained(shoes, steps=3)
    contents = {}
    for name, player, optimizer in zip("gd", pair, optimizers, strict=True):
        contents |= prefixed(name, player.state_dict()) | prefixed(f"{name}-adam", optimizer_tensors(optimizer))
    save_tensors(tmp_path / "c.safetensors", contents, {})

    again, others = trained(shoes, steps=1, seed=9)
    tensors, _ = load_tensors(tmp_path / "c.safetensors")
    for name, player, optimizer in zip("gd", again, others, strict=True):
        load_network(player, unprefixed(name, tensors))
        load_optimizer(optimizer, unprefixed(f"{name}-adam", tensors))
        for parameter, state in optimizer.state.items():
            assert state["exp_avg"].stride() == state["exp_avg_sq"].stride() == parameter.stride()
            assert state["step"].item() == 3
    kernels = [p for p in again.generator.parameters() if p.dim() == 4 and min(p.shape) > 1]
    assert not any(kernel.is_contiguous() for kernel in kernels)  # else this test would show nothing

    for step in range(3, 6):
        train(pair, optimizers, shoes, step)
        train(again, others, shoes, step)
    for ours, theirs in zip(again, pair, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no disk that is always full")
def test_a_disk_that_fills_up_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_tensors(path, {"weight": torch.arange(3.0)}, {"step": 1})
    (tmp_path / ".c.safetensors.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        save_tensors(path, {"weight": torch.arange(5000.0)}, {"step": 2})
    tensors, about = load_tensors(path)
    assert (tensors["weight"].tolist(), about) == ([0, 1, 2], {"step": 1})
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]


@pytest.mark.parametrize("damage", ["cut", "cut header", "empty", "text", "noise", "pickle", "foreign", "folder"])
def test_a_file_that_is_no_checkpoint_is_named(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "step-00000004.safetensors"
    save_tensors(path, AWKWARD, {"step": 4})
    whole = path.read_bytes()
    contents = {
        "cut": whole[:-1],
        "cut header": whole[:100],
        "empty": b"",
        "text": b"weights, but in words",
        "noise": bytes(range(256)) * 8,
        "pickle": pickle.dumps({"weight": [1.0]}),
    }
    if damage in contents:
        path.write_bytes(contents[damage])
    elif damage == "foreign":
        save_file({"weight": torch.ones(2)}, path)
    else:
        path.unlink()
        path.mkdir()
    with pytest.raises(SourceError, match=r"step-00000004\.safetensors is not a model or checkpoint of this program"):
        load_tensors(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone\.safetensors"):
        load_tensors(tmp_path / "gone.safetensors")


@pytest.mark.parametrize("damage", ["missing", "additional", "of another shape"])
def test_weights_that_do_not_fit_are_named(damage: str) -> None:
    generator = build("dcgan", SHAPE, seed=0).generator
    tensors = generator.state_dict()
    if damage == "missing":
        del tensors["embed.weight"]
    elif damage == "additional":
        tensors["embed.weightless"] = torch.ones(1)
    else:
        tensors["embed.weight"] = torch.ones(4, 5)
    with pytest.raises(SourceError, match=r"do not fit the network: .*embed\.weight"):
        load_network(generator, tensors)
