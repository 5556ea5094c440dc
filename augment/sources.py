"""Every form of labelled images that users have, read into `LabelledImages`.

A source is a folder of class folders (also below `train/`, `val/` and `test/`, or with the `manifest.csv` of
generated images), a MedMNIST-style `.npz`, a `.csv` of `path,label[,split]`, `sklearn:digits` or `bundled:fashion`.
All pictures of a source end up with one square size and with 1 channel (if all are grey) or 3.
"""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from augment.errors import SourceError
from augment.images import LabelledImages, Resize, check_size, nearest_size, resize_images
from augment.pictures import ChooseSize, File, Listing, decode
from augment.words import counted

SPLITS = ("train", "val", "test")
MANIFEST = "manifest.csv"
DEFAULT_LARGEST = 64  # px; larger images are reduced to it unless a size is asked for, for the sake of CPUs
FORMS = (
    "a folder of class folders, a .npz with train_images and train_labels, a .csv with path,label[,split], "
    "sklearn:digits or bundled:fashion"
)
IGNORED = {"thumbs.db", "desktop.ini", "__macosx"}  # and whatever starts with a dot


@dataclass(frozen=True)
class Source:
    """A source as read: splits of one size, one number of channels and the same classes.

    original_sizes: (width, height) in px before resizing -> images. skipped: broken files that were left out.
    files: split -> the file of each image; empty for sources that are arrays.
    """

    name: str
    train: LabelledImages
    val: LabelledImages | None
    test: LabelledImages | None
    original_sizes: Mapping[tuple[int, int], int]
    skipped: tuple[str, ...] = ()
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def splits(self) -> dict[str, LabelledImages]:
        """The splits that are there, by name."""
        return {name: data for name in SPLITS if (data := getattr(self, name)) is not None}


class _Arrays(NamedTuple):
    class_names: tuple[str, ...]
    images: dict[str, NDArray[np.uint8]]  # by split, N x C x H x W
    labels: dict[str, NDArray[np.int64]]  # by split, N


def read_source(
    spec: str | Path,
    *,
    image_size: int | None = None,
    resize: Resize = "pad",
    skip_broken: bool = False,
    complete: bool = True,
) -> Source:
    """The source that `spec` names, at image_size x image_size px.

    Without `image_size`, images of one square, allowed size keep it; others get the allowed size nearest to the median
    of their longer sides, at most 64 px. `skip_broken` leaves files out that are no picture, and lists them.
    `complete=False` also takes what cannot be trained on alone, such as generated images: a single class, and classes
    with less than two images. Raises `SourceError` if the source cannot be read, `ConfigError` for a wrong size.
    """
    if image_size is not None:
        check_size(image_size)
    choose_size = partial(_choose_size, wanted=image_size)
    try:
        name, found = _find(str(spec))
        if isinstance(found, Listing):
            source = _from_files(name, found, choose_size, resize, skip_broken)
        else:
            source = _from_arrays(name, found, choose_size, resize)
    except OSError as error:
        raise SourceError(f"{error.filename or spec} cannot be read: {error.strerror or error}") from error
    _check_classes(source.name, source.train, complete)
    return source


def _find(spec: str) -> tuple[str, Listing | _Arrays]:
    if not spec.strip():
        raise SourceError(f"the source is empty: expected {FORMS}")
    for prefix, read_named in PREFIXES.items():
        if spec.startswith(prefix):
            return spec, read_named(spec.removeprefix(prefix))
    path = Path(spec)
    if path.is_dir():
        return path.resolve().name, _read_folder(path)
    if not path.exists():
        raise SourceError(f"there is no {spec!r}: expected {FORMS}")
    if path.suffix.lower() not in SUFFIXES:
        raise SourceError(f"{spec!r} is a file of an unknown kind: expected {FORMS}")
    return path.name, SUFFIXES[path.suffix.lower()](path)


def _check_classes(name: str, train: LabelledImages, complete: bool) -> None:
    for class_name in train.class_names:
        if any("\ud800" <= character <= "\udfff" for character in class_name):
            raise SourceError(f"{name}: the class name {class_name!r} is not valid Unicode; rename it")
    if not complete:
        return
    if train.num_classes < 2:
        raise SourceError(
            f"{name} has {counted(train.num_classes, 'class')}, {list(train.class_names)}: at least 2 are needed; "
            "put the images of each class into a folder of its own"
        )
    for class_name, count in zip(train.class_names, train.counts(), strict=True):
        if count < 2:
            raise SourceError(
                f"{name}: class {class_name!r} has {counted(count, 'training image')}: at least 2 are needed; "
                "add images or remove the class"
            )


def _choose_size(sizes: Counter[tuple[int, int]], wanted: int | None) -> int:
    if wanted is not None:
        return wanted
    width, height = next(iter(sizes))
    if len(sizes) == 1 and width == height == nearest_size(width):
        return width
    longer = np.repeat([max(size) for size in sizes], list(sizes.values()))
    return min(nearest_size(float(np.median(longer))), DEFAULT_LARGEST)


def _entries(folder: Path) -> list[Path]:
    shown = (p for p in folder.iterdir() if not p.name.startswith(".") and p.name.lower() not in IGNORED)
    return sorted(shown, key=lambda p: p.name)


def _read_folder(folder: Path) -> Listing | _Arrays:
    entries = _entries(folder)
    folders = {p.name: p for p in entries if p.is_dir()}
    archives = [p for p in entries if p.suffix.lower() == ".npz" and p.name not in folders]
    if (folder / MANIFEST).is_file():
        return _read_csv(folder / MANIFEST)
    if not folders and len(archives) == 1:
        return _read_npz(archives[0])
    if not folders:
        raise SourceError(f"{folder} holds no class folders: put the images of each class into a folder of its own")
    if not ("train" in folders and any(p.is_dir() for p in _entries(folders["train"]))):  # or a class called train
        return _listing(folder, _class_files(folder, "train"))
    if unknown := sorted(set(folders) - set(SPLITS)):
        raise SourceError(f"{folder} holds train/ and also {unknown[0]}/: expected train/, val/ and test/ only")
    return _listing(folder, [row for split in folders for row in _class_files(folders[split], split)])


def _class_files(folder: Path, split: str) -> list[tuple[str, Path, str]]:
    rows = []
    for class_folder in filter(Path.is_dir, _entries(folder)):
        files = _entries(class_folder)
        if not files and split == "train":
            raise SourceError(f"the class folder {class_folder} is empty: add images or remove it")
        if inner := next(filter(Path.is_dir, files), None):
            raise SourceError(f"the class folder {class_folder} holds the folder {inner.name}/: expected images only")
        rows += [(split, file, class_folder.name) for file in files]
    if not rows:
        raise SourceError(f"{folder} holds no images: fill it with class folders or remove it")
    return rows


def _listing(origin: Path, rows: Iterable[tuple[str, Path, str]]) -> Listing:
    files: dict[str, list[tuple[Path, str]]] = {}
    for split, path, class_name in rows:
        files.setdefault(split, []).append((path, class_name))
    class_names = tuple(sorted({class_name for _, class_name in files.get("train", [])}))
    if not class_names:
        raise SourceError(f"{origin} holds no training images")
    index = {class_name: k for k, class_name in enumerate(class_names)}
    for split, members in files.items():
        if unknown := sorted({class_name for _, class_name in members} - set(class_names)):
            raise SourceError(f"{origin}: class {unknown[0]!r} is in {split} but not in train; the classes must agree")
    labelled = {split: [File(p, index[c]) for p, c in files[split]] for split in SPLITS if split in files}
    return Listing(class_names, labelled)


def _read_csv(path: Path) -> Listing:
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            return _listing(path, list(_csv_rows(path, lines)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path} is no CSV in UTF-8 ({error}); save it as one") from error


def _csv_rows(path: Path, lines: Iterable[str]) -> Iterator[tuple[str, Path, str]]:
    reader = csv.DictReader(lines)
    columns = list(reader.fieldnames or [])
    if missing := [name for name in ("path", "label") if name not in columns]:
        raise SourceError(f"{path} line 1: the column {missing[0]!r} is missing; found {columns}")
    for row in reader:
        where = f"{path} line {reader.line_num}"
        file, label, split = row["path"], row["label"], row.get("split") or "train"
        if not file or not label:
            raise SourceError(f"{where}: expected a path and a label, got {file!r} and {label!r}")
        if split not in SPLITS:
            raise SourceError(f"{where}: expected the split train, val or test, got {split!r}")
        if not (path.parent / file).is_file():
            raise SourceError(f"{where}: there is no file {path.parent / file}")
        yield split, path.parent / file, label


def _read_npz(path: Path) -> _Arrays:
    content = _load_npz(path)
    if missing := [key for key in ("train_images", "train_labels") if key not in content]:
        raise SourceError(f"{path}: the key {missing[0]!r} is missing; found {sorted(content)}")
    images, labels = {}, {}
    for split in SPLITS:
        present = [key in content for key in (f"{split}_images", f"{split}_labels")]
        if any(present) and not all(present):
            raise SourceError(f"{path}: expected both {split}_images and {split}_labels, found one of them")
        if all(present) and (split == "train" or content[f"{split}_images"].size):
            images[split] = _npz_images(f"{path}: {split}_images", content[f"{split}_images"])
            labels[split] = _npz_labels(f"{path}: {split}_labels", content[f"{split}_labels"], len(images[split]))
    if not images["train"].size:
        raise SourceError(f"{path}: train_images is empty")
    return _Arrays(_npz_class_names(path, content.get("class_names"), labels), images, labels)


def _load_npz(path: Path) -> dict[str, NDArray[np.generic]]:
    wanted = {"class_names"} | {f"{split}_{part}" for split in SPLITS for part in ("images", "labels")}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive if key in wanted}
    except PermissionError:
        raise
    except (OSError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        # TypeError and AttributeError: a single array (.npy) under the name .npz
        raise SourceError(f"{path} is no readable .npz of plain arrays ({error}); save it with numpy.savez") from error


def _npz_images(where: str, images: NDArray[np.generic]) -> NDArray[np.uint8]:
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


def _npz_labels(where: str, labels: NDArray[np.generic], count: int) -> NDArray[np.int64]:
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise SourceError(f"{where}: the labels are multi-label, {labels.shape}; expected one class an image")
    if labels.dtype.kind not in "iu" or labels.shape not in ((count,), (count, 1)):
        raise SourceError(
            f"{where}: expected {count} whole numbers, one an image, got {labels.dtype} of shape {labels.shape}"
        )
    return labels.reshape(count).astype(np.int64)


def _npz_class_names(
    path: Path, names: NDArray[np.generic] | None, labels: Mapping[str, NDArray[np.int64]]
) -> tuple[str, ...]:
    lowest, highest = min(int(y.min()) for y in labels.values()), max(int(y.max()) for y in labels.values())
    if names is not None and (names.ndim != 1 or names.dtype.kind != "U" or len(set(names.tolist())) < len(names)):
        raise SourceError(f"{path}: class_names: expected a list of different strings, got {names.tolist()}")
    class_names = tuple(map(str, range(highest + 1) if names is None else names.tolist()))
    if lowest < 0 or highest >= len(class_names):
        wrong = lowest if lowest < 0 else highest
        raise SourceError(f"{path}: label {wrong} is outside the classes, 0 to {len(class_names) - 1}")
    if names is None and (gap := set(range(highest + 1)) - set(labels["train"].tolist())):
        raise SourceError(f"{path}: no training image has the label {min(gap)}; number the classes 0, 1, 2 ...")
    return class_names


def _read_sklearn(name: str) -> _Arrays:
    if name != "digits":
        raise SourceError(f"there is no sklearn:{name}: expected sklearn:digits")
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    return _Arrays(tuple("0123456789"), {"train": images}, {"train": digits.target.astype(np.int64)})


def _read_bundled(name: str) -> _Arrays:
    if name not in BUNDLED:
        raise SourceError(f"there is no bundled:{name}: expected {', '.join(f'bundled:{b}' for b in BUNDLED)}")
    with resources.as_file(resources.files("augment.data") / BUNDLED[name]) as path:
        return _read_npz(path)


BUNDLED = {"fashion": "fashion.npz"}
PREFIXES: dict[str, Callable[[str], _Arrays]] = {"sklearn:": _read_sklearn, "bundled:": _read_bundled}
SUFFIXES: dict[str, Callable[[Path], Listing | _Arrays]] = {".npz": _read_npz, ".csv": _read_csv}


def _from_arrays(name: str, arrays: _Arrays, choose_size: ChooseSize, resize: Resize) -> Source:
    sizes: Counter[tuple[int, int]] = Counter()
    for images in arrays.images.values():
        sizes[images.shape[3], images.shape[2]] += len(images)
    size, channels = choose_size(sizes), max(images.shape[1] for images in arrays.images.values())
    splits = {}
    for split, images in arrays.images.items():
        pixels = resize_images(images, size, resize)
        pixels = pixels if pixels.shape[1] == channels else np.repeat(pixels, channels, axis=1)
        splits[split] = LabelledImages(pixels, arrays.labels[split], arrays.class_names)
    return Source(name, splits["train"], splits.get("val"), splits.get("test"), sizes)


def _from_files(name: str, listing: Listing, choose_size: ChooseSize, resize: Resize, skip_broken: bool) -> Source:
    skipped: list[str] = []
    splits, files, sizes = decode(name, listing, choose_size, resize, skipped if skip_broken else None)
    return Source(name, splits["train"], splits.get("val"), splits.get("test"), sizes, tuple(skipped), files)
