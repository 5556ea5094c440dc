"""Data sets of torchvision are read from the files that torchvision keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from augment.dataset.sources import Source, read_source
from augment.errors import SourceError


@pytest.fixture(scope="module")
def source(image_folder: Path) -> Source:
    return read_source(image_folder)


def idx(array: np.ndarray) -> bytes:
    """Return an array of uint8 in the format of MNIST's files."""
    head = bytes([0, 0, 8, array.ndim])
    return head + b"".join(int(size).to_bytes(4, "big") for size in array.shape) + array.tobytes()


def write_fashion(root: Path, source: Source) -> None:
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for split, name in (("train", "train"), ("test", "t10k")):
        data = source.splits[split]
        (raw / f"{name}-images-idx3-ubyte").write_bytes(idx(data.images[:, 0]))
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(idx(data.labels.astype(np.uint8)))


def test_both_splits_are_read_with_the_names_of_their_classes(source: Source, tmp_path: Path) -> None:
    write_fashion(tmp_path, source)
    read = read_source(f"torchvision:FashionMNIST:{tmp_path}")
    assert read.train.class_names == ("T-shirt/top", "Trouser", "Pullover")
    for split, data in source.splits.items():
        assert np.array_equal(read.splits[split].images, data.images)
        assert np.array_equal(read.splits[split].labels, data.labels)


def test_a_set_of_one_split_has_only_training_images(image_folder: Path, source: Source) -> None:
    read = read_source(f"torchvision:ImageFolder:{image_folder / 'train'}")
    assert list(read.splits) == ["train"]
    assert np.array_equal(read.train.labels, source.train.labels)
    assert np.array_equal(read.train.images[:, :1], source.train.images)


def test_files_that_are_missing_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"^torchvision:CIFAR10:.* cannot be read \(Dataset not found or corrupted"):
        read_source(f"torchvision:CIFAR10:{tmp_path}")


@pytest.mark.parametrize("spec", ["Unknown:data", "CIFAR10", "CIFAR10:", ""])
def test_an_unknown_name_says_what_is_expected(spec: str) -> None:
    with pytest.raises(SourceError, match="expected torchvision:NAME:DIR, for example torchvision:CIFAR10:data"):
        read_source(f"torchvision:{spec}")


@pytest.mark.parametrize("name", ["FakeData", "VisionDataset"])
def test_a_set_of_another_kind_is_one_sentence(name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=rf"^torchvision:{name}:.* cannot be read"):
        read_source(f"torchvision:{name}:{tmp_path}")
