"""Names of devices, `auto|cpu|cuda[:n]|mps`, to devices that are there."""

from __future__ import annotations

import torch

from augment.errors import DeviceError


def find_device(name: str) -> torch.device:
    """The device of that name; `auto` takes the first of cuda, mps and cpu that is there.

    Raises `DeviceError` for a name that means nothing or a device that this machine does not have.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.mps.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not (kind == "cuda" and index.isdecimal())):
        raise DeviceError(f"unknown device {name!r}; expected auto, cpu, cuda, cuda:<number> or mps")
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.mps.is_available())}[kind]
    if int(index or 0) >= there:
        raise DeviceError(f"device {name!r} is not there: this machine has {there} {kind} device(s); use --device auto")
    return torch.device(name)
