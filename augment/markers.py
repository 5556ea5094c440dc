"""The marker file of an output folder, `.augment.json`.

It stores which command wrote the folder, the identity of the output and the names of the command's files. The module
`output_folders` documents how it is used.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from augment.files import read_json, write_bytes

MARKER = ".augment.json"


def _check_relative(name: str) -> str:
    invalid = any(part in ("", ".", "..") for part in name.split("/"))  # the first part of an absolute name is empty
    if invalid or "\0" in name or name[1:2] == ":" or (os.name == "nt" and "\\" in name):
        raise ValueError("a file outside the folder")
    return name


FileName = Annotated[str, AfterValidator(_check_relative)]


class Marker(BaseModel):
    """The content of `.augment.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2]
    command: str = Field(pattern=r"^[a-z]{1,20}$")
    identity: dict[str, Any]
    files: tuple[FileName, ...] = ()  # files that the command has written or is about to write
    replaced: tuple[FileName, ...] = ()  # the journal: files to be deleted before anything is written
    finished: bool = False
    sealed: tuple[FileName, ...] = ()  # files of a finished output whose content must not change
    seal: str | None = None  # digest of the sealed files


def read_marker(path: Path) -> Marker | None:
    """Return the marker of a folder, or None if it has none.

    Raises `OutputError` if the marker is damaged or of another version.
    """
    try:
        return read_json(path / MARKER, Marker)
    except (FileNotFoundError, NotADirectoryError):
        return None


def write_marker(path: Path, marker: Marker) -> None:
    """Replace the marker of a folder and return when it is on the disk."""
    write_bytes(path / MARKER, marker.model_dump_json().encode())
