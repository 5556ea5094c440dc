"""Data sets of Hugging Face are read from the folders and files that `datasets` writes."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pytest

from augment.dataset.sources import Source, read_source
from augment.errors import SourceError


@pytest.fixture(scope="module")
def source(image_folder: Path) -> Source:
    return read_source(image_folder)


def as_dataset(source: Source, split: str, class_names: list[str]) -> datasets.Dataset:
    labels = [class_names.index(source.train.class_names[k]) for k in source.splits[split].labels]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=class_names)})
    return datasets.Dataset.from_dict({"image": list(source.files[split]), "label": labels}, features=features)


def check(read: Source, source: Source, class_names: list[str]) -> None:
    assert read.train.class_names == tuple(class_names)
    for split, data in source.splits.items():
        assert np.array_equal(read.splits[split].images, data.images)
        found = [read.train.class_names[k] for k in read.splits[split].labels]
        assert found == [data.class_names[k] for k in data.labels]


@pytest.mark.parametrize("prefix", ["", "datasets:"])
def test_a_saved_data_set_keeps_its_classes_in_their_order(source: Source, tmp_path: Path, prefix: str) -> None:
    names = ["trouser", "sandal", "ankle-boot"]
    parts = {"train": as_dataset(source, "train", names), "test": as_dataset(source, "test", names)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    check(read_source(f"{prefix}{tmp_path / 'saved'}"), source, names)


def test_parquet_files_of_datasets_are_read(source: Source, tmp_path: Path) -> None:
    names = ["trouser", "ankle-boot", "sandal"]
    for split in source.splits:
        as_dataset(source, split, names).to_parquet(tmp_path / f"{split}-00000-of-00001.parquet")
    check(read_source(tmp_path), source, names)


def test_images_without_labels_are_refused(source: Source, tmp_path: Path) -> None:
    names = ["trouser", "sandal", "ankle-boot"]
    part = as_dataset(source, "train", names).map(lambda row: {"label": -1})
    part.save_to_disk(tmp_path / "saved")
    with pytest.raises(SourceError, match=r"train\[0\] has no label$"):
        read_source(tmp_path / "saved")


def test_an_unknown_data_set_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(SourceError, match=r"^datasets:no/where cannot be read: [^\n]*$"):
        read_source("datasets:no/where")
