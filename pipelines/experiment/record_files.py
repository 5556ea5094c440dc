"""Files of records, one line of JSON each, in an output folder: records.jsonl of classifiers, trials.jsonl of a search.

Each line also holds the digest of the identity that it belongs to and a checksum, so that a line that a kill cut
short, a flipped bit or a record of other settings never becomes part of a result.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from augment.errors import OutputError
from augment.output_folders import OutputFolder

Record = dict[str, Any]


class _Seal(BaseModel):
    """The two fields that a line holds beside its record."""

    identity: str
    checksum: str


@dataclass(frozen=True)
class RecordFile:
    """The records under one name in an output folder.

    model: the fields that a record has at least. key: what tells a record from all others; of two with one key the
    first counts.
    """

    output: OutputFolder
    name: str
    model: type[BaseModel]
    key: Callable[[Mapping[str, Any]], object]

    def append(self, *records: Mapping[str, Any]) -> None:
        """Add records; they are on the disk on return."""
        self.output.append(self.name, "".join(map(self._line, records)))

    def read(self) -> list[Record]:
        """The records in their order. Lines that are damaged or cut short are dropped from the file.

        Raises `OutputError` if a record belongs to other settings or images.
        """
        content = self.output.read(self.name) or b""
        records: dict[object, Record] = {}
        for line in content.splitlines():
            record = self._parse(line)
            if record is not None:
                records.setdefault(self.key(record), record)
        whole = "".join(map(self._line, records.values())).encode()
        if whole != content:
            self.output.write(self.name, whole)
        return list(records.values())

    def _line(self, record: Mapping[str, Any]) -> str:
        sealed = {**record, "identity": self.output.digest}
        return json.dumps({**sealed, "checksum": _checksum(sealed)}) + "\n"

    def _parse(self, line: bytes) -> Record | None:
        try:
            seal = _Seal.model_validate_json(line)
            self.model.model_validate_json(line)
            record = dict(json.loads(line))
        except (ValidationError, ValueError):
            return None
        del record["checksum"]
        if seal.checksum != _checksum(record):
            return None
        del record["identity"]
        if seal.identity != self.output.digest:
            raise OutputError(
                f"{self.output.path / self.name} holds records of other settings or images; choose another folder, "
                "or give --overwrite to begin anew"
            )
        return record


def _checksum(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record).encode()).hexdigest()[:16]
