"""A device's name leads to a device that exists, or to an error that names those that do."""

from __future__ import annotations

import pytest
import torch

from augment.devices import find_device
from augment.errors import DeviceError, InputError

THERE = ["cpu"]
THERE += ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))] if torch.cuda.is_available() else []


@pytest.mark.parametrize("name", THERE)
def test_a_device_that_is_there_is_found_and_usable(name: str) -> None:
    device = find_device(name)
    assert device == torch.device(name)
    assert torch.ones(3, device=device).sum().item() == 3


def test_auto_prefers_an_accelerator_to_the_cpu() -> None:
    assert find_device("auto").type == next(kind for kind in ("cuda", "cpu") if kind in THERE)


NAMELESS = [
    "",
    "gpu",
    "CPU",
    " cpu",
    "cpu:",
    "cpu:0",
    "cuda:",
    "cuda:x",
    "cuda:-1",
    "cuda:٣",
    "cuda:0:1",
    "mps",
    "mps:1",
]


@pytest.mark.parametrize("name", NAMELESS)
def test_a_name_that_means_nothing_is_refused_with_the_choices(name: str) -> None:
    with pytest.raises(DeviceError, match=f"unknown device '{name}'; expected auto, cpu, cuda or cuda:<number>"):
        find_device(name)


@pytest.mark.parametrize("name", ["cuda:999", *sorted({"cuda"} - set(THERE))])
def test_a_device_that_is_not_there_is_refused_with_how_many_are(name: str) -> None:
    count = torch.cuda.device_count()
    with pytest.raises(DeviceError, match=rf"'{name}' is not available: this machine has {count} cuda device"):
        find_device(name)


def test_a_wrong_device_is_the_users_input() -> None:
    assert issubclass(DeviceError, InputError)
