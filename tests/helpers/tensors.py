"""Weights and steps of checkpoints and models."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from augment.tensor_files import load_tensors


class About(BaseModel):
    """Any description."""

    model_config = ConfigDict(extra="allow")

    step: int = 0


def weights(path: Path) -> dict[str, Tensor]:
    return load_tensors(path, About)[0]


def step_of(path: Path) -> int:
    return load_tensors(path, About)[1].step
