"""results.json as it is read back: the form that readers may rely on, of which more keys may follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from augment.files import read_json


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class Summary(_Open):
    """A metric of an arm over its repeats. std: None with one repeat."""

    mean: float
    std: float | None
    values: list[float]


class Recommendation(_Open):
    """What to train with; arm is None if nothing was compared."""

    augment: bool
    arm: str | None
    ratio: float
    sentence: str


class Results(_Open):
    """The content of results.json. arms: by arm, by metric."""

    dataset: dict[str, Any]
    protocol: dict[str, Any]
    arms: dict[str, dict[str, Summary]]
    comparisons: list[dict[str, Any]]
    fidelity: dict[str, Any]
    recommendation: Recommendation


def read_results(path: Path) -> dict[str, Any]:
    """The content of results.json. Raises `OutputError` if it is damaged."""
    return read_json(path, Results).model_dump()
