"""Read sources that are arrays: MedMNIST-style `.npz` files, and the sets in scikit-learn and in this project."""

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
MAX_CLASSES, MAX_NAME_BYTES = 2**16, 2**24  # predicted classes are stored as uint16
KEYS = ("class_names", *(f"{split}_{part}" for split in SPLITS for part in ("images", "labels")))


class Arrays(NamedTuple):
    """Images that are already arrays, with their labels."""

    class_names: tuple[str, ...]
    images: dict[str, NDArray[np.uint8]]  # by split, N x C x H x W
    labels: dict[str, NDArray[np.int64]]  # by split, N


def read_npz(path: Path) -> Arrays:
    """Read a MedMNIST-style `.npz`. Raises `SourceError` if the file or its arrays are not valid."""
    content = read_arrays(path, KEYS)
    if missing := [key for key in ("train_images", "train_labels") if key not in content]:
        raise SourceError(f"{path}: the key {missing[0]!r} is missing; found {sorted(content)}")
    images, labels = {}, {}
    for split in SPLITS:
        present = [key in content for key in (f"{split}_images", f"{split}_labels")]
        if any(present) and not all(present):
            raise SourceError(f"{path}: expected both {split}_images and {split}_labels, found one of them")
        if all(present) and (split == "train" or content[f"{split}_images"].size):
            images[split] = _to_planes(f"{path}: {split}_images", content[f"{split}_images"])
            labels[split] = _to_indices(f"{path}: {split}_labels", content[f"{split}_labels"], len(images[split]))
    if not images["train"].size:
        raise SourceError(f"{path}: train_images is empty")
    return Arrays(_read_class_names(path, content.get("class_names"), labels), images, labels)


def _to_planes(where: str, images: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Check N x H x W or N x H x W x C images and convert them to N x C x H x W, over white if they have alpha."""
    if images.dtype != np.uint8:
        raise SourceError(f"{where}: expected uint8 values from 0 to 255, got {images.dtype}")
    if images.ndim not in (3, 4) or (images.ndim == 4 and not 1 <= images.shape[3] <= 4) or 0 in images.shape[1:]:
        raise SourceError(f"{where}: expected N x H x W or N x H x W x C with C from 1 to 4, got {images.shape}")
    planes = np.asarray(images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2), np.uint8)
    return planes if planes.shape[1] in (1, 3) else _composite_over_white(planes)


def _composite_over_white(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Composite N x (C + 1) x H x W, whose last channel is alpha, over white: N x C x H x W."""
    out = np.empty((len(images), images.shape[1] - 1, *images.shape[2:]), np.uint8)
    for image, target in zip(images, out, strict=True):
        colour, alpha = image[:-1].astype(np.uint16), image[-1].astype(np.uint16)
        target[:] = (colour * alpha + 255 * (255 - alpha) + 127) // 255
    return out


def _to_indices(where: str, labels: NDArray[np.generic], count: int) -> NDArray[np.int64]:
    """Check `count` labels, of shape N or N x 1, and convert them to int64, N."""
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise SourceError(f"{where}: the labels are multi-label, {labels.shape}; expected one class per image")
    if labels.dtype.kind not in "iu" or labels.shape not in ((count,), (count, 1)):
        raise SourceError(
            f"{where}: expected {count} whole numbers, one per image, got {labels.dtype} of shape {labels.shape}"
        )
    if count and int(labels.max()) > np.iinfo(np.int64).max:  # such uint64 values would become negative
        raise SourceError(f"{where}: label {int(labels.max())} is outside the classes; number them 0, 1, 2 ...")
    return labels.reshape(count).astype(np.int64)


def _read_class_names(
    path: Path, names: NDArray[np.generic] | None, labels: Mapping[str, NDArray[np.int64]]
) -> tuple[str, ...]:
    """Return the class names, which are "0", "1", ... if the file has none. labels: by split."""
    lowest, highest = min(int(y.min()) for y in labels.values()), max(int(y.max()) for y in labels.values())
    if names is None:
        return tuple(map(str, range(_count_classes(path, labels["train"], lowest, highest))))
    if names.ndim == 1 and (len(names) > MAX_CLASSES or names.nbytes > MAX_NAME_BYTES):
        raise SourceError(f"{path}: class_names: {len(names):,} names in {names.nbytes:,} bytes are too many")
    if names.ndim != 1 or names.dtype.kind != "U" or len(set(names.tolist())) < len(names):
        raise SourceError(f"{path}: class_names: expected a list of different strings, got {quoted(names.tolist())}")
    if lowest < 0 or highest >= len(names):
        invalid = lowest if lowest < 0 else highest
        raise SourceError(f"{path}: label {invalid} is outside the classes, 0 to {len(names) - 1}")
    return tuple(map(str, names.tolist()))


def _count_classes(path: Path, train: NDArray[np.int64], lowest: int, highest: int) -> int:
    """Return the number of classes if they have no names: each must have training images, so labels may have no gap."""
    present = np.unique(train[train >= 0])
    gaps = np.flatnonzero(present != np.arange(len(present)))
    unused = int(gaps[0]) if len(gaps) else len(present)  # the smallest label without a training image
    if lowest < 0:
        raise SourceError(f"{path}: label {lowest} is outside the classes; number them 0, 1, 2 ...")
    if highest >= unused:
        raise SourceError(f"{path}: no training image has the label {unused}; number the classes 0, 1, 2 ...")
    return unused


def read_sklearn(name: str) -> Arrays:
    """Load a data set from scikit-learn. Raises `SourceError` if the name is unknown."""
    if name != "digits":
        raise SourceError(f"there is no sklearn:{name}: expected sklearn:digits")
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    return Arrays(tuple("0123456789"), {"train": images}, {"train": digits.target.astype(np.int64)})


def read_bundled(name: str) -> Arrays:
    """Load a data set that is part of this package. Raises `SourceError` if the name is unknown."""
    if name not in BUNDLED:
        raise SourceError(f"there is no bundled:{name}: expected {', '.join(f'bundled:{known}' for known in BUNDLED)}")
    with resources.as_file(resources.files("augment.data") / BUNDLED[name]) as path:
        return read_npz(path)
