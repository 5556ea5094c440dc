"""A MODEL folder that is damaged, unfinished or of another version is refused in one sentence."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from augment.errors import SourceError
from augment.tensor_files import dump_tensors, load_tensors
from pipelines.model.saved_model import ClassifierMetadata, load_model

CPU = torch.device("cpu")


@pytest.fixture
def copied(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "model"))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no finished model"):
        load_model(tmp_path, CPU)


def test_a_folder_of_another_command_is_called_by_its_name(done: Path) -> None:
    with pytest.raises(SourceError, match="gan is no MODEL folder: it holds the output of `augment fit`"):
        load_model(done / "gan", CPU)


def test_a_changed_bit_is_refused(copied: Path) -> None:
    content = bytearray((copied / "model.safetensors").read_bytes())
    content[-5] ^= 1
    (copied / "model.safetensors").write_bytes(content)
    with pytest.raises(SourceError, match="its checksum does not fit"):
        load_model(copied, CPU)


def test_a_newer_version_is_refused(copied: Path) -> None:
    tensors, metadata = load_tensors(copied / "model.safetensors", ClassifierMetadata)
    newer = metadata.model_copy(update={"format": 2})
    (copied / "model.safetensors").write_bytes(dump_tensors(tensors, newer))
    with pytest.raises(SourceError, match="of another version"):
        load_model(copied, CPU)


def test_a_description_of_enormous_networks_costs_no_memory(copied: Path) -> None:
    """A network of this width would need 600 GB."""
    tensors, metadata = load_tensors(copied / "model.safetensors", ClassifierMetadata)
    evaluate = metadata.recipe.evaluate
    wide = evaluate.model_copy(update={"classifier": evaluate.classifier.model_copy(update={"width": 4096})})
    huge = metadata.model_copy(update={"recipe": metadata.recipe.model_copy(update={"evaluate": wide}), "members": 100})
    (copied / "model.safetensors").write_bytes(dump_tensors(tensors, huge))
    with pytest.raises(SourceError, match="the saved weights do not fit the network"):
        load_model(copied, CPU)


@pytest.mark.parametrize("changes", [{"members": 3}, {"channels": 3}, {"classes": ("a", "b")}], ids=str)
def test_a_description_of_other_networks_is_refused(changes: dict[str, object], copied: Path) -> None:
    tensors, metadata = load_tensors(copied / "model.safetensors", ClassifierMetadata)
    (copied / "model.safetensors").write_bytes(dump_tensors(tensors, metadata.model_copy(update=changes)))
    with pytest.raises(SourceError, match="the saved weights do not fit the network"):
        load_model(copied, CPU)


def test_a_description_of_an_impossible_size_is_refused(copied: Path) -> None:
    tensors, metadata = load_tensors(copied / "model.safetensors", ClassifierMetadata)
    (copied / "model.safetensors").write_bytes(dump_tensors(tensors, metadata.model_copy(update={"image_size": 13})))
    with pytest.raises(SourceError, match=r"is not a model or checkpoint of this program, .*image size 13 is not a"):
        load_model(copied, CPU)
