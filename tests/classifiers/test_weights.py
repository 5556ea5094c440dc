"""Files of weights are read without running code in them, and have to fit their network exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from augment.errors import ConfigError
from classifiers.weights import load_strictly, read_weights

EXPECTED = "expected weights of a layer"


@pytest.mark.parametrize("name", ["layer.pth", "layer.safetensors"])
def test_weights_come_back_from_both_kinds_of_files(name: str, tmp_path: Path) -> None:
    layer, path = nn.Linear(3, 2), tmp_path / name
    (torch.save if path.suffix == ".pth" else save_file)(layer.state_dict(), path)
    with torch.device("meta"):
        other = nn.Linear(3, 2)
    load_strictly(other, read_weights(path, EXPECTED), str(path), EXPECTED)
    assert torch.equal(other.weight, layer.weight)
    assert torch.equal(other.bias, layer.bias)


@pytest.mark.parametrize("content", [nn.Linear(3, 2), [torch.ones(3)], {"weight": 3}])
def test_a_file_of_other_things_is_refused(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(ConfigError, match=r"other\.pth: expected weights of a layer, (but the file can|got some)"):
        read_weights(path, EXPECTED)


@pytest.mark.parametrize("content", [b"", b"no weights", b"Repository Not Found", b"hello"])
@pytest.mark.parametrize("name", ["short.pth", "short.safetensors"])
def test_a_damaged_file_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match="but the file cannot be read: "):
        read_weights(tmp_path / name, EXPECTED)


@pytest.mark.parametrize(("width", "bias", "reason"), [(3, False, "Missing key.*bias"), (4, True, "size mismatch")])
def test_weights_that_do_not_fit_are_refused(width: int, bias: bool, reason: str) -> None:
    tensors = nn.Linear(width, 2, bias).state_dict()
    with pytest.raises(ConfigError, match=f"here: expected weights of a layer, but the weights do not fit: {reason}"):
        load_strictly(nn.Linear(3, 2), tensors, "here", EXPECTED)
