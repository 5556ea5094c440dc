"""Read all supported forms of labelled images into `LabelledImages`.

A source is a folder of class folders (optionally below `train/`, `val/` and `test/`, or with the `manifest.csv` of
generated images), such a folder as a `.zip` or `.tar`, a MedMNIST-style `.npz`, a `.csv` of `path,label[,split]`, a
`.parquet`, a data set of Hugging Face or torchvision, `sklearn:digits` or `bundled:fashion`.
All pictures of a source are resized to one square size and have 1 channel if all of them are grey, otherwise 3.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from augment.dataset import archives
from augment.dataset.arrays import Arrays, read_bundled, read_npz, read_sklearn
from augment.dataset.decoding import ChooseSize, decode
from augment.dataset.hugging_face import is_saved, read_dataset
from augment.dataset.images import SPLITS, LabelledImages, Resize, check_size, nearest_size, resize_images
from augment.dataset.listing import Listing, Row, make_listing
from augment.dataset.parquet import parquet_files, read_parquet, split_columns
from augment.dataset.partial_reads import NONE_PARTIAL, PartialReads, unread_notes
from augment.dataset.tables import names_pictures, read_rows, read_split
from augment.dataset.torchvision_sets import read_torchvision
from augment.dataset.trees import list_tree, visible_entries
from augment.errors import SourceError
from augment.files import describe_irregular
from augment.markers import MARKER, read_marker
from augment.progress import Progress, no_progress
from augment.words import counted, is_unicode, printable, quoted, shortened

MANIFEST = "manifest.csv"
DEFAULT_MAX_SIZE = 64  # px; larger images are reduced to it if no size is given, because CPUs are slow
FORMS = (
    "a folder of class folders or a .zip or .tar of it, a .npz with train_images and train_labels, a .csv with "
    "path,label[,split], a .parquet, datasets:NAME, torchvision:NAME:DIR, sklearn:digits or bundled:fashion"
)


@dataclass(frozen=True)
class Source:
    """The content of a source: splits that share one image size, number of channels and list of classes.

    original_sizes: (width, height) in px before resizing -> number of images. skipped: broken files that were left out.
    files: split -> the path of each image; empty for sources that are arrays. partial_reads: how many pictures are read
    only in part. ignored: pictures beside the class folders.
    """

    name: str
    train: LabelledImages
    val: LabelledImages | None
    test: LabelledImages | None
    original_sizes: Mapping[tuple[int, int], int]
    skipped: tuple[str, ...] = ()
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    partial_reads: PartialReads = NONE_PARTIAL
    ignored: tuple[str, ...] = ()

    @property
    def splits(self) -> dict[str, LabelledImages]:
        """The splits that exist, by name."""
        return {name: data for name in SPLITS if (data := getattr(self, name)) is not None}

    def unread(self, most: int) -> list[str]:
        """Return sentences on pictures that are not read or only in part. most: how many files a sentence names."""
        return unread_notes(self.skipped, self.ignored, self.partial_reads, most)

    def lost_details(self) -> str:
        """Return a sentence on the size of the details that the largest image may have lost; empty if few are lost."""
        reduction = max(map(max, self.original_sizes)) / self.train.size
        return f"details of less than {reduction:.0f} px of the largest image may disappear" if reduction >= 2 else ""


def read_source(
    spec: str | Path,
    *,
    image_size: int | None = None,
    resize: Resize = "pad",
    skip_broken: bool = False,
    complete: bool = True,
    largest: int | None = None,
    progress: Progress = no_progress,
) -> Source:
    """Read the source `spec` and resize its images to image_size x image_size px.

    Without `image_size`, images that all have the same allowed square size keep it; others get the allowed size nearest
    to the median of their longer sides, at most 64 px. largest: an upper limit for both, in px, in place of 64.
    skip_broken: skip files that are not pictures and list them, instead of raising an error. complete: require at least
    two classes with at least two training images each; False is for images that are not trained on alone, such as
    generated ones. progress: called while picture files are read. Raises `SourceError` if the source cannot be read,
    `ConfigError` if the size is not allowed.
    """
    if image_size is not None:
        check_size(image_size)
    choose_size = partial(_choose_size, requested=image_size, largest=largest)
    try:
        name, content = locate(str(spec))
        if isinstance(content, Listing):
            if content.unlabelled:
                raise SourceError(content.unlabelled)
            source = _from_files(name, content, choose_size, resize, skip_broken, progress)
        else:
            source = _from_arrays(name, content, choose_size, resize)
    except OSError as error:
        path = shortened(str(error.filename or spec), 300)
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
    _check_classes(source.name, source.train, complete)
    return source


def check_not_empty(spec: str) -> None:
    """Raise `SourceError` for an empty source, which `Path` would take for the working directory."""
    if not spec.strip():
        raise SourceError(f"the source is empty: expected {FORMS}")


def find_path(spec: str, base: Path = Path()) -> tuple[str, Path | None, str]:
    """Return the path in a source with what stands before and after it: "datasets:", DIR, "?label=y".

    base: the folder that the path is relative to. The path is None if nothing is there, or if the source has no path.
    """
    matches = (re.match(re.escape(prefix) + form.before_path, spec, re.DOTALL) for prefix, form in PREFIXES.items())
    before = next((match[0] for match in matches if match), "")
    rest = spec.removeprefix(before)
    file, mark, columns = rest.partition("?")
    for path, after in ((rest, ""), (file, mark + columns)):
        if path and os.path.exists(base / path):  # Path.exists() would raise for a name that is too long
            return before, base / path, after
    return before, None, rest


def locate(spec: str) -> tuple[str, Listing | Arrays]:
    """Return the name of a source, and its arrays or the list of its picture files; see `read_source`."""
    check_not_empty(spec)
    for prefix, form in PREFIXES.items():
        if spec.startswith(prefix):
            return spec, form.read(spec.removeprefix(prefix))
    path = Path(spec)
    if "?" in spec and not path.exists():
        path, columns = split_columns(spec)
        if path.exists():
            return printable(path.name), read_parquet(path, columns)
    if path.is_dir():
        return printable(path.resolve().name), _read_folder(path)
    if not path.exists():
        raise SourceError(f"there is no {quoted(spec)}: expected {FORMS}")
    if kind := describe_irregular(path):
        raise SourceError(f"{quoted(spec)} is {kind}: expected {FORMS}")
    if path.suffix.lower() not in SUFFIXES:
        raise SourceError(f"{quoted(spec)} is a file of an unknown kind: expected {FORMS}")
    return printable(path.name), SUFFIXES[path.suffix.lower()](path)


def _check_classes(name: str, train: LabelledImages, complete: bool) -> None:
    for class_name in train.class_names:
        if not is_unicode(class_name):
            raise SourceError(f"{name}: the class name {quoted(class_name)} is not valid Unicode; rename it")
    if not complete:
        return
    if train.num_classes < 2:
        raise SourceError(
            f"{name} has {counted(train.num_classes, 'class')}, {quoted(list(train.class_names))}: at least 2 are "
            "needed; put the images of each class into a separate folder"
        )
    for class_name, count in zip(train.class_names, train.counts(), strict=True):
        if count < 2:
            raise SourceError(
                f"{name}: class {quoted(class_name)} has {counted(count, 'training image')}: at least 2 are needed; "
                "add images or remove the class"
            )


def _choose_size(sizes: Counter[tuple[int, int]], requested: int | None, largest: int | None) -> int:
    if requested is not None:
        return requested
    width, height = next(iter(sizes))
    if len(sizes) == 1 and width == height == nearest_size(width):
        return min(width, largest or width)
    longer_sides = np.repeat([max(size) for size in sizes], list(sizes.values()))
    return min(nearest_size(float(np.median(longer_sides))), largest or DEFAULT_MAX_SIZE)


def _read_folder(folder: Path) -> Listing | Arrays:
    marker = read_marker(folder)
    if marker is not None and marker.command == "generate" and not marker.finished:
        raise SourceError(
            f"the generation of {folder} is not finished; run the same `augment generate` again to complete it"
        )
    if marker is not None and marker.command == "fit":
        raise SourceError(
            f"{folder} holds a generator and no images; create some with `augment generate {folder} --out DIR` and "
            "give DIR"
        )
    read = find_folder_reader(folder)
    return list_tree(folder) if read is None else read()


def find_folder_reader(folder: Path) -> Callable[[], Listing | Arrays] | None:
    """Return what reads a folder that holds arrays, tables or a manifest; None for pictures and class folders."""
    entries = visible_entries(folder)
    arrays = [p for p in entries if p.suffix.lower() == ".npz" and not p.is_dir()]
    has_folders = any(p.is_dir() for p in entries)
    alone = not has_folders or (folder / MARKER).is_file()  # else it may be a table of something else
    if (folder / MANIFEST).is_file() and (alone or names_pictures(folder / MANIFEST)):
        return partial(_read_csv, folder / MANIFEST)
    if len(arrays) == 1 and not has_folders:
        return partial(read_npz, arrays[0])
    if is_saved(folder):
        return partial(read_dataset, str(folder))
    return partial(read_parquet, folder) if parquet_files(folder) else None


def _read_csv(path: Path) -> Listing:
    return make_listing(path, _csv_rows(path))


def _csv_rows(path: Path) -> Iterator[Row]:
    for where, row in read_rows(path, used=("path", "label", "split"), needed=("path", "label")):
        file, label, split = row["path"], row["label"], read_split(where, row) or "train"
        if not file or not label:
            raise SourceError(f"{where}: expected a path and a label, got {quoted(file)} and {quoted(label)}")
        _check_picture_path(where, path.parent / file)
        yield split, path.parent / file, label


def _check_picture_path(where: str, path: Path) -> None:
    try:
        kind = describe_irregular(path)
    except PermissionError:
        raise
    except (OSError, ValueError) as error:  # it does not exist, its name is too long or contains NUL
        raise SourceError(f"{where}: there is no file {shortened(str(path))}") from error
    if kind == "a folder":
        raise SourceError(f"{where}: {shortened(str(path))} is a folder; expected a picture")


def _read_dataset(spec: str) -> Listing:
    name, columns = split_columns(spec)
    return read_dataset(name.as_posix(), columns)


def _read_archive(path: Path) -> Listing:
    return list_tree(archives.read_archive(path))


class Prefixed(NamedTuple):
    """A source that is given by a prefix and a name or a path.

    read: reads a source, given what follows the prefix. before_path: a regular expression for what stands between the
    prefix and a path; everything that follows the prefix, if there is no path.
    """

    read: Callable[[str], Listing | Arrays]
    before_path: str = ".*"


PREFIXES: dict[str, Prefixed] = {
    "sklearn:": Prefixed(read_sklearn),
    "bundled:": Prefixed(read_bundled),
    "datasets:": Prefixed(_read_dataset, before_path=""),
    "torchvision:": Prefixed(read_torchvision, before_path="[^:]*:"),
}
SUFFIXES: dict[str, Callable[[Path], Listing | Arrays]] = {
    ".npz": read_npz,
    ".csv": _read_csv,
    ".parquet": read_parquet,
    **dict.fromkeys(archives.SUFFIXES, _read_archive),
}


def _from_arrays(name: str, arrays: Arrays, choose_size: ChooseSize, resize: Resize) -> Source:
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


def _from_files(
    name: str, listing: Listing, choose_size: ChooseSize, resize: Resize, skip_broken: bool, progress: Progress
) -> Source:
    skipped: list[str] = []
    broken = skipped if skip_broken else None
    splits, files, sizes, partial = decode(name, listing, choose_size, resize, broken, progress)
    val, test = splits.get("val"), splits.get("test")
    return Source(
        name, splits["train"], val, test, sizes, tuple(skipped), files, partial, tuple(map(str, listing.ignored))
    )
