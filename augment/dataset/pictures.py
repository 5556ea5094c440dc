"""Pictures to be classified, with labels or without: `find_pictures` lists them, and `decoded` reads them in batches.

Beside the forms of `augment.dataset.sources`, a picture file, a folder or an archive of picture files, and a table
without labels are accepted. The list holds the paths only, so 100,000 pictures need little memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from augment.dataset import archives
from augment.dataset.decoding import read_picture, refuse_decompression_bombs, unreadable
from augment.dataset.images import Resize, resize_images, to_channels
from augment.dataset.listing import Listing, PictureFile
from augment.dataset.partial_reads import NONE_PARTIAL, PartialReads, ignored_note
from augment.dataset.sources import SUFFIXES, check_not_empty, find_folder_reader, locate
from augment.dataset.tables import read_rows, read_split
from augment.dataset.trees import T, visible_entries
from augment.errors import SourceError
from augment.words import counted, quoted

BATCH = 256  # pictures
_Read = tuple[NDArray[np.uint8], PartialReads]  # the pixels of a picture, and what is lost of it


class Picture(NamedTuple):
    """A picture. name: its path, or its place in an array. content: the file, or pixels, uint8 C x H x W."""

    name: str
    content: PictureFile | NDArray[np.uint8]
    class_name: str | None = None


class Format(NamedTuple):
    """The format that pictures are decoded to: uint8, channels x size x size."""

    size: int  # px
    resize: Resize
    channels: int


class Batch(NamedTuple):
    """Decoded pictures. images: uint8, n x C x H x W. broken: the names of those that could not be read.

    partial_reads: how many of the n are read only in part.
    """

    pictures: list[Picture]
    images: NDArray[np.uint8]
    broken: list[str]
    partial_reads: PartialReads


def find_pictures(spec: str) -> tuple[list[Picture], list[str]]:
    """List the pictures of a file, a folder or a source. Returns them with notes on those that are left out.

    Of a source with test images, only these are listed, which are the validation images if it has no others. Raises
    `SourceError` if there are no pictures.
    """
    (by_split, ignored), name = pictures_by_split(spec), Path(spec).name or spec
    test = next((split for split in ("test", "val") if by_split.get(split)), None)
    selected = [test] if test else list(by_split)
    left_out = [counted(len(by_split[split]), f"{split} image") for split in by_split if split not in selected]
    notes = [f"only the {test} images of {name} are classified, not its {' and '.join(left_out)}"] if left_out else []
    notes += [ignored_note(list(map(str, ignored)), 1)] if ignored else []
    return [picture for split in selected for picture in by_split[split]], notes


def pictures_by_split(spec: str) -> tuple[dict[str, list[Picture]], tuple[PictureFile, ...]]:
    """List the pictures of a file, a folder or a source by their split; those without a split are the split "".

    Returns them with the files beside class folders; see `Listing.ignored`. Raises `SourceError` if there are none.
    """
    check_not_empty(spec)
    path = Path(spec)
    if path.is_dir() and find_folder_reader(path) is None and (files := _files(path)):
        return {"": [Picture(str(file), file) for file in files]}, ()
    if path.is_file() and path.suffix.lower() in archives.SUFFIXES and (inside := _files(archives.read_archive(path))):
        return {"": [Picture(str(entry), entry) for entry in inside]}, ()
    if path.suffix.lower() == ".csv" and path.is_file():
        return _read_table(path), ()
    if path.is_file() and path.suffix.lower() not in SUFFIXES:
        return {"": [Picture(spec, path)]}, ()
    _, content = locate(spec)
    if isinstance(content, Listing):
        listed = {
            split: [Picture(str(member.file), member.file, content.class_of(member)) for member in files]
            for split, files in content.files.items()
        }
        return listed, content.ignored
    stored = {
        split: [
            Picture(f"{split}[{i}]", image, content.class_names[label])
            for i, (image, label) in enumerate(zip(images, content.labels[split], strict=True))
        ]
        for split, images in content.images.items()
    }
    return stored, ()


def _files(folder: T) -> list[T]:
    """Return the files directly in a folder or an archive; none if it has folders."""
    entries = visible_entries(folder)
    if not entries:
        raise SourceError(f"{folder} is empty: expected pictures, or folders of pictures")
    return [] if any(p.is_dir() for p in entries) else entries


def _read_table(path: Path) -> dict[str, list[Picture]]:
    pictures: dict[str, list[Picture]] = {}
    for where, row in read_rows(path, used=("path", "label", "split"), needed=("path",)):
        if not row["path"]:
            raise SourceError(f"{where}: expected a path, got {quoted(row['path'])}")
        file, split = path.parent / row["path"], read_split(where, row) or ""
        pictures.setdefault(split, []).append(Picture(str(file), file, row.get("label") or None))
    if not pictures:
        raise SourceError(f"{path} names no pictures")
    return pictures


def decoded(pictures: Sequence[Picture], form: Format, threads: int, *, skip_broken: bool) -> Iterator[Batch]:
    """Yield the pictures in batches, in their order. The next batch is decoded while the caller works on one.

    threads: how many pictures are decoded at once. skip_broken: leave out broken files, instead of raising
    `SourceError`. Raises `SourceError` for a picture in colour if `form` is grey, and `PermissionError` for a file that
    must not be read.
    """
    with refuse_decompression_bombs(), ThreadPoolExecutor(threads) as pool:
        chunks = [pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH)]
        ahead = _submit(pool, chunks[0], form) if chunks else []
        for chunk, following in zip(chunks, [*chunks[1:], []], strict=True):
            current, ahead = ahead, _submit(pool, following, form)
            yield _collect(chunk, current, form, skip_broken)


def _submit(pool: ThreadPoolExecutor, chunk: Sequence[Picture], form: Format) -> list[Future[_Read]]:
    return [pool.submit(_pixels, picture, form) for picture in chunk]


def _pixels(picture: Picture, form: Format) -> _Read:
    if not isinstance(picture.content, np.ndarray):
        return read_picture(picture.content, form.size, form.resize, form.channels)
    image = resize_images(picture.content[None], form.size, form.resize)[0]
    return to_channels(image, form.channels, picture.name), NONE_PARTIAL


def _collect(chunk: Sequence[Picture], futures: Sequence[Future[_Read]], form: Format, skip_broken: bool) -> Batch:
    read: list[Picture] = []
    images, partial, broken = list[NDArray[np.uint8]](), list[PartialReads](), list[str]()
    for picture, future in zip(chunk, futures, strict=True):
        error = future.exception()
        if error is None:
            read.append(picture)
            pixels, partial_reads = future.result()
            images.append(pixels)
            partial.append(partial_reads)
        elif isinstance(error, SourceError | MemoryError | PermissionError):
            raise error
        elif skip_broken:
            broken.append(picture.name)
        else:
            raise unreadable(picture.name, error) from error
    shape = (len(images), form.channels, form.size, form.size)
    stacked = np.stack(images) if images else np.empty(shape, np.uint8)
    return Batch(read, stacked, broken, NONE_PARTIAL.plus(partial))
