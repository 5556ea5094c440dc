"""Output folders: nothing that somebody else put there is ever lost, and no file is ever half written.

A folder that a command writes carries a marker, `.augment.json`, which names the command and the files that are its
own. A folder that holds anything else is refused; `overwrite` replaces what the marker names and nothing more.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from augment.errors import OutputError

MARKER = ".augment.json"
SETTINGS = "settings.yaml"


def claim(folder: Path, command: str, files: Sequence[str], *, overwrite: bool = False, resume: bool = False) -> None:
    """Make `folder` ready to be written by `command`, which will write `files`: relative paths or glob patterns.

    A missing or empty folder is taken. One that the same command wrote is kept with `resume` and emptied of its files
    with `overwrite`. Raises `OutputError` in every other case, before anything is touched.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; --out needs a folder")
    owner, owned = _read_marker(folder)
    if owner not in (None, command):
        raise OutputError(f"{folder} holds the output of `augment {owner}`; choose another folder")
    continued = resume and owner == command
    if not continued:
        _refuse_or_clear(folder, command, files, owned, overwrite)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(f"{folder} cannot be made, a file is in its way; choose another folder") from error
    kept = owned if continued else []
    write_text(folder / MARKER, json.dumps({"command": command, "files": sorted({*kept, *files})}))


def claim_for(settings: dict[str, Any], folder: Path, command: str, files: Sequence[str], *, overwrite: bool) -> None:
    """`claim` for what comes of these settings, new or continued; they are kept in settings.yaml.

    Raises `OutputError` too if the command was run here with other settings.
    """
    path = folder / SETTINGS
    if not overwrite and holds_output_of(folder, command) and path.exists():
        old = yaml.safe_load(path.read_text(encoding="utf-8"))
        if changed := [key for key in settings if old.get(key) != settings[key]]:
            raise OutputError(
                f"{folder} was begun with other {' and '.join(changed)}; choose another --out, "
                "or give --overwrite to begin anew"
            )
    claim(folder, command, (SETTINGS, *files), overwrite=overwrite, resume=not overwrite)
    write_text(path, yaml.safe_dump(settings, sort_keys=False))


def holds_output_of(folder: Path, command: str) -> bool:
    """Whether `command` has claimed `folder`."""
    return _read_marker(folder)[0] == command


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a crash, finds the old content or the new one and nothing between."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """`write_bytes` in UTF-8."""
    write_bytes(path, text.encode())


def _read_marker(folder: Path) -> tuple[str | None, list[str]]:
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        files = [PurePosixPath(file) for file in marker["files"]]
        if any(file.is_absolute() or ".." in file.parts or not file.parts for file in files):
            raise ValueError("a file outside the folder")
        return str(marker["command"]), [str(file) for file in files]
    except (FileNotFoundError, NotADirectoryError):
        return None, []
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{folder / MARKER} cannot be read; delete it or choose another folder") from error


def _refuse_or_clear(folder: Path, command: str, files: Sequence[str], owned: list[str], overwrite: bool) -> None:
    present = [path for path in folder.iterdir() if path.name != MARKER] if folder.exists() else []
    if present and not overwrite:
        what = f"the output of `augment {command}`" if owned else f"other files ({min(present).name}, ...)"
        raise OutputError(f"{folder} already holds {what}; choose another folder, or give --overwrite")
    own = {path for pattern in owned for path in folder.glob(pattern)}
    foreign = {path for pattern in files for path in folder.glob(pattern)} - own
    if foreign:
        raise OutputError(f"{min(foreign)} was not written by `augment {command}`; move it or choose another folder")
    for path in own:
        if path.is_file():
            path.unlink()
    for inner in {path.parent for path in own} - {folder}:
        if inner.is_dir() and not any(inner.iterdir()):  # an empty class folder would be no valid source
            inner.rmdir()
