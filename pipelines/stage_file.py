"""stages.json of `augment run`: the inputs of every stage's last run, whether it finished, and a digest of its outputs.

A finished stage counts as up to date only if its outputs are unchanged. The file is also written before a stage begins,
so that after a kill at any moment the next run knows which stage is unfinished.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, RootModel

from augment.files import path_inside, read_json
from augment.identity import Identity
from augment.markers import MARKER, read_marker
from augment.output_folders import OutputFolder

STAGES_FILE = "stages.json"


class Entry(BaseModel):
    """The last run of a stage. inputs: from `Identity.as_json`. outputs: from `digest_files`, once it has finished."""

    finished: bool
    inputs: dict[str, Any]
    outputs: str | None = None


class _Entries(RootModel[dict[str, Entry]]):
    pass


@dataclass(frozen=True)
class Plan:
    """Whether a stage has to run, and why. seconds: the expected time of a run from the beginning."""

    name: str
    runs: bool
    why: str
    seconds: float = 0.0

    @property
    def sentence(self) -> str:
        """The plan as a sentence."""
        return f"{self.name} {'has to run' if self.runs else 'is up to date'}: {self.why}"


def read_entries(folder: Path) -> dict[str, Entry]:
    """Return the entries by stage, none if no pipeline was run. Raises `OutputError` if the file is damaged."""
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


def plan_stage(name: str, inputs: Identity, entry: Entry | None, earlier: str | None, digest: str | None) -> Plan:
    """Decide whether a stage has to run.

    earlier: the name of an earlier stage that has to run, if any. digest: of the stage's present outputs; None if they
    are missing.
    """
    if entry is None:
        return Plan(name, True, "it has not been run here")
    changed = inputs.differences(entry.inputs)
    if changed:
        return Plan(name, True, "; ".join(changed))
    if not entry.finished:
        return Plan(name, True, "it was interrupted and continues where it stopped")
    if earlier:
        return Plan(name, True, f"{earlier} is run again")
    if digest is None:
        return Plan(name, True, "its output is gone")
    if digest != entry.outputs:
        return Plan(name, True, "its output was changed or damaged")
    return Plan(name, False, "nothing that it depends on has changed")


def listed_files(folder: Path, subfolders: Collection[str]) -> list[str]:
    """Return the files that the markers of some subfolders list as outputs, relative to `folder`."""
    names = []
    for subfolder in subfolders:
        marker = read_marker(path_inside(folder, subfolder))
        names += [f"{subfolder}/{name}" for name in (marker.files if marker else (MARKER,))]
    return names
