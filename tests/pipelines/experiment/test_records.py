"""A record is read as it was written, or not at all, and never under other settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from toy import record

from augment.identity import Identity
from augment.output_folders import OutputFolder, open_output
from pipelines.experiment.records import Line, Record, RecordFile


class Score(Line):
    """A line of the file."""

    arm: str
    repeat: int
    accuracy: float
    extra: tuple[str | None, ...] = ()

    @property
    def key(self) -> tuple[str, int]:
        return self.arm, self.repeat


FIRST = Score(arm="none", repeat=0, accuracy=0.1 + 0.2, extra=("ü", None))
SECOND = Score(arm="classical", repeat=0, accuracy=1 / 3)


def records_in(output: OutputFolder) -> RecordFile[Score]:
    return RecordFile(output, "records.jsonl", Score)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[RecordFile[Score]]:
    with open_output(tmp_path / "out", "evaluate", Identity(data={"images": "a"})) as output:
        yield records_in(output)


def path_of(file: RecordFile[Score]) -> Path:
    return file.output.path / file.name


def test_records_come_back_as_they_were(file: RecordFile[Score]) -> None:
    assert file.read() == []
    file.append(FIRST)
    file.append(SECOND)
    assert file.read() == [FIRST, SECOND]
    assert [json.loads(line)["arm"] for line in path_of(file).read_text().splitlines()] == ["none", "classical"]


DAMAGES = {
    "cut": lambda line: line[:-20],
    "cut behind a brace": lambda line: line[: line.index(b"}") + 1] if b"}" in line[:-1] else line[:-2],
    "a digit": lambda line: line.replace(b"0.3333", b"0.4333"),
    "a name": lambda line: line.replace(b"classical", b"classicol"),
    "no checksum": lambda line: line.split(b', "checksum"')[0] + b"}",
    "another type": lambda line: line.replace(b'"repeat": 0', b'"repeat": "x"'),
    "noise": lambda line: b"\xff\x00\x1b" + line,
    "a list": lambda line: b"[1, 2]",
    "deep": lambda line: b"[" * 100_000,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_line_is_dropped_and_the_others_stay(damage: str, file: RecordFile[Score]) -> None:
    file.append(FIRST, SECOND)
    first, second = path_of(file).read_bytes().splitlines()
    path_of(file).write_bytes(DAMAGES[damage](second) + b"\n" + first + b"\n")
    assert file.read() == [FIRST]
    assert path_of(file).read_bytes() == first + b"\n"
    file.append(SECOND)
    assert file.read() == [FIRST, SECOND]


def test_a_record_goes_on_behind_a_line_that_was_cut(file: RecordFile[Score]) -> None:
    file.append(FIRST)
    path_of(file).write_bytes(path_of(file).read_bytes() + b'{"arm": "cl')
    assert file.read() == [FIRST]
    file.append(SECOND)
    assert file.read() == [FIRST, SECOND]


def test_a_record_that_is_there_twice_counts_once(file: RecordFile[Score]) -> None:
    file.append(FIRST, SECOND, FIRST.model_copy(update={"accuracy": 0.9}))
    assert file.read() == [FIRST, SECOND]


def test_records_of_other_images_do_not_count(file: RecordFile[Score], tmp_path: Path) -> None:
    file.append(FIRST)
    with open_output(tmp_path / "other", "evaluate", Identity(data={"images": "b"})) as output:
        output.write(file.name, path_of(file).read_bytes())
        assert records_in(output).read() == []
        assert output.read(file.name) == b""


def test_only_lines_with_the_digest_of_their_key_count(file: RecordFile[Score]) -> None:
    replace(file, digests={FIRST.key: "a", SECOND.key: "b"}).append(FIRST, SECOND)
    kept = replace(file, digests={FIRST.key: "a", SECOND.key: "changed"})
    assert kept.read() == [FIRST]
    kept.append(SECOND)
    assert replace(file, digests={SECOND.key: "changed"}).read() == [SECOND]  # there is no such arm any more
    assert file.read() == []


def test_a_record_of_an_older_version_lacks_a_metric(file: RecordFile[Score]) -> None:
    records = RecordFile(file.output, "records.jsonl", Record)
    complete, older = record(0, "none", 0.7), record(1, "none", 0.7)
    del older.metrics["pairwise_auc"]
    records.append(complete, older)
    assert records.read() == [complete]
