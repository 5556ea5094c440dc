"""stages.json of `augment run`: what every stage was last run with, whether it finished, and a digest of its outputs.

A finished stage is believed only if its outputs are still those that it wrote. The file is written before a stage
begins, so that a kill at any moment is followed by a run that knows what is unfinished.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, RootModel

from augment.files import inside, read_json
from augment.identity import Identity
from augment.markers import MARKER, read_marker
from augment.output_folders import OutputFolder

STAGES_FILE = "stages.json"


class Entry(BaseModel):
    """A stage as it was last run. inputs: `Identity.as_json`. outputs: `digest_files`, once it has finished."""

    finished: bool
    inputs: dict[str, Any]
    outputs: str | None = None


class _Entries(RootModel[dict[str, Entry]]):
    pass


@dataclass(frozen=True)
class Plan:
    """What would be done about a stage, and why."""

    name: str
    runs: bool
    why: str
    seconds: float = 0.0  # that it is expected to take from its beginning

    @property
    def sentence(self) -> str:
        """The plan in words."""
        return f"{self.name} {'has to run' if self.runs else 'is up to date'}: {self.why}"


def read_entries(folder: Path) -> dict[str, Entry]:
    """By the name of the stage; empty where no pipeline was run. Raises `OutputError` if the file is damaged."""
    marker = read_marker(folder)
    if marker is None or marker.command != "run" or STAGES_FILE in marker.replaced:
        return {}
    try:
        return read_json(folder / STAGES_FILE, _Entries).root
    except FileNotFoundError:
        return {}


def write_entry(output: OutputFolder, stage: str, entry: Entry) -> None:
    """Replace the entry of one stage."""
    entries = {**read_entries(output.path), stage: entry}
    output.write(STAGES_FILE, _Entries(entries).model_dump_json(indent=1))


def plan_stage(name: str, inputs: Identity, entry: Entry | None, before: str | None, digest: str | None) -> Plan:
    """Whether a stage has to run. before: the name of an earlier stage that will. digest: of its outputs now."""
    if entry is None:
        return Plan(name, True, "it has not been run here")
    changed = inputs.differences(entry.inputs)
    if changed:
        return Plan(name, True, "; ".join(changed))
    if not entry.finished:
        return Plan(name, True, "it was interrupted and goes on where it stopped")
    if before:
        return Plan(name, True, f"{before} is run again")
    if digest is None:
        return Plan(name, True, "its output is gone")
    if digest != entry.outputs:
        return Plan(name, True, "its output was changed or damaged")
    return Plan(name, False, "done, and nothing that it depends on has changed")


def listed_files(folder: Path, subfolders: Collection[str]) -> list[str]:
    """All files that the commands have listed as theirs in some subfolders, relative to `folder`."""
    names = []
    for subfolder in subfolders:
        marker = read_marker(inside(folder, subfolder))
        names += [f"{subfolder}/{name}" for name in (marker.files if marker else (MARKER,))]
    return names
