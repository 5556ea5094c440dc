"""Devices: from names, `auto|cpu|cuda[:n]`, to those that are available, and the time that work takes on them.

mps is not among them: batches are drawn in float64, which it lacks.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import torch

from augment.errors import DeviceError
from augment.words import counted


def find_device(name: str) -> torch.device:
    """Return the device with the given name; `auto` selects cuda where it is available.

    Raises `DeviceError` if the name is not valid or this machine does not have the device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    match = re.fullmatch(r"(cpu|cuda)|(cuda):([0-9]{1,3})", name)
    if match is None:
        raise DeviceError(f"unknown device {name!r}; expected auto, cpu, cuda or cuda:<number>")
    kind, index = match[1] or match[2], int(match[3] or 0)
    count = {"cpu": 1, "cuda": torch.cuda.device_count()}[kind]
    if index >= count:
        raise DeviceError(
            f"device {name!r} is not available: this machine has {counted(count, f'{kind} device')}; use --device auto"
        )
    return torch.device(kind, index) if match[3] else torch.device(kind)


def seconds_of(function: Callable[[], object], device: torch.device) -> float:
    """Return the wall-clock seconds that `function` takes on `device`, from when earlier work on it is done."""
    _wait_for(device)
    start = time.perf_counter()
    function()
    _wait_for(device)
    return time.perf_counter() - start


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
