"""Read `.zip` and `.tar` archives as trees of files, without unpacking them into a folder.

A compressed `.tar` has no random access, so it is first decompressed into a temporary file without a name.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import mmap
import posixpath
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, Self

from augment.dataset.trees import is_visible, visible_entries
from augment.errors import DISK_FULL, SourceError
from augment.words import shortened

MAX_BYTES = 2**30  # of one file in an archive; more is no picture
Read = Callable[[], bytes]
SUFFIXES = (".zip", ".tar", ".tgz", ".gz", ".tbz2", ".bz2", ".txz", ".xz")
COMPRESSIONS: dict[bytes, Callable[..., Any]] = {  # functions that open a file, by its first bytes
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}


@dataclass
class Entry:
    """A file or a folder in an archive. `read` is None for folders. Its `str` is ARCHIVE/PATH."""

    path: PurePosixPath
    read: Read | None = None
    entries: dict[str, Self] = field(default_factory=dict)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.name

    def is_dir(self) -> bool:
        """Return whether this is a folder."""
        return self.read is None

    def iterdir(self) -> Iterator[Self]:
        """Yield the content of a folder."""
        return iter(self.entries.values())

    def open(self, mode: Literal["rb"]) -> IO[bytes]:
        """Read a file."""
        assert self.read is not None, "a folder cannot be opened"
        return io.BytesIO(self.read())


def read_archive(path: Path) -> Entry:
    """Return the root of the files in an archive: the archive itself, or the only folder in it if that holds folders.

    Raises `SourceError` if the archive is damaged.
    """
    read = _read_zip if path.suffix.lower() == ".zip" else _read_tar
    root = Entry(PurePosixPath(path.as_posix()))
    try:
        for name, content in read(path):
            if parts := PurePosixPath(name).parts:  # the name "." has none
                _insert(root, parts, content)
    except (zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError, ValueError) as error:
        if isinstance(error, PermissionError) or (isinstance(error, OSError) and error.errno in DISK_FULL):
            raise
        raise SourceError(f"{path} is not a readable archive ({shortened(str(error))}); pack it again") from error
    visible = visible_entries(root)
    if len(visible) == 1 and visible[0].is_dir() and any(entry.is_dir() for entry in visible_entries(visible[0])):
        return visible[0]
    return root


def _insert(root: Entry, parts: tuple[str, ...], read: Read) -> None:
    folder = root
    for part in parts[:-1]:
        folder = folder.entries.setdefault(part, Entry(folder.path / part))
    folder.entries[parts[-1]] = Entry(folder.path / parts[-1], read)


def _read_zip(path: Path) -> Iterator[tuple[str, Read]]:
    archive = zipfile.ZipFile(path)
    members = archive.infolist()
    by_backslash = not any("/" in info.filename for info in members)  # as some old programs for Windows write names
    for info in members:
        name = info.filename.replace("\\", "/") if by_backslash else info.filename
        if not name.endswith("/"):  # as the names of folders do
            yield name, partial(_read_member, partial(archive.read, info), info.file_size)


def _read_tar(path: Path) -> Iterator[tuple[str, Read]]:
    with _decompressed(path) as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with tarfile.open(fileobj=content, mode="r:") as archive:
        members = archive.getmembers()
    files = {posixpath.normpath(info.name): info for info in members if info.isreg()}
    links = [info for info in members if info.islnk() or info.issym()]
    for link in sorted(links, key=tarfile.TarInfo.issym):  # hard links first: a symbolic link may point to one
        name = posixpath.normpath(link.name)
        if all(is_visible(part) for part in name.split("/")):
            files.setdefault(name, _linked(files, link))
    for name, member in files.items():
        yield name, partial(_read_member, partial(_slice, content, member), member.size)


def _linked(files: Mapping[str, tarfile.TarInfo], link: tarfile.TarInfo) -> tarfile.TarInfo:
    """Return the file that a link stands for, of the regular files by their paths.

    A hard link has the path of the file: tar stores the second name of a file as a link to the first one. A symbolic
    link has a path from its own folder.
    """
    target = posixpath.join(posixpath.dirname(link.name), link.linkname) if link.issym() else link.linkname
    if member := files.get(posixpath.normpath(target)):
        return member
    raise tarfile.ReadError(f"{link.name} is a link to {link.linkname}, which is no file in it; pack with tar -h")


@contextmanager
def _decompressed(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        start = file.read(max(map(len, COMPRESSIONS)))
        decompress = next((function for mark, function in COMPRESSIONS.items() if start.startswith(mark)), None)
        if decompress is None:
            yield file
            return
        file.seek(0)
        with tempfile.TemporaryFile() as content:
            with decompress(file) as compressed:
                shutil.copyfileobj(compressed, content)
            content.flush()
            yield content


def _slice(content: mmap.mmap, info: tarfile.TarInfo) -> bytes:
    return content[info.offset_data : info.offset_data + info.size]


def _read_member(read: Read, size: int) -> bytes:
    if size > MAX_BYTES:
        raise OSError(f"it has {size:,} bytes")
    return read()
