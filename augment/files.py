"""Atomic writing and safe reading of single files.

A file is written under a random temporary name in the same folder and then renamed, so that a reader or a crash finds
either the old content or the new content. `remove_temporary_files` deletes the temporary files that a killed process
left. Nothing is written through a link, and only plain files are read.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from augment.errors import OutputError

M = TypeVar("M", bound=BaseModel)
TEMPORARY = re.compile(r"\.augment-[0-9a-f]{16}\.part")
FILE_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # opening a named pipe must not wait for a writer


def write_bytes(path: Path, data: bytes) -> None:
    """Replace the content of `path`, and return when the new content is on the disk, not only in the system cache.

    The folder of `path` is made if it is missing. Raises `OSError` that names `path` if writing fails; the old content
    is then unchanged.
    """
    with errors_naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(str(path), data, durable=True)
        sync_folder(path.parent)


def write_atomically(path: str, data: bytes, *, durable: bool = False) -> None:
    """Replace the content of `path` atomically, fast enough for thousands of files.

    After a kill the file is complete. After a power failure this is certain only if `durable`.
    """
    with replacing(path) as descriptor, errors_naming(path):
        _write_all(descriptor, data)
        if durable:
            os.fsync(descriptor)


@contextmanager
def replacing(path: str) -> Iterator[int]:
    """Yield the descriptor of a new file that replaces `path` at the end of the block, or is deleted if it raises.

    Raises `OSError` that names `path` if the file cannot be opened or cannot replace it.
    """
    temporary = os.path.join(os.path.dirname(path), f".augment-{os.urandom(8).hex()}.part")
    try:
        with errors_naming(path):
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW, 0o666)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
        with errors_naming(path):
            os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write_text(path: Path, text: str) -> None:
    """Replace the content of `path` with `text` in UTF-8, as `write_bytes` does."""
    write_bytes(path, text.encode())


def append_bytes(path: Path, data: bytes) -> None:
    """Append `data` to `path`, which is created if necessary, and flush it to the disk.

    Raises `OutputError` if `path` is not a plain file, or has a second name elsewhere (a hard link).
    """
    with errors_naming(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | NO_FOLLOW | NO_WAIT, 0o666)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                raise OutputError(f"{path} is not a plain file with one name; remove it or choose another folder")
            _write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_bytes(path: Path) -> bytes:
    """Return the content of a plain file.

    Raises `OSError` if the file does not exist, `OutputError` if it is a link, a pipe or a device.
    """
    if path.is_symlink():
        raise OutputError(f"{path} is a link, expected a plain file; remove it or choose another folder")
    with errors_naming(path):
        descriptor = os.open(path, os.O_RDONLY | NO_FOLLOW | NO_WAIT)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OutputError(f"{path} is not a plain file; remove it or choose another folder")
        with os.fdopen(descriptor, "rb") as file:
            return file.read()


def read_json(path: Path, model: type[M]) -> M:
    """Read a JSON file and validate it as `model`.

    Raises `OSError` if the file does not exist, and `OutputError` that names the file and the first invalid key if its
    content does not fit the model.
    """
    try:
        return model.model_validate_json(read_bytes(path))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(map(str, first["loc"]))[:80]
        raise OutputError(
            f"{path} is damaged, or of another version of this program ({key + ': ' if key else ''}"
            f"{first['msg'].lower()[:120]}); remove the folder {path.parent}, or choose another one"
        ) from error


def describe_irregular(path: Path) -> str | None:
    """Return None if `path` is a regular file or a link to one, else its kind, such as "a named pipe".

    Raises `OSError` if the path does not exist or cannot be examined.
    """
    mode = path.stat().st_mode
    return None if stat.S_ISREG(mode) else FILE_KINDS.get(stat.S_IFMT(mode), "not a regular file")


def has_mark(path: Path, marks: Collection[bytes]) -> bool:
    """Return whether `path` is a plain file (not a link) that contains one of `marks` in its first 512 bytes.

    A program can thus recognise the files that it wrote itself.
    """
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(512)
    return any(mark in head for mark in marks)


def path_inside(folder: Path, name: str) -> Path:
    """Return the path in `folder` of `name`, a relative path with /. Raises `OutputError` if a part of it is a link."""
    path = folder
    for part in PurePosixPath(name).parts:
        path = path / part
        if path.is_symlink():
            raise OutputError(
                f"{path} is a link, and nothing is written through links; remove it or choose another folder"
            )
    return path


def digest_files(folder: Path, names: Iterable[str]) -> str | None:
    """Return one digest of the names and contents of files in `folder`, or None if a file is missing."""
    digest = hashlib.sha256()
    for name in names:
        try:
            content = read_bytes(path_inside(folder, name))
        except (FileNotFoundError, NotADirectoryError):
            return None
        digest.update(f"{name}\0".encode() + hashlib.sha256(content).digest())
    return digest.hexdigest()


def remove_temporary_files(folder: Path) -> None:
    """Remove the temporary files that a killed process left directly in `folder`."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if TEMPORARY.fullmatch(path.name) and not path.is_dir():
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Flush the names of the files in `folder` to the disk, if the operating system supports it."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def errors_naming(path: Path | str) -> Iterator[None]:
    """Make every `OSError` in the block name `path`; errors of writing do not name a file by themselves.

    Raises `OutputError` if `path` is a folder.
    """
    try:
        yield
    except IsADirectoryError as error:
        raise OutputError(f"{path} is a folder, expected a file; remove it or choose another folder") from error
    except OSError as error:
        error.filename = str(path)
        error.filename2 = None
        raise


def _write_all(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    while written < len(data):  # a disk that is nearly full accepts only a part of the data
        written += os.write(descriptor, memoryview(data)[written:])
