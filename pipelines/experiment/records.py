"""A record: one classifier, trained in one arm of one repeat and tested, as a line of records.jsonl."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Record = Mapping[str, Any]


def of_arm(records: Sequence[Record], arm: str) -> list[Record]:
    """The records of one arm, by repeat."""
    return sorted((r for r in records if r["arm"] == arm), key=lambda r: int(r["repeat"]))


def encode(predicted: NDArray[np.integer]) -> str:
    """Predicted classes, below 65,536, in base64: a record stays one line."""
    return base64.b64encode(predicted.astype("<u2").tobytes()).decode("ascii")


def decode(text: str) -> NDArray[np.uint16]:
    """What `encode` made a string of."""
    return np.frombuffer(base64.b64decode(text), "<u2")
