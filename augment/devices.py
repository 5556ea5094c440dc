"""Names of devices, `auto|cpu|cuda[:n]|mps`, to devices that are there."""

from __future__ import annotations

import re

import torch

from augment.errors import DeviceError
from augment.words import counted


def find_device(name: str) -> torch.device:
    """The device of that name; `auto` takes the first of cuda, mps and cpu that is there.

    Raises `DeviceError` for a name that means nothing or a device that this machine does not have.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.mps.is_available() else "cpu")
    known = re.fullmatch(r"(cpu|cuda|mps)|(cuda):([0-9]{1,3})", name)
    if known is None:
        raise DeviceError(f"unknown device {name!r}; expected auto, cpu, cuda, cuda:<number> or mps")
    kind, index = known[1] or known[2], int(known[3] or 0)
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.mps.is_available())}[kind]
    if index >= there:
        raise DeviceError(
            f"device {name!r} is not there: this machine has {counted(there, f'{kind} device')}; use --device auto"
        )
    return torch.device(kind, index) if known[3] else torch.device(kind)
