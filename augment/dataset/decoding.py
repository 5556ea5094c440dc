"""Picture files of the common formats, decoded straight into the arrays that are kept.

Files are opened twice: for their headers, which give the size and the channels of all, and then one by one. What varies
between files is evened out: 16 bits become 8, transparency becomes white, the orientation in EXIF is applied.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from augment.dataset.images import LabelledImages, Resize, fit_to_square
from augment.errors import SourceError
from augment.files import describe_irregular

T = TypeVar("T")
# What Pillow reads by itself: other formats start a program (EPS), or are drawings, films and scientific data
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "JPEG2000", "PPM", "ICO", "TGA", "PCX")
ChooseSize = Callable[[Counter[tuple[int, int]]], int]  # (width, height) in px -> images, to the size of all in px


class File(NamedTuple):
    """A picture file and the index of its class."""

    path: Path
    label: int


class Listing(NamedTuple):
    """Picture files that are still to be read."""

    class_names: tuple[str, ...]
    files: dict[str, list[File]]  # by split


class Decoded(NamedTuple):
    """What `decode` makes of a `Listing`."""

    splits: dict[str, LabelledImages]
    files: dict[str, tuple[str, ...]]  # by split, the file of each image
    sizes: Counter[tuple[int, int]]  # (width, height) in px before resizing -> images


class _Header(NamedTuple):
    size: tuple[int, int]  # width, height in px, as shown
    grey: bool


def decode(name: str, listing: Listing, choose_size: ChooseSize, resize: Resize, skipped: list[str] | None) -> Decoded:
    """All pictures of `listing`, with the size that `choose_size` makes of their own and 1 channel if all are grey.

    `skipped` takes the broken files; None makes them an error. Raises `SourceError`, and `OSError` if a file may not be
    read.
    """
    splits, files, sizes = {}, {}, Counter[tuple[int, int]]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata, which changes no pixel
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        headers = {split: list(_each(members, _header, skipped)) for split, members in listing.files.items()}
        if not headers["train"]:
            raise SourceError(f"{name}: no training image is readable")
        everything = [header for found in headers.values() for _, header in found]
        size, grey = choose_size(Counter(h.size for h in everything)), all(h.grey for h in everything)
        read = partial(_pixels, size=size, resize=resize, grey=grey)
        for split, found in headers.items():
            images, kept = np.empty((len(found), 1 if grey else 3, size, size), np.uint8), list[File]()
            for file, pixels in _each((file for file, _ in found), read, skipped):
                images[len(kept)] = pixels
                kept.append(file)
            if split != "train" and not kept:
                continue
            labels = np.array([file.label for file in kept], np.int64)
            splits[split] = LabelledImages(images[: len(kept)], labels, listing.class_names)
            files[split] = tuple(str(file.path) for file in kept)
            sizes.update(header.size for file, header in found if str(file.path) not in (skipped or ()))
    return Decoded(splits, files, sizes)


def _each(files: Iterable[File], read: Callable[[Path], T], skipped: list[str] | None) -> Iterator[tuple[File, T]]:
    for file in files:
        try:
            result = read(file.path)
        except (PermissionError, MemoryError):
            raise
        except Exception as error:  # Pillow's decoders raise nearly anything on a broken file
            if skipped is None:
                raise SourceError(
                    f"{file.path} is no readable picture ({error}); mend it, remove it or skip broken files"
                ) from error
            skipped.append(str(file.path))
        else:
            yield file, result


def open_picture(path: Path) -> Image.Image:
    """The picture, not decoded yet. Raises `OSError` if it is no regular file or of none of `FORMATS`."""
    if kind := describe_irregular(path):
        raise OSError(f"it is {kind}")
    try:
        return Image.open(path, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise OSError(f"it is none of {', '.join(FORMATS)}, or damaged") from error


def _header(path: Path) -> _Header:
    with open_picture(path) as picture:
        width, height = picture.size
        turned = "exif" in picture.info and picture.getexif().get(0x0112) in (5, 6, 7, 8)  # orientation: on its side
        return _Header((height, width) if turned else (width, height), _is_grey(picture))


def _is_grey(picture: Image.Image) -> bool:
    if picture.mode in ("P", "PA"):
        palette = picture.getpalette() or []
        return palette[0::3] == palette[1::3] == palette[2::3]
    return picture.mode in ("1", "L", "LA", "La", "F") or picture.mode.startswith("I")


def _pixels(path: Path, size: int, resize: Resize, grey: bool) -> NDArray[np.uint8]:
    """C x size x size."""
    with open_picture(path) as opened:
        opened.draft(None, (2 * size, 2 * size))  # a JPEG decodes faster at 1/2, 1/4 or 1/8, never below this size
        picture = _opaque(ImageOps.exif_transpose(opened)).convert("L" if grey else "RGB")
    pixels = np.asarray(fit_to_square(picture, size, resize))
    return pixels[None] if grey else pixels.transpose(2, 0, 1)


def _opaque(picture: Image.Image) -> Image.Image:
    """8 bit a channel, over white."""
    if picture.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    if picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("the pixels need more than 16 bits")
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if not picture.has_transparency_data:
        return picture
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA"))
