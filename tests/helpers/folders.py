"""Output folders of a small command, and what is in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from augment.identity import Identity
from augment.output_folders import open_output

FILES = ("config.yaml", "samples/step-1.png", "samples/step-2.png", "cats/000.png")


class Settings(BaseModel):
    """The settings of an invented command."""

    loss: str = "hinge"


def of(loss: str = "hinge") -> Identity:
    return Identity({"fit": Settings(loss=loss)})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def put(folder: Path, *names: str, text: str = "mine") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def work(folder: Path, loss: str = "hinge", files: tuple[str, ...] = FILES, **options: Any) -> None:
    """Write the files of a command, each with the loss in it, and finish."""
    with open_output(folder, "fit", of(loss), files=files[:1], **options) as output:
        for name in files:
            output.write(name, f"{loss} {name}")
        output.finish()


def own(folder: Path) -> Path:
    """A folder that `augment fit` has written."""
    work(folder)
    return folder


def marker(*files: object, **changes: object) -> bytes:
    return json.dumps({"format": 2, "command": "fit", "identity": {}, "files": files, **changes}).encode()
