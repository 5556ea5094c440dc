"""Weights of pretrained networks: reading them from files without running code in them, and loading them strictly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from augment.errors import ConfigError
from augment.words import shortened


def read_weights(path: Path, expected: str) -> dict[str, Tensor]:
    """Read a state dict on the CPU: a `.safetensors` file, or a file of `torch.save`, from which only tensors are read.

    expected: what the file should be, for the message. Raises `ConfigError` if it cannot be read or holds other things.
    """
    try:
        if path.exists() and not path.is_file():
            raise OSError("it is no regular file")  # reading a pipe would wait for ever
        tensors = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # unpickling a file of anything else raises many types
        reason = str(error).splitlines()[0] if str(error) else "the file ends too early"
        where = shortened(str(path), 300)
        raise ConfigError(f"{where}: {expected}, but the file cannot be read: {reason[:200]}") from error
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ConfigError(f"{path}: {expected}, got something that is not a dict of tensors")
    return tensors


def load_strictly(network: nn.Module, tensors: Mapping[str, Tensor], source: str, expected: str) -> None:
    """Give a network, which may have no storage yet, exactly these weights. Raises `ConfigError` if they do not fit.

    source: where the weights come from. expected: what they should be. Both are for the message.
    """
    try:
        network.load_state_dict(tensors, strict=True, assign=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise ConfigError(f"{source}: {expected}, but the weights do not fit: {reason[:200]}") from error
