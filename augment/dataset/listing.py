"""Lists of picture files with their classes, before the pictures are read."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import IO, Literal, NamedTuple, Protocol

from augment.dataset.images import SPLITS
from augment.errors import SourceError
from augment.words import quoted


class PictureFile(Protocol):
    """Something that holds the bytes of one picture, such as a `Path`. Its `str` tells a person where it is."""

    def open(self, mode: Literal["rb"]) -> IO[bytes]:
        """Open the file for reading."""
        ...


@dataclass(frozen=True)
class StoredPicture:
    """A picture inside of something else, such as a table. name: where it is. read: returns the bytes of its file."""

    name: str
    read: Callable[[], bytes]

    def __str__(self) -> str:
        return self.name

    def open(self, mode: Literal["rb"]) -> IO[bytes]:
        """Read the bytes."""
        return io.BytesIO(self.read())


class LabelledFile(NamedTuple):
    """A picture file and the index of its class, or None."""

    file: PictureFile
    label: int | None


class Listing(NamedTuple):
    """Picture files that have not been decoded yet.

    unlabelled: why some have no label; empty if all have one. ignored: pictures that have no class, because they
    are beside the class folders.
    """

    class_names: tuple[str, ...]
    files: dict[str, list[LabelledFile]]  # by split
    unlabelled: str = ""
    ignored: tuple[PictureFile, ...] = ()

    def class_of(self, file: LabelledFile) -> str | None:
        """Return the class name of one of `files`, or None if it has no label."""
        return None if file.label is None else self.class_names[file.label]


Row = tuple[str, PictureFile, str | None]  # split, file, class name


def numeric_order(rows: Iterable[Row]) -> list[str]:
    """Return the class names in the order of their values if all are whole numbers, else none."""
    names = {class_name for _, _, class_name in rows if class_name is not None}
    if not all(re.fullmatch(r"-?\d+", name) for name in names):
        return []
    return sorted(names, key=lambda name: (int(name), name))  # "7" and "07" in the same order each time


def make_listing(origin: object, rows: Iterable[Row], class_names: Sequence[str] = (), unlabelled: str = "") -> Listing:
    """Number the classes of `rows`: in the order of `class_names`, or else of the names of the training images.

    origin: the source, for error messages. unlabelled: why images have no label. Raises `SourceError` if all
    images have labels and there is no training image, or if a class is in another split but not in train.
    """
    files: dict[str, list[tuple[PictureFile, str | None]]] = {}
    for split, file, class_name in rows:
        files.setdefault(split, []).append((file, class_name))
        if class_name is None:
            unlabelled = unlabelled or f"{file} has no label"
    trained = {class_name for _, class_name in files.get("train", []) if class_name is not None}
    if not files.get("train") and not unlabelled:
        raise SourceError(f"{origin} holds no training images")
    for split, members in files.items():
        if unknown := sorted({class_name for _, class_name in members if class_name is not None} - trained):
            similar = next((name for name in sorted(trained) if looks(name) == looks(unknown[0])), None)
            found = f" ({unknown[0]!a} looks like {similar!a}, but is another name)" if similar else ""
            raise SourceError(
                f"{origin}: class {quoted(unknown[0])} is in {split} but not in train{found}; the classes must agree"
            )
    names = tuple(name for name in class_names if name in trained) or tuple(sorted(trained))
    index: dict[str | None, int] = {name: k for k, name in enumerate(names)}
    labelled = {split: [LabelledFile(f, index.get(c)) for f, c in files[split]] for split in SPLITS if split in files}
    return Listing(names, labelled, unlabelled)


def looks(name: str) -> str:
    """Return what a person sees of a class name: without spaces around it, and in one Unicode form."""
    return unicodedata.normalize("NFC", name).strip()
