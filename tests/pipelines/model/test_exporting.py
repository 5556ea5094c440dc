"""An exported model is checked before it is written, and the printed code uses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from augment.errors import RunError
from augment.runtime import Runtime
from pipelines.model.exporting import export, snippet
from pipelines.model.prediction import predict
from pipelines.model.saved_model import SavedModel, load_model

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def saved(model: Path) -> SavedModel:
    return load_model(model, torch.device("cpu"))


def test_the_printed_code_predicts_what_the_model_does(saved: SavedModel, image_folder: Path, tmp_path: Path) -> None:
    assert export(saved, tmp_path / "m.onnx") < 1e-5
    picture = next((image_folder / "test" / "sandal").iterdir())
    code = snippet(saved.metadata, tmp_path / "m.onnx").replace("picture.png", str(picture))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    predict(saved, [str(picture)], tmp_path / "p.csv", Runtime())
    assert done.stdout.split()[0] == (tmp_path / "p.csv").read_text().splitlines()[1].split(",")[1]


def test_a_file_that_differs_is_not_written(saved: SavedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.model.exporting.predict", lambda *_: torch.zeros(1, 3).log_softmax(1))
    with pytest.raises(RunError, match="differs from the model by"):
        export(saved, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
