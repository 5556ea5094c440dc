"""A stage is believed only if it finished and its outputs are those that it wrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from augment.errors import OutputError
from augment.files import digest_files
from augment.generators.cgan import CganConfig
from augment.identity import Identity
from augment.output_folders import OutputFolder, open_output
from pipelines.stage_file import Entry, listed_files, plan_stage, read_entries, write_entry

INPUTS = Identity({"generator": CganConfig()}, {"training images": "ab"})
DONE = Entry(finished=True, inputs=INPUTS.as_json(), outputs="d1")


@pytest.fixture
def output(tmp_path: Path) -> Iterator[OutputFolder]:
    with open_output(tmp_path / "out", "run", files=("stages.json",)) as folder:
        yield folder


PLANS = [
    (None, None, None, "it has not been run here"),
    (DONE.model_copy(update={"finished": False}), None, None, "it was interrupted and continues where it stopped"),
    (DONE, "fit", "d1", "fit is run again"),
    (DONE, None, None, "its output is gone"),
    (DONE, None, "d2", "its output was changed or damaged"),
    (DONE.model_copy(update={"outputs": None}), None, "d1", "its output was changed or damaged"),
    (DONE.model_copy(update={"inputs": {}}), None, "d1", "everything: the stored settings cannot be read"),
]


@pytest.mark.parametrize(("entry", "earlier", "digest", "why"), PLANS)
def test_a_stage_runs_for_a_reason(entry: Entry | None, earlier: str | None, digest: str | None, why: str) -> None:
    plan = plan_stage("fit", INPUTS, entry, earlier, digest)
    assert (plan.runs, plan.why) == (True, why)


def test_a_stage_with_its_outputs_is_left_alone() -> None:
    assert not plan_stage("fit", INPUTS, DONE, None, "d1").runs


def test_entries_come_back(output: OutputFolder) -> None:
    assert read_entries(output.path) == {}
    write_entry(output, "fit", DONE)
    write_entry(output, "generate", DONE.model_copy(update={"finished": False}))
    write_entry(output, "fit", DONE.model_copy(update={"outputs": "d2"}))
    entries = read_entries(output.path)
    assert (list(entries), entries["fit"].outputs, entries["generate"].finished) == (["fit", "generate"], "d2", False)


@pytest.mark.parametrize("text", ["", "[]", '{"fit": 3}', '{"fit": {"finished": "perhaps"}}', "[" * 10**5])
def test_damaged_entries_are_one_sentence(text: str, output: OutputFolder) -> None:
    (output.path / "stages.json").write_text(text)
    with pytest.raises(OutputError, match=r"stages\.json is damaged"):
        read_entries(output.path)


def test_a_digest_changes_with_any_name_or_byte(tmp_path: Path) -> None:
    for name, text in (("a", "1"), ("b", "2"), ("c", "1")):
        (tmp_path / name).write_text(text)
    digests = {digest_files(tmp_path, names) for names in (["a"], ["b"], ["c"], ["a", "b"], ["b", "a"], [])}
    assert len(digests) == 6
    before = digest_files(tmp_path, ["a", "b"])
    (tmp_path / "b").write_text("3")
    assert digest_files(tmp_path, ["a", "b"]) != before
    assert digest_files(tmp_path, ["a", "gone"]) is None
    assert digest_files(tmp_path, ["a", "a/below"]) is None


def test_the_files_of_a_subfolder_are_those_that_it_lists(output: OutputFolder) -> None:
    with open_output(output.path / "synthetic", "generate") as inner:
        inner.write("boots/0.png", b"1")
        inner.write("manifest.csv", b"2")
    (output.path / "synthetic/notes.txt").write_text("mine")
    assert listed_files(output.path, ["synthetic"]) == ["synthetic/boots/0.png", "synthetic/manifest.csv"]
    assert digest_files(output.path, listed_files(output.path, ["gone"])) is None
