"""Sources that are arrays: a MedMNIST-style `.npz`, and the sets that ship with scikit-learn and with this project."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from augment.dataset.images import SPLITS
from augment.dataset.npz import read_arrays
from augment.errors import SourceError
from augment.words import quoted

BUNDLED = {"fashion": "fashion.npz"}
MOST_CLASSES, MOST_BYTES = 10**5, 2**24  # of names
KEYS = ("class_names", *(f"{split}_{part}" for split in SPLITS for part in ("images", "labels")))


class Arrays(NamedTuple):
    """Images that need no decoding."""

    class_names: tuple[str, ...]
    images: dict[str, NDArray[np.uint8]]  # by split, N x C x H x W
    labels: dict[str, NDArray[np.int64]]  # by split, N


def read_npz(path: Path) -> Arrays:
    """The arrays of a MedMNIST-style `.npz`. Raises `SourceError`."""
    content = read_arrays(path, KEYS)
    if missing := [key for key in ("train_images", "train_labels") if key not in content]:
        raise SourceError(f"{path}: the key {missing[0]!r} is missing; found {sorted(content)}")
    images, labels = {}, {}
    for split in SPLITS:
        present = [key in content for key in (f"{split}_images", f"{split}_labels")]
        if any(present) and not all(present):
            raise SourceError(f"{path}: expected both {split}_images and {split}_labels, found one of them")
        if all(present) and (split == "train" or content[f"{split}_images"].size):
            images[split] = _images(f"{path}: {split}_images", content[f"{split}_images"])
            labels[split] = _labels(f"{path}: {split}_labels", content[f"{split}_labels"], len(images[split]))
    if not images["train"].size:
        raise SourceError(f"{path}: train_images is empty")
    return Arrays(_class_names(path, content.get("class_names"), labels), images, labels)


def _images(where: str, images: NDArray[np.generic]) -> NDArray[np.uint8]:
    if images.dtype != np.uint8:
        raise SourceError(f"{where}: expected uint8 values from 0 to 255, got {images.dtype}")
    if images.ndim not in (3, 4) or (images.ndim == 4 and not 1 <= images.shape[3] <= 4) or 0 in images.shape[1:]:
        raise SourceError(f"{where}: expected N x H x W or N x H x W x C with C from 1 to 4, got {images.shape}")
    planes = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    pixels = np.asarray(planes, np.uint8)
    return pixels if pixels.shape[1] in (1, 3) else _over_white(pixels)


def _over_white(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """N x (C + 1) x H x W, the last channel being alpha, to N x C x H x W."""
    out = np.empty((len(images), images.shape[1] - 1, *images.shape[2:]), np.uint8)
    for image, target in zip(images, out, strict=True):
        colour, alpha = image[:-1].astype(np.uint16), image[-1].astype(np.uint16)
        target[:] = (colour * alpha + 255 * (255 - alpha) + 127) // 255
    return out


def _labels(where: str, labels: NDArray[np.generic], count: int) -> NDArray[np.int64]:
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise SourceError(f"{where}: the labels are multi-label, {labels.shape}; expected one class an image")
    if labels.dtype.kind not in "iu" or labels.shape not in ((count,), (count, 1)):
        raise SourceError(
            f"{where}: expected {count} whole numbers, one an image, got {labels.dtype} of shape {labels.shape}"
        )
    if count and int(labels.max()) > np.iinfo(np.int64).max:  # uint64 would turn negative
        raise SourceError(f"{where}: label {int(labels.max())} is outside the classes; number them 0, 1, 2 ...")
    return labels.reshape(count).astype(np.int64)


def _class_names(
    path: Path, names: NDArray[np.generic] | None, labels: Mapping[str, NDArray[np.int64]]
) -> tuple[str, ...]:
    lowest, highest = min(int(y.min()) for y in labels.values()), max(int(y.max()) for y in labels.values())
    if names is None:
        return tuple(map(str, range(_count_classes(path, labels["train"], lowest, highest))))
    if names.ndim == 1 and (len(names) > MOST_CLASSES or names.nbytes > MOST_BYTES):
        raise SourceError(f"{path}: class_names: {len(names):,} names in {names.nbytes:,} bytes are too many")
    if names.ndim != 1 or names.dtype.kind != "U" or len(set(names.tolist())) < len(names):
        raise SourceError(f"{path}: class_names: expected a list of different strings, got {quoted(names.tolist())}")
    if lowest < 0 or highest >= len(names):
        wrong = lowest if lowest < 0 else highest
        raise SourceError(f"{path}: label {wrong} is outside the classes, 0 to {len(names) - 1}")
    return tuple(map(str, names.tolist()))


def _count_classes(path: Path, train: NDArray[np.int64], lowest: int, highest: int) -> int:
    """How many classes labels without names mean: every class has a training image, so no more than there are."""
    found = np.unique(train[train >= 0])
    gaps = np.flatnonzero(found != np.arange(len(found)))
    first = int(gaps[0]) if len(gaps) else len(found)  # the least label that no training image has
    if lowest < 0:
        raise SourceError(f"{path}: label {lowest} is outside the classes; number them 0, 1, 2 ...")
    if highest >= first:
        raise SourceError(f"{path}: no training image has the label {first}; number the classes 0, 1, 2 ...")
    return first


def read_sklearn(name: str) -> Arrays:
    """The set of that name from scikit-learn. Raises `SourceError`."""
    if name != "digits":
        raise SourceError(f"there is no sklearn:{name}: expected sklearn:digits")
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    return Arrays(tuple("0123456789"), {"train": images}, {"train": digits.target.astype(np.int64)})


def read_bundled(name: str) -> Arrays:
    """The set of that name that ships with this project. Raises `SourceError`."""
    if name not in BUNDLED:
        raise SourceError(f"there is no bundled:{name}: expected {', '.join(f'bundled:{b}' for b in BUNDLED)}")
    with resources.as_file(resources.files("augment.data") / BUNDLED[name]) as path:
        return read_npz(path)
