"""Decode picture files of the common formats directly into arrays.

Each file is opened twice: first all headers are read, to choose one size and number of channels, and then the pictures
are decoded one by one. Differences between files are removed: 16 bits become 8, transparent pixels become white, and
the EXIF orientation is applied.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from augment.dataset.images import LabelledImages, Resize, fit_to_square
from augment.dataset.listing import LabelledFile, Listing, PictureFile
from augment.errors import SourceError
from augment.files import describe_irregular
from augment.progress import Progress, no_progress

T = TypeVar("T")
# Formats that Pillow reads without another program (as EPS needs); no drawings, videos or scientific data
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "JPEG2000", "PPM", "ICO", "TGA", "PCX")
ChooseSize = Callable[[Counter[tuple[int, int]]], int]  # counts of (width, height) in px -> size of all in px


class Decoded(NamedTuple):
    """The result of `decode`."""

    splits: dict[str, LabelledImages]
    files: dict[str, tuple[str, ...]]  # by split, the path of each image
    sizes: Counter[tuple[int, int]]  # (width, height) in px before resizing -> number of images
    transparent: int  # how many pictures have an alpha channel or a transparent colour


class _Header(NamedTuple):
    size: tuple[int, int]  # width, height in px, after applying the EXIF orientation
    grey: bool
    transparent: bool


def decode(
    name: str,
    listing: Listing,
    choose_size: ChooseSize,
    resize: Resize,
    skipped: list[str] | None,
    progress: Progress = no_progress,
) -> Decoded:
    """Decode all pictures of `listing`, with 1 channel if all of them are grey and otherwise 3.

    name: the source, for error messages. choose_size: computes the common size from the sizes of all pictures. skipped:
    a list to which the paths of broken files are appended; if None, a broken file is an error. progress: called before
    a file is opened, twice for each. Raises `SourceError` if a file is broken or no training image is readable, and
    `OSError` if the permission to read a file is missing.
    """
    splits, files, sizes, transparent = {}, {}, Counter[tuple[int, int]](), 0
    opened, total = count(1), sum(map(len, listing.files.values()))  # each file is opened twice
    read_each = partial(_read_each, skipped=skipped, before_opening=lambda: progress(next(opened) // 2, total))
    with bombs_are_errors():
        headers = {split: list(read_each(members, _read_header)) for split, members in listing.files.items()}
        if not headers["train"]:
            raise SourceError(f"{name}: no training image is readable")
        all_headers = [header for members in headers.values() for _, header in members]
        size, grey = choose_size(Counter(h.size for h in all_headers)), all(h.grey for h in all_headers)
        read = partial(_read_pixels, size=size, resize=resize, grey=grey)
        for split, members in headers.items():
            images, kept = np.empty((len(members), 1 if grey else 3, size, size), np.uint8), list[LabelledFile]()
            for member, pixels in read_each((member for member, _ in members), read):
                images[len(kept)] = pixels
                kept.append(member)
            if split != "train" and not kept:
                continue
            labels = [member.label for member in kept]
            splits[split] = LabelledImages(images[: len(kept)], np.array(labels, np.int64), listing.class_names)
            files[split] = tuple(str(member.file) for member in kept)
            readable = [header for member, header in members if str(member.file) not in (skipped or ())]
            sizes.update(header.size for header in readable)
            transparent += sum(header.transparent for header in readable)
    return Decoded(splits, files, sizes, transparent)


@contextmanager
def bombs_are_errors() -> Iterator[None]:
    """Make Pillow refuse pictures that would fill the memory, and ignore its warnings about unusual metadata.

    The filters are those of the whole process: begin it before any threads that read pictures.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _read_each(
    members: Iterable[LabelledFile],
    read: Callable[[PictureFile], T],
    skipped: list[str] | None,
    before_opening: Callable[[], None],
) -> Iterator[tuple[LabelledFile, T]]:
    """Yield each file with the result of `read`; broken files are skipped or raise `SourceError`, as in `decode`.

    before_opening: called before each file is opened.
    """
    for member in members:
        before_opening()
        try:
            result = read(member.file)
        except (PermissionError, MemoryError):
            raise
        except Exception as error:  # Pillow's decoders raise many types of exceptions for broken files
            if skipped is None:
                raise unreadable(member.file, error) from error
            skipped.append(str(member.file))
        else:
            yield member, result


def unreadable(name: object, error: BaseException) -> SourceError:
    """Return the error that names a broken picture."""
    return SourceError(f"{name} is not a readable picture ({error}); repair it, remove it or skip broken files")


@contextmanager
def open_picture(file: PictureFile) -> Iterator[Image.Image]:
    """Open a picture without decoding it. Raises `OSError` if it is not a regular file in one of `FORMATS`."""
    if isinstance(file, Path) and (kind := describe_irregular(file)):
        raise OSError(f"it is {kind}")
    with file.open("rb") as stream:
        try:
            picture = Image.open(stream, formats=FORMATS)
        except UnidentifiedImageError as error:
            raise OSError(f"it is none of {', '.join(FORMATS)}, or damaged") from error
        yield picture


def read_picture(file: PictureFile, size: int, resize: Resize, channels: int) -> NDArray[np.uint8]:
    """Decode a picture as the pictures of a source are decoded: channels x size x size.

    Raises `OSError`, or another exception of Pillow's decoders, if the file is broken, and `SourceError` if the picture
    has colours and `channels` is 1.
    """
    pixels = _read_pixels(file, size, resize, grey=False)
    if channels > 1:
        return pixels
    if (pixels != pixels[:1]).any():
        raise SourceError(f"{file} is in colour, and the others are grey: convert it to grey")
    return pixels[:1]


def _read_header(file: PictureFile) -> _Header:
    with open_picture(file) as picture:
        width, height = picture.size
        rotated = "exif" in picture.info and picture.getexif().get(0x0112) in (5, 6, 7, 8)  # orientations by 90 degrees
        size = (height, width) if rotated else (width, height)
        return _Header(size, _is_grey(picture), picture.has_transparency_data)


def _is_grey(picture: Image.Image) -> bool:
    if picture.mode in ("P", "PA"):
        palette = picture.getpalette() or []
        return palette[0::3] == palette[1::3] == palette[2::3]
    return picture.mode in ("1", "L", "LA", "La", "F") or picture.mode.startswith("I")


def _read_pixels(file: PictureFile, size: int, resize: Resize, grey: bool) -> NDArray[np.uint8]:
    """Decode a picture and resize it to C x size x size."""
    with open_picture(file) as opened:
        opened.draft(None, (2 * size, 2 * size))  # decodes a JPEG faster at 1/2, 1/4 or 1/8, but not below this size
        picture = _to_opaque(ImageOps.exif_transpose(opened)).convert("L" if grey else "RGB")
    pixels = np.asarray(fit_to_square(picture, size, resize))
    return pixels[None] if grey else pixels.transpose(2, 0, 1)


def _to_opaque(picture: Image.Image) -> Image.Image:
    """Convert a picture to 8 bits per channel and blend transparent pixels with white."""
    if picture.mode == "F":
        raise ValueError("floating-point pixels have no standard range")
    if picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("the pixels need more than 16 bits")
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if not picture.has_transparency_data:
        return picture
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA"))
