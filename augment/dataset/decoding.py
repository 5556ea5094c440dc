"""Decode picture files of the common formats directly into arrays.

Each file is opened twice: first all headers are read, to choose one size and number of channels, and then the pictures
are decoded one by one. Differences between files are removed: 16 bits become 8, transparent pixels become white, and
the EXIF orientation is applied.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from augment.dataset.images import LabelledImages, Resize, fit_to_square, to_channels
from augment.dataset.listing import LabelledFile, Listing, PictureFile
from augment.dataset.partial_reads import PartialReads
from augment.errors import SourceError
from augment.files import describe_irregular
from augment.progress import Progress, no_progress
from augment.words import are, counted, listed

T = TypeVar("T")
M = TypeVar("M", LabelledFile, "_Opened")
# Formats that Pillow reads without another program (as EPS needs); no drawings, videos or scientific data
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "JPEG2000", "PPM", "ICO", "TGA", "PCX")
MAX_NAMED = 5  # further broken files in an error
DARK = 2**13  # values of 16 bits below it use less than an eighth of their range, as those of 12-bit cameras do
ChooseSize = Callable[[Counter[tuple[int, int]]], int]  # counts of (width, height) in px -> size of all in px


class Decoded(NamedTuple):
    """The result of `decode`."""

    splits: dict[str, LabelledImages]
    files: dict[str, tuple[str, ...]]  # by split, the path of each image
    sizes: Counter[tuple[int, int]]  # (width, height) in px before resizing -> number of images
    partial_reads: PartialReads


class _Header(NamedTuple):
    size: tuple[int, int]  # width, height in px, after applying the EXIF orientation
    grey: bool
    transparent: bool
    frames: bool


class _Opened(NamedTuple):
    """A file whose header was readable."""

    file: PictureFile
    label: int | None
    header: _Header


class _Pixels(NamedTuple):
    """A decoded picture, uint8, C x size x size. dark: see `PartialReads`."""

    values: NDArray[np.uint8]
    dark: bool


class _Split(NamedTuple):
    """The decoded pictures of a split, uint8, N x C x size x size. dark: how many; see `PartialReads`."""

    images: NDArray[np.uint8]
    opened: list[_Opened]
    dark: int


Headers = dict[str, list[_Opened]]  # by split


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
    a list to which the paths of broken files are appended; if None, a broken file is an error. Broken files do
    not influence the common size and number of channels. progress: called before a file is opened, twice for each.
    Raises `SourceError` if a file is broken or no training image is readable, and `OSError` if the permission to read a
    file is missing.
    """
    opened, total = count(1), sum(map(len, listing.files.values()))
    read_each = partial(
        _read_each, skipped=skipped, before_opening=lambda: progress(min(next(opened) // 2, total), total)
    )
    with refuse_decompression_bombs():
        headers = {
            split: [_Opened(*member, header) for member, header in read_each(members, _read_header)]
            for split, members in listing.files.items()
        }
        size, grey = _common_form(name, headers, choose_size)
        while True:
            read = partial(_read_pixels, size=size, resize=resize, grey=grey)
            splits = {split: _read_split(members, read_each, read) for split, members in headers.items()}
            headers = {split: decoded.opened for split, decoded in splits.items()}
            readable = _common_form(name, headers, choose_size)
            if readable == (size, grey):
                break
            size, grey = readable  # a file with broken pixels had determined them
    for split, part in splits.items():
        if listing.files[split] and not part.opened:
            raise SourceError(f"{name}: none of its {counted(len(listing.files[split]), f'{split} image')} can be read")
    return _decoded(splits, listing.class_names)


def _decoded(kept: Mapping[str, _Split], class_names: tuple[str, ...]) -> Decoded:
    found = [one.header for decoded in kept.values() for one in decoded.opened]
    return Decoded(
        {split: _labelled(decoded, class_names) for split, decoded in kept.items()},
        {split: tuple(str(one.file) for one in decoded.opened) for split, decoded in kept.items()},
        Counter(header.size for header in found),
        PartialReads(
            sum(h.transparent for h in found), sum(h.frames for h in found), sum(d.dark for d in kept.values())
        ),
    )


def _common_form(name: str, headers: Headers, choose_size: ChooseSize) -> tuple[int, bool]:
    """Return the size of all pictures in px, and whether all are grey."""
    if not headers["train"]:
        raise SourceError(f"{name}: no training image is readable")
    found = [one.header for members in headers.values() for one in members]
    return choose_size(Counter(header.size for header in found)), all(header.grey for header in found)


def _read_split(
    members: Sequence[_Opened],
    read_each: Callable[..., Iterator[tuple[_Opened, _Pixels]]],
    read: Callable[[PictureFile], _Pixels],
) -> _Split:
    images, kept, dark = np.empty((0, 0, 0, 0), np.uint8), list[_Opened](), 0
    for member, pixels in read_each(members, read):
        if not kept:
            images = np.empty((len(members), *pixels.values.shape), np.uint8)
        images[len(kept)] = pixels.values
        kept.append(member)
        dark += pixels.dark
    return _Split(images[: len(kept)], kept, dark)


def _labelled(decoded: _Split, class_names: tuple[str, ...]) -> LabelledImages:
    return LabelledImages(decoded.images, np.array([one.label for one in decoded.opened], np.int64), class_names)


@contextmanager
def refuse_decompression_bombs() -> Iterator[None]:
    """Make Pillow refuse pictures that would fill the memory, and ignore its warnings about unusual metadata.

    The warning filters apply to the whole process: enter this context before starting threads that read pictures.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _read_each(
    members: Iterable[M],
    read: Callable[[PictureFile], T],
    skipped: list[str] | None,
    before_opening: Callable[[], None],
) -> Iterator[tuple[M, T]]:
    """Yield each file with the result of `read`; broken files are skipped or raise `SourceError`, as in `decode`.

    The error comes last and names all of them. before_opening: called before each file is opened.
    """
    broken: list[tuple[object, Exception]] = []
    for member in members:
        before_opening()
        try:
            result = read(member.file)
        except (PermissionError, MemoryError):
            raise
        except Exception as error:  # Pillow's decoders raise many types of exceptions for broken files
            if skipped is None:
                broken.append((member.file, error))
            else:
                skipped.append(str(member.file))
        else:
            yield member, result
    if broken:
        first, reason = broken[0]
        raise unreadable(first, reason, [str(file) for file, _ in broken[1:]]) from reason


def unreadable(name: object, error: BaseException, others: Sequence[str] = ()) -> SourceError:
    """Return the error that names a broken picture, with what is wrong with it, and others."""
    if not others:
        return SourceError(f"{name} is not a readable picture ({error}); repair it, remove it, or give --skip-broken")
    return SourceError(
        f"{name} is not a readable picture ({error}), and {listed(others, MAX_NAMED)} {are(len(others))} not either; "
        "repair them, remove them, or give --skip-broken"
    )


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


def read_picture(file: PictureFile, size: int, resize: Resize, channels: int) -> tuple[NDArray[np.uint8], PartialReads]:
    """Decode a picture as the pictures of a source are decoded: channels x size x size, and what is lost of it.

    Raises `OSError`, or another exception of Pillow's decoders, if the file is broken, and `SourceError` if the picture
    has colours and `channels` is 1.
    """
    with open_picture(file) as opened:
        pixels = _decode_opened(opened, size, resize, grey=False)
        frames = _has_frames(opened)  # last, because it moves the file to another frame
    return to_channels(pixels.values, channels, str(file)), PartialReads(frames=frames, dark=pixels.dark)


def _read_header(file: PictureFile) -> _Header:
    with open_picture(file) as picture:
        width, height = picture.size
        rotated = "exif" in picture.info and picture.getexif().get(0x0112) in (5, 6, 7, 8)  # orientations by 90 degrees
        size = (height, width) if rotated else (width, height)
        # of 16-bit pixels, none is blended: their transparent value is read as a grey
        grey, transparent = _is_grey(picture), picture.has_transparency_data and not picture.mode.startswith("I")
        return _Header(size, grey, transparent, _has_frames(picture))


def _has_frames(picture: Image.Image) -> bool:
    """Return whether a picture has several frames. MPO, the JPEG of many phones, holds none, but other pictures."""
    try:
        return picture.format != "MPO" and bool(getattr(picture, "is_animated", False))
    except Exception:  # of many types: a later frame is broken, and the first one may be whole
        return True


def _is_grey(picture: Image.Image) -> bool:
    if picture.mode in ("P", "PA"):
        palette = picture.getpalette() or []
        return palette[0::3] == palette[1::3] == palette[2::3]
    return picture.mode in ("1", "L", "LA", "La", "F") or picture.mode.startswith("I")


def _read_pixels(file: PictureFile, size: int, resize: Resize, grey: bool) -> _Pixels:
    with open_picture(file) as opened:
        return _decode_opened(opened, size, resize, grey)


def _decode_opened(opened: Image.Image, size: int, resize: Resize, grey: bool) -> _Pixels:
    """Decode a picture and resize it to C x size x size."""
    opened.draft(None, (2 * size, 2 * size))  # decodes a JPEG faster at 1/2, 1/4 or 1/8, but not below this size
    upright = ImageOps.exif_transpose(opened)
    dark = upright.mode.startswith("I") and int(np.asarray(upright).max()) < DARK
    picture = _to_opaque(upright).convert("L" if grey else "RGB")
    pixels = np.asarray(fit_to_square(picture, size, resize))
    return _Pixels(pixels[None] if grey else pixels.transpose(2, 0, 1), dark)


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
