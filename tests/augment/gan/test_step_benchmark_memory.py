"""The peak of memory counts what is held at once, beyond what was there before."""

from __future__ import annotations

import pytest
import torch

from augment.gan.step_benchmark import peak_memory

CPU = torch.device("cpu")


def test_peak_memory_is_the_memory_held_at_once_not_in_all() -> None:
    before = torch.empty(5 * 2**20, dtype=torch.uint8)

    def hold() -> torch.Tensor:
        first = torch.empty(2 * 2**20, dtype=torch.uint8)
        second = torch.empty(4 * 2**20, dtype=torch.uint8)  # 6 MiB
        del first
        third = torch.empty(3 * 2**20, dtype=torch.uint8)  # 7 MiB, the peak
        del second, third
        return torch.empty(6 * 2**20, dtype=torch.uint8)  # 6 MiB, of 15 in all

    assert peak_memory(hold, CPU) == pytest.approx(7, abs=1e-3)
    assert before.numel() == 5 * 2**20


def test_peak_memory_counts_what_a_backward_pass_needs() -> None:
    x = torch.ones(2**18, requires_grad=True)  # 1 MiB
    peak = peak_memory(lambda: torch.autograd.backward(x.exp().exp().sum()), CPU)
    assert peak == pytest.approx(3, abs=0.01)  # both results and a gradient, then the next one in place of a result


def test_peak_memory_is_none_on_a_device_that_does_not_report_it() -> None:
    assert peak_memory(lambda: None, torch.device("mps")) is None
