"""`augment export` writes a file for other programs, and prints how to use it."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Augment, check_refused
from small_model import recipe

from augment.runtime import Runtime
from pipelines.config.sections import DataConfig
from pipelines.model.training import train

pytest.importorskip("onnxruntime")


def test_an_exported_model_comes_with_code(image_folder: Path, tmp_path: Path, augment: Augment) -> None:
    data = DataConfig(source=str(image_folder), image_size=12)
    train(data, recipe(), tmp_path / "model", Runtime(), members=1)
    command = ("export", tmp_path / "model", "--out", tmp_path / "m.onnx")
    result = augment(*command)
    assert result.status == 0
    assert "its probabilities differ from those of PyTorch by at most" in result.out
    assert "onnxruntime.InferenceSession" in result.out
    check_refused(augment(*command), "already exists")
    assert augment(*command, "--overwrite").status == 0
    (tmp_path / "m.onnx").write_text("mine")
    check_refused(augment(*command, "--overwrite"), "was not written by `augment export`")
