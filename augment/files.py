"""Single files on disk: written whole or not at all, never through a link, and read only where they are plain files.

A file is written under a random temporary name beside its place and then renamed, so a reader or a crash finds the old
content or the new one and nothing between. `sweep` removes what a killed process left under such names.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from augment.errors import OutputError

M = TypeVar("M", bound=BaseModel)
TEMPORARY = re.compile(r"\.augment-[0-9a-f]{16}\.part")
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # opening a named pipe must not wait for a writer


def write_bytes(path: Path, data: bytes) -> None:
    """Replace the content of `path`; it is on the disk, not only in the system's memory, on return.

    Raises `OSError` that names `path` if the disk refuses; the old content stays.
    """
    write_quickly(str(path), data, durable=True)
    with named_errors(path):
        sync_folder(path.parent)


def write_quickly(path: str, data: bytes, *, durable: bool = False) -> None:
    """The same for thousands of files, whole after a kill but, if not `durable`, not after a power cut."""
    temporary = os.path.join(os.path.dirname(path), f".augment-{os.urandom(8).hex()}.part")
    try:
        with named_errors(path):
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW, 0o666)
            try:
                _write_all(descriptor, data)
                if durable:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write_text(path: Path, text: str) -> None:
    """`write_bytes` in UTF-8."""
    write_bytes(path, text.encode())


def append_bytes(path: Path, data: bytes) -> None:
    """Add `data` to the end of `path`, a new file if there is none, and bring it to the disk.

    Raises `OutputError` if `path` is no plain file, or is one that has a second name elsewhere (a hard link).
    """
    with named_errors(path):
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
    """The content of a plain file. Raises `OSError` if there is none, `OutputError` for a link, a pipe or a device."""
    if path.is_symlink():
        raise OutputError(f"{path} is a link, expected a plain file; remove it or choose another folder")
    with named_errors(path):
        descriptor = os.open(path, os.O_RDONLY | NO_FOLLOW | NO_WAIT)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OutputError(f"{path} is not a plain file; remove it or choose another folder")
        with os.fdopen(descriptor, "rb") as file:
            return file.read()


def read_json(path: Path, model: type[M]) -> M:
    """The content of a JSON file as `model`.

    Raises `OSError` if there is no such file, `OutputError` that names it and the first wrong key if its content is not
    what this program writes.
    """
    try:
        return model.model_validate_json(read_bytes(path))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))[:80]
        raise OutputError(
            f"{path} is damaged, or of another version of this program ({where + ': ' if where else ''}"
            f"{first['msg'].lower()[:120]}); remove it or choose another folder"
        ) from error


def irregular(path: Path) -> str | None:
    """What `path` is, such as "a named pipe", if it is no regular file, or a link to one; otherwise None.

    Raises `OSError` if it is not there or if that cannot be told.
    """
    mode = path.stat().st_mode
    return None if stat.S_ISREG(mode) else KINDS.get(stat.S_IFMT(mode), "no regular file")


def inside(folder: Path, name: str) -> Path:
    """The path of `name`, relative with /, in `folder`. Raises `OutputError` if a part of it is a link."""
    path = folder
    for part in PurePosixPath(name).parts:
        path = path / part
        if path.is_symlink():
            raise OutputError(
                f"{path} is a link, and nothing is written through links; remove it or choose another folder"
            )
    return path


def digest_files(folder: Path, names: Iterable[str]) -> str | None:
    """One digest of the names and contents of files in `folder`; None if one of them is not there."""
    total = hashlib.sha256()
    for name in names:
        try:
            content = read_bytes(inside(folder, name))
        except (FileNotFoundError, NotADirectoryError):
            return None
        total.update(f"{name}\0".encode() + hashlib.sha256(content).digest())
    return total.hexdigest()


def sweep(folder: Path) -> None:
    """Remove the temporary files that a killed process left in `folder` itself."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if TEMPORARY.fullmatch(path.name) and not path.is_dir():
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Bring the names in `folder` to the disk, where the system can."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def named_errors(path: Path | str) -> Iterator[None]:
    """Let every `OSError` name `path`, also one of a write, which by itself names nothing.

    Raises `OutputError` where a folder has the name of the file.
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
    while written < len(data):  # a disk that is nearly full takes a part
        written += os.write(descriptor, memoryview(data)[written:])
