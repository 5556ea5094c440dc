"""Errors about memory become one sentence, and a bug keeps its traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import Augment, check_refused

from augment.errors import ConfigError, DivergedError
from augment.gan.losses import LOSSES
from pipelines.cli.app import main
from pipelines.cli.exit_status import explain

TOO_LARGE: dict[str, Callable[[], object]] = {
    "torch, more than there is": lambda: torch.randn(2**50),
    "torch, more than can be counted": lambda: torch.empty(2**40, 2**40),
    "torch, a layer": lambda: torch.nn.Linear(2**33, 2**33),
    "torch, no size at all": lambda: torch.empty(2**70),
    "torch, copies": lambda: torch.zeros(2**20).repeat(2**40),
    "numpy, more than there is": lambda: np.arange(10**17),
    "numpy, more than can be counted": lambda: np.zeros((2**40, 2**40)),
    "numpy, no size at all": lambda: np.empty(10**30),
    "numpy, repeats": lambda: np.repeat(np.arange(2), [10**19, 1]),
    "Python, a list": lambda: [0] * 10**18,
    "Python, no size at all": lambda: bytearray(2**63),
}


@pytest.mark.parametrize("allocate", TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_size_beyond_the_memory_becomes_a_sentence(allocate: Callable[[], object]) -> None:
    with pytest.raises((RuntimeError, ValueError, TypeError, OverflowError, MemoryError)) as caught:
        allocate()
    sentence, status = explain(caught.value)
    assert sentence.startswith("not enough memory; lower the batch size")
    assert status == 1


@pytest.mark.parametrize(
    "words",
    [
        "CUDA out of memory. Tried to allocate 2 GiB",
        "MPS backend out of memory (MPS allocated: 8 GB)",
        "Invalid buffer size: 40.00 GiB",
        "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.",
    ],
)
def test_memory_errors_of_other_devices_become_the_same_sentence(words: str) -> None:
    assert explain(RuntimeError(words))[1] == 1


def test_the_kind_of_an_error_decides_the_exit_status() -> None:
    assert explain(ConfigError("steps: wrong")) == ("steps: wrong", 2)
    assert explain(DivergedError("diverged")) == ("diverged", 1)
    denied = PermissionError(13, "Permission denied", "ro/x")
    assert explain(denied) == ("ro/x cannot be used: permission denied; choose another path", 2)
    assert explain(OSError(5, "Input/output error", "x")) == ("Input/output error for x", 1)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        explain(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_a_diverged_training_is_not_the_inputs_fault(
    photos: Path, tiny: Path, tmp_path: Path, augment: Augment, monkeypatch: pytest.MonkeyPatch
) -> None:
    steep = LOSSES["hinge"]._replace(generator=lambda _, l_f: -l_f.exp().mean() * 1e38)
    monkeypatch.setitem(LOSSES, "hinge", steep)
    result = augment("fit", photos, "--out", tmp_path / "run", "--config", tiny, "--image-size", "12", "--quiet")
    check_refused(result, "training diverged", status=1)


def test_a_command_without_enough_memory_ends_with_a_sentence(
    gan: Path, tmp_path: Path, augment: Augment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA out of memory.\nTried to allocate 9 GiB")

    monkeypatch.setattr("augment.generators.generated_folder.generate", refuse)
    result = augment("generate", gan, "--out", tmp_path / "images", "--per-class", "9")
    check_refused(result, "not enough memory", status=1)


def test_a_bug_of_ours_keeps_its_traceback(gan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("augment.generators.generated_folder.generate", None)
    monkeypatch.setattr(sys, "argv", ["augment", "generate", str(gan), "--out", str(tmp_path), "--per-class", "9"])
    with pytest.raises(TypeError):
        main()
