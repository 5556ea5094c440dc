"""Read `.npz` archives of plain arrays safely, using no more memory than the data in the file need.

`numpy.load` allocates the size in a header before it has read any data, and it lets through every kind of exception
that zipfile, its four decompressors and the header parser raise.
"""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from augment.errors import SourceError
from augment.files import describe_irregular
from augment.words import shortened

HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}  # 3.0: structured arrays only
# A member above this size is refused if its compression ratio is above BOMB_RATIO; images reach a ratio of about 20
BOMB_BYTES, BOMB_RATIO = 2**28, 200


def read_arrays(path: Path, wanted: Collection[str]) -> dict[str, NDArray[np.generic]]:
    """Return those arrays of an archive whose names are in `wanted`.

    Raises `SourceError` if the file is not an archive of plain arrays, `PermissionError` if it may not be read.
    """
    try:
        if kind := describe_irregular(path):
            raise ValueError(f"it is {kind}")
        with warnings.catch_warnings(), zipfile.ZipFile(path) as archive:
            warnings.simplefilter("ignore")  # numpy warns about headers written by Python 2, but reads them
            size = path.stat().st_size
            members = {info.filename: info for info in archive.infolist()}
            if unsuffixed := sorted(set(wanted) & set(members)):
                raise ValueError(f"its member {unsuffixed[0]!r} lacks the ending .npy")
            return {
                name: _read_member(archive, members[f"{name}.npy"], size) for name in wanted if f"{name}.npy" in members
            }
    except (PermissionError, MemoryError):
        raise
    except Exception as error:  # the libraries raise many types of exceptions for damaged archives
        reason = shortened(" ".join(str(error).split())) or type(error).__name__
        raise SourceError(
            f"{path} is not a readable .npz of plain arrays ({reason}); save it with numpy.savez"
        ) from error


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, archive_size: int) -> NDArray[np.generic]:
    if info.flag_bits & 1:
        raise ValueError(f"{info.filename} is encrypted")
    if info.compress_size > archive_size:
        raise ValueError(f"{info.filename} is cut short")
    if info.file_size > max(BOMB_BYTES, BOMB_RATIO * info.compress_size):
        raise ValueError(f"{info.filename} would unpack {info.compress_size:,} bytes to {info.file_size:,}")
    with archive.open(info) as member:
        shape, dtype = _read_header(member, info.filename)
        stored = info.file_size - member.tell()
    if dtype.hasobject or dtype.fields is not None or dtype.subdtype is not None:
        raise ValueError(f"{info.filename} holds {'objects' if dtype.hasobject else 'structures'}, not numbers or text")
    count = math.prod(shape)
    if min(shape, default=0) < 0 or count * dtype.itemsize > stored or (count and not dtype.itemsize):
        raise ValueError(
            f"{info.filename} declares an array of shape {shortened(str(shape))} with {dtype.itemsize} bytes per "
            f"value, but holds only {stored:,} bytes"
        )
    with archive.open(info) as member:
        array: NDArray[np.generic] = npy.read_array(member, allow_pickle=False)
        return array


def _read_header(member: IO[bytes], name: str) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    version = npy.read_magic(member)
    if version not in HEADERS:
        raise ValueError(f"{name} has the format {version[0]}.{version[1]}, which plain arrays do not need")
    try:
        shape, _, dtype = HEADERS[version](member)
    except (MemoryError, RecursionError) as error:  # from Python's parser, if the header is only brackets
        raise ValueError(f"the header of {name} is nested too deeply") from error
    return shape, dtype
