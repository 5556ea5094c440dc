"""List the pictures in a tree of class folders, optionally below `train/`, `val/` and `test/`.

A tree is a folder on the disk, or the content of an archive that is read like one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, Self, TypeVar

from augment.dataset.images import SPLIT_NAMES
from augment.dataset.listing import Listing, PictureFile, Row, make_listing
from augment.errors import SourceError
from augment.words import counted

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
    folders = [entry for entry in visible_entries(root) if entry.is_dir()]
    if not folders:
        raise SourceError(f"{root} holds no class folders: put the images of each class into a separate folder")
    if not _has_splits(folders):
        return make_listing(root, _class_files(root, "train"))._replace(ignored=_pictures_beside([root]))
    splits: dict[str, Tree] = {}
    for folder in folders:
        split = SPLIT_NAMES.get(folder.name.lower())
        if split is None or split in splits:
            raise SourceError(
                f"{root} holds train/ and also {folder.name}/: expected train/, val/ and test/ only, each once; move "
                "or rename it"
            )
        splits[split] = folder
    listing = make_listing(root, [row for split, folder in splits.items() for row in _class_files(folder, split)])
    return listing._replace(ignored=_pictures_beside([root, *folders]))


def _pictures_beside(parents: Sequence[Tree]) -> tuple[PictureFile, ...]:
    """Return the pictures that are beside the class folders of `parents`."""
    entries = [entry for parent in parents for entry in visible_entries(parent)]
    return tuple(entry for entry in entries if entry.name.lower().endswith(PICTURES) and not entry.is_dir())


def _has_splits(folders: Sequence[Tree]) -> bool:
    """Return whether the folders are splits and not classes. Raises `SourceError` for splits without class folders."""
    train = next((folder for folder in folders if SPLIT_NAMES.get(folder.name.lower()) == "train"), None)
    if train is None:
        return False
    if any(entry.is_dir() for entry in visible_entries(train)):
        return True
    if len(folders) > 1 and all(folder.name.lower() in SPLIT_NAMES for folder in folders):
        raise SourceError(f"{train} holds no class folders: put the images of each class into a separate folder in it")
    return False  # a class of this name


def _class_files(folder: Tree, split: str) -> list[Row]:
    """Return a row for each file in the class folders of `folder`."""
    rows: list[Row] = []
    for class_folder in (entry for entry in visible_entries(folder) if entry.is_dir()):
        files = visible_entries(class_folder)
        if not files and split == "train":
            raise SourceError(f"the class folder {class_folder} is empty: add images or remove it")
        if inner := next((entry for entry in files if entry.is_dir()), None):
            raise SourceError(
                f"the class folder {class_folder} holds the folder {inner.name}/: expected images only; if its folders "
                f"are the classes, give {class_folder}, and call folders of splits train/, val/ and test/"
            )
        rows += [(split, file, class_folder.name) for file in files]
    if not rows:
        beside = f"{counted(len(_pictures_beside([folder])), 'picture')} and no class folders"
        raise SourceError(f"{folder} holds {beside}: put the images of each class into a separate folder, or remove it")
    return rows
