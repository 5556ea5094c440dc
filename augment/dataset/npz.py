"""The one opener of `.npz` archives: plain arrays only, and no more memory than the data in the file need.

numpy's own reader allocates what a header announces, before it has read a byte of it, and passes on whatever zipfile,
its four decompressors and the parser of headers raise.
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
BOMB_BYTES, BOMB_RATIO = 2**28, 200  # a larger member is refused if it is compressed by more; pictures reach about 20


def read_arrays(path: Path, wanted: Collection[str]) -> dict[str, NDArray[np.generic]]:
    """The arrays of an archive whose names are among `wanted`.

    Raises `SourceError` if it is no archive of plain arrays, `PermissionError` if it may not be read.
    """
    try:
        if kind := describe_irregular(path):
            raise ValueError(f"it is {kind}")
        with warnings.catch_warnings(), zipfile.ZipFile(path) as archive:
            warnings.simplefilter("ignore")  # numpy warns of headers written by Python 2, which it reads all the same
            size = path.stat().st_size
            members = {info.filename: info for info in archive.infolist()}
            if bare := sorted(set(wanted) & set(members)):
                raise ValueError(f"its member {bare[0]!r} lacks the ending .npy")
            return {
                name: _read_member(archive, members[f"{name}.npy"], size) for name in wanted if f"{name}.npy" in members
            }
    except (PermissionError, MemoryError):
        raise
    except Exception as error:  # damaged archives make the libraries raise nearly anything
        reason = shortened(" ".join(str(error).split())) or type(error).__name__
        raise SourceError(f"{path} is no readable .npz of plain arrays ({reason}); save it with numpy.savez") from error


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, archive_size: int) -> NDArray[np.generic]:
    if info.flag_bits & 1:
        raise ValueError(f"{info.filename} is encrypted")
    if info.compress_size > archive_size:
        raise ValueError(f"{info.filename} is cut short")
    if info.file_size > max(BOMB_BYTES, BOMB_RATIO * info.compress_size):
        raise ValueError(f"{info.filename} would unpack {info.compress_size:,} bytes to {info.file_size:,}")
    with archive.open(info) as member:
        shape, dtype = _read_header(member, info.filename)
        held = info.file_size - member.tell()
    if dtype.hasobject or dtype.fields is not None or dtype.subdtype is not None:
        raise ValueError(f"{info.filename} holds {'objects' if dtype.hasobject else 'structures'}, not numbers or text")
    count = math.prod(shape)
    if min(shape, default=0) < 0 or count * dtype.itemsize > held or (count and not dtype.itemsize):
        raise ValueError(
            f"{info.filename} holds {held:,} bytes and announces {shortened(str(shape))} values of {dtype.itemsize}"
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
    except (MemoryError, RecursionError) as error:  # Python's parser, on a header of nothing but brackets
        raise ValueError(f"the header of {name} is nested too deeply") from error
    return shape, dtype
