"""Safe output folders: locked while a command writes them, resumable after a kill, and safe for other files in them.

Each folder that a command writes has a marker, `.augment.json`. It stores the command, the identity of the output (its
settings and data), the names of its files, and a journal: the names of files of an earlier identity that are still to
be deleted. The marker is on the disk before the first file is deleted or written, so the next call can continue after
a kill at any moment. A name is listed before its file is written; files that are not listed are never deleted or
replaced. Links inside a folder are refused. SECURITY.md describes these guarantees.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, Field, ValidationError

from augment.errors import OutputError
from augment.files import (
    TEMPORARY,
    append_bytes,
    digest_files,
    errors_naming,
    path_inside,
    read_bytes,
    remove_temporary_files,
    write_atomically,
    write_bytes,
)
from augment.identity import Identity, digest
from augment.markers import Marker, read_marker, write_marker

LOCK = ".augment.lock"
Replace = Literal["nothing", "unfinished", "anything"]


class _Holder(BaseModel):
    """The content of `.augment.lock`: the process that writes the folder."""

    pid: int
    host: str = Field(max_length=255)


class OutputFolder:
    """A folder that this process has locked for writing. It is created by `open_output`."""

    def __init__(self, path: Path, marker: Marker) -> None:
        self.path, self._marker = path, marker
        self._files = dict.fromkeys(marker.files)

    @property
    def finished(self) -> bool:
        """Whether the command has finished, all its files still exist and the sealed files are unchanged."""
        marker = self._marker
        return (
            marker.finished
            and len(_existing(self.path, marker.files)) == len(marker.files)
            and (not marker.sealed or digest_files(self.path, marker.sealed) == marker.seal)
        )

    @property
    def identity(self) -> dict[str, Any]:
        """The identity that was stored when the output was started."""
        return self._marker.identity

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that identify the settings and data; they are written into every record."""
        return digest(self._marker.identity)

    @property
    def files(self) -> tuple[str, ...]:
        """The names of this command's files, in the order in which they were reserved."""
        return tuple(self._files)

    def reserve(self, *names: str) -> None:
        """List the names of files before they are written.

        Raises `OutputError` if a file exists that this command did not write, or if a name leads through a link.
        """
        new = [name for name in names if name not in self._files]
        if not new:
            return
        _refuse_foreign(self.path, self._marker.command, new)
        self._files |= dict.fromkeys(new)
        self._save()

    def write(self, name: str, data: bytes | str, *, durable: bool = True) -> None:
        """Replace the content of one of the command's files atomically.

        durable: whether it is on the disk when this returns, and so survives a power failure. Raises `OutputError` if
        a file of this name is not the command's own.
        """
        self.reserve(name)
        path, content = path_inside(self.path, name), data.encode() if isinstance(data, str) else data
        if durable:
            write_bytes(path, content)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(str(path), content)

    def append(self, name: str, text: str) -> None:
        """Append text to one of the command's files."""
        self.reserve(name)
        append_bytes(path_inside(self.path, name), text.encode())

    def read(self, name: str) -> bytes | None:
        """Return the content of one of the command's files, or None if it does not exist."""
        path = path_inside(self.path, name)
        return read_bytes(path) if name in self._files and path.exists() else None

    def delete(self, name: str) -> None:
        """Delete one of the command's files."""
        if name in self._files:
            path_inside(self.path, name).unlink(missing_ok=True)
            del self._files[name]  # last, so that a kill in between leaves no unlisted file

    def finish(self, *sealed: str) -> None:
        """Mark the output as finished. sealed: files that must stay unchanged for the output to count as finished."""
        self._save(finished=True, sealed=sealed, seal=digest_files(self.path, sealed))

    def reopen(self) -> None:
        """Mark a finished output as unfinished, because it is continued."""
        if self._marker.finished:
            self._save(finished=False)

    def _save(self, **changes: Any) -> None:
        self._marker = self._marker.model_copy(update={"files": self.files, **changes})
        write_marker(self.path, self._marker)


@contextmanager
def open_output(
    path: Path,
    command: str,
    identity: Identity | None = None,
    *,
    files: Collection[str] = (),
    overwrite: bool = False,
    replace: Replace = "nothing",
    keep: Collection[str] = (),
) -> Iterator[OutputFolder]:
    """Lock `path` and prepare it for writing by `command`: start a new output, or resume one with the same identity.

    files: names that are known beforehand. overwrite: start again and replace the files that the command itself has
    written. replace: which outputs of another identity may be replaced without `overwrite`: "nothing"; "unfinished"
    outputs, where these are worthless; or "anything", for folders inside an output of this command. keep: files of the
    replaced output that stay, because the command can tell which of their lines still hold. Raises `OutputError`,
    before any file is changed, if something would be lost.
    """
    identity = identity or Identity()
    _find_resumable(path, command, identity, files, overwrite, replace)
    with errors_naming(path):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise OutputError(f"{path} cannot be created, a file is in its way; choose another folder") from error
    with _locked(path):
        remove_temporary_files(path)
        marker = _find_resumable(path, command, identity, files, overwrite, replace)
        if marker is None:
            marker = _new_marker(path, command, identity, () if overwrite else keep)
            write_marker(path, marker)
        if marker.replaced:
            _delete_replaced(path, marker)
            marker = marker.model_copy(update={"replaced": ()})
            write_marker(path, marker)
        for inner in {name.rpartition("/")[0] for name in marker.files} - {""}:
            remove_temporary_files(path_inside(path, inner))
        output = OutputFolder(path, marker)
        output.reserve(*files)
        yield output


def _new_marker(path: Path, command: str, identity: Identity, keep: Collection[str]) -> Marker:
    """Return the marker of a new output, whose journal lists all files of an earlier one, except those of `keep`."""
    old = read_marker(path) or Marker(format=2, command=command, identity={})
    kept = tuple(name for name in old.files if name in keep)
    return Marker(
        format=2, command=command, identity=identity.as_json(), files=kept, replaced=(*old.files, *old.replaced)
    )


def check_output(path: Path, command: str, *, files: Collection[str] = (), overwrite: bool = False) -> None:
    """Raise the `OutputError` of `open_output` for a command without an identity; nothing is locked or written."""
    _find_resumable(path, command, Identity(), files, overwrite, "nothing")


def _find_resumable(
    path: Path, command: str, identity: Identity, files: Collection[str], overwrite: bool, replace: Replace
) -> Marker | None:
    """Return the marker to resume, or None to start again. Raises `OutputError` if something would be lost."""
    if path.exists() and not path.is_dir():
        raise OutputError(f"{path} is a file; --out needs a folder")
    marker = read_marker(path)
    if marker is None:
        entries = path.iterdir() if path.exists() else ()
        others = [p.name for p in entries if p.name != LOCK and not TEMPORARY.fullmatch(p.name)]
        if others and not overwrite:
            raise OutputError(
                f"{path} already holds other files ({min(others)}, ...); choose another folder, or give --overwrite "
                "to write beside them"
            )
        _refuse_foreign(path, command, files)
        return None
    if marker.command != command:
        raise OutputError(f"{path} holds the output of `augment {marker.command}`; choose another folder")
    listed = {*marker.files, *marker.replaced}
    _refuse_foreign(path, command, [name for name in files if name not in listed])
    if overwrite or not _existing(path, listed):
        return None
    changed = identity.differences(marker.identity)
    if not changed:
        return marker
    if replace == "anything" or (replace == "unfinished" and not marker.finished):
        return None
    raise OutputError(
        f"{path} was started with other settings ({'; '.join(changed)}); choose another --out, or give --overwrite to "
        "start again"
    )


def _refuse_foreign(path: Path, command: str, names: Collection[str]) -> None:
    if foreign := _existing(path, names):
        raise OutputError(
            f"{path / min(foreign)} was not written by `augment {command}`; move it or choose another folder"
        )


def _existing(path: Path, names: Collection[str]) -> list[str]:
    """Return those of `names` that exist. Raises `OutputError` if one of them leads through a link."""
    for folder in {name.rpartition("/")[0] for name in names}:
        path_inside(path, folder)  # once per folder, because a class may have thousands of images
    root = str(path)
    existing = [name for name in names if os.path.lexists(f"{root}/{name}")]
    for name in existing:
        if os.path.islink(f"{root}/{name}"):
            path_inside(path, name)
    return existing


def _delete_replaced(path: Path, marker: Marker) -> None:
    """Delete the files in the journal and the folders that become empty."""
    kept = {*marker.files}
    for name in _existing(path, marker.replaced):
        if name not in kept and (path / name).is_file():
            os.unlink(path / name)
    folders = {path / PurePosixPath(name).parent for name in marker.replaced}
    for folder in sorted(folders - {path}, reverse=True):
        remove_temporary_files(folder)
        remove_if_empty(folder)  # an empty class folder is not valid in a source


def remove_if_empty(folder: Path) -> None:
    """Remove a folder, unless it does not exist or still holds files, which others wrote."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of the folder, which the operating system releases if this process dies."""
    file = path_inside(path, LOCK)
    lock = FileLock(file, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise OutputError(f"{path} is being written by {_describe_holder(file)}; wait until it has ended") from error
    try:
        with errors_naming(file):
            descriptor = os.open(file, os.O_WRONLY | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0))
            os.write(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
            os.close(descriptor)
        yield
    finally:
        file.unlink(missing_ok=True)  # before the release, so that no lock of another process is removed
        lock.release()


def _describe_holder(file: Path) -> str:
    try:
        holder = _Holder.model_validate_json(read_bytes(file))
    except (OSError, OutputError, ValidationError):
        return "another process"
    return f"process {holder.pid} on {holder.host}"
