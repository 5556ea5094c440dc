"""Checkpoints come back to the bit, are written whole or not at all, and are named if they are damaged."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tensors import About, weights
from torch import Tensor

from augment.dataset.images import LabelledImages, to_signed
from augment.errors import SourceError
from augment.gan.networks import Pair, Shape, build
from augment.tensor_files import (
    check_finite,
    dump_tensors,
    load_network,
    load_optimizer,
    load_tensors,
    optimizer_tensors,
    prefixed,
    unprefixed,
)

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


def saved(path: Path, tensors: Mapping[str, Tensor], **about: Any) -> Path:
    path.write_bytes(dump_tensors(tensors, About(**about)))
    return path


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
    tensors, read = load_tensors(saved(tmp_path / "c.safetensors", AWKWARD, **about), About)
    assert read.model_dump() == about
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


def test_fused_adam_continues_exactly_from_disk_in_channels_last_memory(shoes: LabelledImages, tmp_path: Path) -> None:
    pair, optimizers = trained(shoes, steps=3)
    contents = {}
    for name, player, optimizer in zip("gd", pair, optimizers, strict=True):
        contents |= prefixed(name, player.state_dict()) | prefixed(f"{name}-adam", optimizer_tensors(optimizer))
    saved(tmp_path / "c.safetensors", contents)

    again, others = trained(shoes, steps=1, seed=9)
    tensors = weights(tmp_path / "c.safetensors")
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


@pytest.mark.parametrize("damage", ["cut", "cut header", "empty", "text", "noise", "pickle", "foreign", "folder"])
def test_a_file_that_is_no_checkpoint_is_named(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "step-00000004.safetensors"
    saved(path, AWKWARD, step=4)
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
        load_tensors(path, About)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone\.safetensors"):
        load_tensors(tmp_path / "gone.safetensors", About)


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


@pytest.mark.parametrize("what", ["a value", "a tensor", "the description", "the checksum", "a name"])
def test_a_file_that_changed_after_writing_is_refused(what: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "c.safetensors", {"weight": torch.arange(64.0), "bias": torch.ones(3)}, step=4)
    tensors = weights(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    changes: dict[str, Callable[[], object]] = {
        "a value": lambda: tensors["weight"].__setitem__(63, 62.5),
        "a tensor": lambda: tensors.pop("bias"),
        "the description": lambda: metadata.update(about=metadata["about"].replace('"step":4', '"step":5')),
        "the checksum": lambda: metadata.update(about=metadata["about"][1:]),
        "a name": lambda: tensors.update(biased=tensors.pop("bias")),
    }
    changes[what]()
    save_file(tensors, path, metadata)
    with pytest.raises(SourceError, match=r"c\.safetensors is not a model or checkpoint of this program, or it is dam"):
        load_tensors(path, About)


def test_a_flipped_bit_anywhere_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "c.safetensors", {"weight": torch.arange(6.0)}, step=4)
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(SourceError):
            load_tensors(path, About)


def test_a_link_to_a_checkpoint_is_no_checkpoint(tmp_path: Path) -> None:
    saved(tmp_path / "c.safetensors", AWKWARD)
    (tmp_path / "link").symlink_to(tmp_path / "c.safetensors")
    with pytest.raises(SourceError, match="not a plain file"):
        load_tensors(tmp_path / "link", About)


def test_weights_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"c\.safetensors is damaged: special values holds"):
        check_finite(AWKWARD, tmp_path / "c.safetensors")
    check_finite({"weight": torch.ones(2), "large": AWKWARD["large"]}, tmp_path / "c.safetensors")


MOMENTS = {
    "a moment is missing": lambda t: t.pop("0.exp_avg"),
    "all of a parameter are missing": lambda t: [t.pop(f"1.{m}") for m in ("step", "exp_avg", "exp_avg_sq")],
    "an unknown moment": lambda t: t.update({"0.rate": torch.ones(1)}),
    "no parameter has the index": lambda t: t.update({"999.step": torch.ones(1)}),
    "no index": lambda t: t.update({"first.step": torch.ones(1)}),
    "no moment": lambda t: t.update({"0": torch.ones(1)}),
    "another shape": lambda t: t.update({"0.exp_avg": torch.ones(2, 7)}),
}


@pytest.mark.parametrize("damage", MOMENTS)
def test_an_optimiser_that_does_not_fit_is_refused(damage: str, shoes: LabelledImages) -> None:
    _, optimizers = trained(shoes, steps=1)
    tensors = optimizer_tensors(optimizers[0])
    MOMENTS[damage](tensors)
    with pytest.raises(SourceError, match="the saved optimiser does not fit the network"):
        load_optimizer(optimizers[0], tensors)
