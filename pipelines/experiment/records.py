"""The record of one classifier, and the files that hold such records.

A record file (`RecordFile`) has one line of JSON for each record: records.jsonl and fidelity.jsonl of an evaluation,
trials.jsonl and finalists.jsonl of a search. Each line also holds a digest of the settings and images that it was made
from, and a checksum. A line that was cut short, a flipped bit, or a record made with other settings therefore never
becomes part of a result.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from augment.output_folders import OutputFolder
from pipelines.metric_specs import METRICS


class Line(BaseModel):
    """The content of one line of a record file. Numbers are finite, and unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @property
    def key(self) -> Hashable:
        """What distinguishes this line from all other lines of its file."""
        raise NotImplementedError


class Record(Line):
    """One classifier, trained in one arm of one repeat and tested: a line of records.jsonl.

    size: training images of each class, in a learning curve. metrics: by the names in `metric_specs.METRICS`, all of
    them: a record of an older version that lacks some is no record, and its classifier is trained again.
    per_class_recall: K values, None for a class without test images. confusion: K x K counts; rows are true classes.
    predicted: the predicted class of each test image, encoded by `encode_labels`. mix: how the synthetic images were
    mixed in, where that was chosen on validation images. learner: a key of `learners.LEARNERS`. steps, batch_size: 0 if
    its learner converges without steps.
    """

    repeat: int
    arm: str
    fold: str
    size: int | None
    metrics: dict[str, float]
    per_class_recall: list[float | None]
    confusion: list[list[int]]
    predicted: str
    mix: dict[str, Any]
    learner: str = "network"
    seed: int
    steps: int
    batch_size: int
    seconds: float

    @field_validator("metrics")
    @classmethod
    def _complete(cls, metrics: dict[str, float]) -> dict[str, float]:
        if missing := METRICS.keys() - metrics.keys():
            raise ValueError(f"lacks {', '.join(sorted(missing))}")
        return metrics

    @property
    def key(self) -> tuple[str, str, int]:
        """Fold, arm and repeat."""
        return self.fold, self.arm, self.repeat

    @property
    def predicted_labels(self) -> NDArray[np.uint16]:
        """The predicted class of each test image: N."""
        return np.frombuffer(base64.b64decode(self.predicted), "<u2")


def records_of_arm(records: Sequence[Record], arm: str) -> list[Record]:
    """Return the records of one arm, sorted by repeat."""
    return sorted((r for r in records if r.arm == arm), key=lambda r: r.repeat)


def encode_labels(labels: NDArray[np.integer]) -> str:
    """Encode class indices, 0 to 65,535, as base64 of little-endian uint16, so that a record stays one line."""
    assert labels.max(initial=0) < 2**16
    return base64.b64encode(labels.astype("<u2").tobytes()).decode("ascii")


AnyLine = TypeVar("AnyLine", bound=Line)


@dataclass(frozen=True)
class RecordFile(Generic[AnyLine]):
    """The record file `name` in an output folder. Of two lines with the same key, the first one counts.

    digests: by the key of a line, the digest of the settings and images that it has to be made from; lines with other
    keys or digests do not count. None: all lines are made from the settings and data of the output folder.
    """

    output: OutputFolder
    name: str
    model: type[AnyLine]
    digests: Mapping[Hashable, str] | None = None

    def append(self, *lines: AnyLine) -> None:
        """Add lines. They are on the disk when this returns."""
        self.output.append(self.name, "".join(map(self._write, lines)))

    def read(self) -> list[AnyLine]:
        """Return the lines in their order, and remove those from the file that are damaged or do not count."""
        content = self.output.read(self.name) or b""
        by_key: dict[Hashable, AnyLine] = {}
        for text in content.splitlines():
            line = self._parse(text)
            if line is not None:
                by_key.setdefault(line.key, line)
        intact = "".join(map(self._write, by_key.values())).encode()
        if intact != content:
            self.output.write(self.name, intact)
        return list(by_key.values())

    def _write(self, line: AnyLine) -> str:
        fields = {**line.model_dump(mode="json"), "identity": self._digest_of(line)}
        return json.dumps({**fields, "checksum": _checksum(fields)}) + "\n"

    def _parse(self, text: bytes) -> AnyLine | None:
        try:
            check = _LineCheck.model_validate_json(text)
            fields = dict(json.loads(text))
            line = self.model.model_validate({k: v for k, v in fields.items() if k not in _LineCheck.model_fields})
        except (ValidationError, ValueError):
            return None
        del fields["checksum"]
        valid = check.checksum == _checksum(fields) and check.identity == self._digest_of(line)
        return line if valid else None

    def _digest_of(self, line: AnyLine) -> str | None:
        return self.output.digest if self.digests is None else self.digests.get(line.key)


class _LineCheck(BaseModel):
    """The two fields that a line holds beside its content."""

    identity: str
    checksum: str


def _checksum(line: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(line).encode()).hexdigest()[:16]
