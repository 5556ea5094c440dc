"""Labels that are no classes are refused from the array itself, before anything of their size is built."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from augment.dataset.images import LabelledImages
from augment.dataset.sources import read_source
from augment.errors import SourceError


def npz(folder: Path, data: LabelledImages, labels: object, **more: object) -> Path:
    np.savez(folder / "data.npz", train_images=data.images[:6, 0], train_labels=np.array(labels), **more)  # type: ignore[arg-type]
    return folder / "data.npz"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 0, 1, 0, 10**12], "no training image has the label 2;"),
        ([0, 0, 0, 2**62, 2**62, 0], "no training image has the label 1;"),
        (np.array([0, 1, 0, 1, 0, 2**63 + 5], np.uint64), "label 9223372036854775813 is outside the classes"),
        ([0, 1, 0, 1, 0, -(2**62)], "label -4611686018427387904 is outside the classes"),
        ([1, 2, 1, 2, 1, 2], "no training image has the label 0;"),
    ],
)
def test_impossible_labels_are_refused_at_once(
    labels: object, message: str, fashion: LabelledImages, tmp_path: Path
) -> None:
    began = time.monotonic()
    with pytest.raises(SourceError, match=message):
        read_source(npz(tmp_path, fashion, labels))
    assert time.monotonic() - began < 1


def test_a_test_label_beyond_the_training_labels_is_refused(fashion: LabelledImages, tmp_path: Path) -> None:
    test = {"test_images": fashion.images[:1, 0], "test_labels": np.array([10**12])}
    with pytest.raises(SourceError, match="no training image has the label 2;"):
        read_source(npz(tmp_path, fashion, [0, 1, 0, 1, 0, 1], **test))


@pytest.mark.parametrize("names", [np.zeros(2 * 10**6, "U1"), np.zeros(6, "U1000000")])
def test_more_names_than_classes_can_be_are_refused(names: np.ndarray, fashion: LabelledImages, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"class_names: [\d,]+ names in [\d,]+ bytes are too many"):
        read_source(npz(tmp_path, fashion, [0, 1, 0, 1, 0, 1], class_names=names))


def test_wrong_class_names_are_quoted_in_part(fashion: LabelledImages, tmp_path: Path) -> None:
    names = np.array(["x" * 10_000] * 50)
    with pytest.raises(SourceError, match="expected a list of different strings") as caught:
        read_source(npz(tmp_path, fashion, [0, 1, 0, 1, 0, 1], class_names=names))
    assert len(str(caught.value)) < 500
