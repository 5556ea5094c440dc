"""`.augment.json`, the marker of an output folder: which command wrote it, from what, and which files are its own.

`output_folders` says how it is used.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from augment.files import read_json, write_bytes

MARKER = ".augment.json"


def _relative(name: str) -> str:
    outside = any(part in ("", ".", "..") for part in name.split("/"))  # an absolute name begins with an empty part
    if outside or "\0" in name or name[1:2] == ":" or (os.name == "nt" and "\\" in name):
        raise ValueError("a file outside the folder")
    return name


FileName = Annotated[str, AfterValidator(_relative)]


class Marker(BaseModel):
    """The content of `.augment.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2]
    command: str = Field(pattern=r"^[a-z]{1,20}$")
    identity: dict[str, Any]
    files: tuple[FileName, ...] = ()  # that the command has written or is about to write
    replaced: tuple[FileName, ...] = ()  # the journal: to be deleted before anything else
    finished: bool = False
    sealed: tuple[FileName, ...] = ()  # files whose digest is the seal of a finished output
    seal: str | None = None


def read_marker(path: Path) -> Marker | None:
    """The marker of a folder, None if it has none. Raises `OutputError` if it is damaged or of another version."""
    try:
        return read_json(path / MARKER, Marker)
    except (FileNotFoundError, NotADirectoryError):
        return None


def write_marker(path: Path, marker: Marker) -> None:
    """Replace the marker of a folder; it is on the disk on return."""
    write_bytes(path / MARKER, marker.model_dump_json().encode())
