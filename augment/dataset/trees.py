"""List the pictures in a tree of class folders, optionally below `train/`, `val/` and `test/`.

A tree is a folder on the disk, or the content of an archive that is read like one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, Self, TypeVar

from augment.dataset.images import SPLITS
from augment.dataset.listing import Listing, PictureFile, Row, make_listing
from augment.errors import SourceError

IGNORED = {"thumbs.db", "desktop.ini", "__macosx"}  # as well as names that start with a dot
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp")  # not all that can be read


class Tree(PictureFile, Protocol):
    """A file, or a folder of such: the part of `pathlib.Path` that is used here."""

    @property
    def name(self) -> str:
        """The last part of the path."""
        ...

    def is_dir(self) -> bool:
        """Return whether this is a folder."""
        ...

    def iterdir(self) -> Iterator[Self]:
        """Yield the content of a folder."""
        ...


T = TypeVar("T", bound=Tree)


def is_visible(name: str) -> bool:
    """Return whether a file or folder of this name is neither hidden nor a system file such as Thumbs.db."""
    return not name.startswith(".") and name.lower() not in IGNORED


def visible_entries(folder: T) -> list[T]:
    """Return the files and folders in a folder by their names, without hidden ones and system files."""
    return sorted((p for p in folder.iterdir() if is_visible(p.name)), key=lambda p: p.name)


def list_tree(root: Tree) -> Listing:
    """List the pictures of a tree whose classes are folders, and those beside these folders, which have no class.

    Raises `SourceError` if it has another shape.
    """
    folders = {entry.name: entry for entry in visible_entries(root) if entry.is_dir()}
    if not folders:
        raise SourceError(f"{root} holds no class folders: put the images of each class into a separate folder")
    if not _has_splits(folders):
        return make_listing(root, _class_files(root, "train"))._replace(ignored=_pictures_beside([root]))
    if unknown := sorted(set(folders) - set(SPLITS)):
        raise SourceError(f"{root} holds train/ and also {unknown[0]}/: expected train/, val/ and test/ only")
    listing = make_listing(root, [row for split in folders for row in _class_files(folders[split], split)])
    return listing._replace(ignored=_pictures_beside([root, *folders.values()]))


def _pictures_beside(parents: Sequence[Tree]) -> tuple[str, ...]:
    """Return the pictures that are beside the class folders of `parents`."""
    entries = [entry for parent in parents for entry in visible_entries(parent)]
    return tuple(str(entry) for entry in entries if entry.name.lower().endswith(PICTURES) and not entry.is_dir())


def _has_splits(folders: Mapping[str, Tree]) -> bool:
    return "train" in folders and any(entry.is_dir() for entry in visible_entries(folders["train"]))  # else a class


def _class_files(folder: Tree, split: str) -> list[Row]:
    """Return a row for each file in the class folders of `folder`."""
    rows: list[Row] = []
    for class_folder in (entry for entry in visible_entries(folder) if entry.is_dir()):
        files = visible_entries(class_folder)
        if not files and split == "train":
            raise SourceError(f"the class folder {class_folder} is empty: add images or remove it")
        if inner := next((entry for entry in files if entry.is_dir()), None):
            raise SourceError(f"the class folder {class_folder} holds the folder {inner.name}/: expected images only")
        rows += [(split, file, class_folder.name) for file in files]
    if not rows:
        raise SourceError(f"{folder} holds no images: fill it with class folders or remove it")
    return rows
