"""Nothing that somebody else put into a folder is overwritten or deleted."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from folders import FILES, contents, marker, of, own, put, work

from augment.errors import OutputError
from augment.markers import MARKER, read_marker
from augment.output_folders import LOCK, open_output


def foreign(folder: Path) -> Path:
    put(folder, "thesis.txt", "cats/holiday.png")
    return folder


def under_our_names(folder: Path) -> Path:
    put(folder, "config.yaml", "samples/step-7.png")
    return folder


def another_commands(folder: Path) -> Path:
    with open_output(folder, "evaluate") as output:
        output.write("results.json", "{}")
    return folder


def a_file(path: Path) -> Path:
    path.write_text("mine")
    return path


def damaged(content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        put(folder, "config.yaml")
        (folder / MARKER).write_bytes(content)
        return folder

    return make


DAMAGED = {
    "a cut marker": b'{"command": "fit", "fi',
    "an empty marker": b"",
    "a marker that is a list": b"[1, 2]",
    "a deep marker": b"[" * 100_000,
    "a marker of version 1": b'{"command": "fit", "files": ["*.png"]}',
    "a marker with a number for a file": marker(3),
    "a marker of a file outside": marker("../victim"),
    "a marker of a file outside, later": marker("cats/../../victim"),
    "a marker of an absolute file": marker("/tmp/x"),
    "a marker of a drive": marker("C:/x"),
    "a marker of a file without a name": marker(""),
    "a marker of the folder itself": marker("."),
    "a marker of a name with a NUL": marker("a\0b"),
    "a marker of a strange command": marker(command="fit\x1b[2J"),
    "a journal of a file outside": marker(replaced=["../victim"]),
    "a marker in another encoding": b"\xff\xfe\x00{",
}
REFUSED: dict[str, tuple[Callable[[Path], Path], dict[str, bool]]] = {
    "own, of other settings": (own, {}),
    "foreign": (foreign, {}),
    "foreign under our names": (under_our_names, {}),
    "foreign under our names, with overwrite": (under_our_names, {"overwrite": True}),
    "another command's": (another_commands, {}),
    "another command's, with overwrite": (another_commands, {"overwrite": True}),
    "a file": (a_file, {}),
    "a file, with overwrite": (a_file, {"overwrite": True}),
    **{f"{name}, with overwrite": (damaged(content), {"overwrite": True}) for name, content in DAMAGED.items()},
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_folder_that_would_lose_a_file_is_refused_and_unchanged(case: str, tmp_path: Path) -> None:
    make, flags = REFUSED[case]
    folder = make(tmp_path / "out")
    put(tmp_path, "victim")
    before = contents(tmp_path)
    with pytest.raises(OutputError, match=str(folder)):
        work(folder, "fisher", **flags)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("flags", [{}, {"overwrite": True}], ids=str)
@pytest.mark.parametrize("state", ["missing", "deeply missing", "empty", "claimed and empty", "with an orphan"])
def test_a_folder_without_files_is_used(state: str, flags: dict[str, bool], tmp_path: Path) -> None:
    folder = tmp_path / ("a/b/c" if state == "deeply missing" else "out")
    if state in ("empty", "claimed and empty", "with an orphan"):
        folder.mkdir()
    if state == "claimed and empty":
        with open_output(folder, "fit", of("fisher")):
            pass
    if state == "with an orphan":
        put(folder, ".augment-0123456789abcdef.part", LOCK)
    work(folder, **flags)
    assert contents(folder).keys() == {*FILES, MARKER}


def test_the_same_settings_continue_with_the_files_of_the_folder(tmp_path: Path) -> None:
    folder = own(tmp_path / "out")
    put(folder, "notes.txt")
    before = contents(folder)
    with open_output(folder, "fit", of(), files=FILES) as output:
        assert (output.finished, output.files) == (True, FILES)
        assert output.read("cats/000.png") == b"hinge cats/000.png"
        assert output.read("notes.txt") is None
    assert contents(folder) == before


def test_other_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"was started with other settings \(fit\.loss: hinge, now fisher\)"):
        work(own(tmp_path / "out"), "fisher")


def test_overwrite_deletes_its_own_files_and_nothing_else(tmp_path: Path) -> None:
    folder = own(tmp_path / "out")
    put(folder, "notes.txt", "samples/best.png", "cats/001.png", "dogs/000.png")
    work(folder, "fisher", FILES[:1], overwrite=True)
    assert contents(folder).keys() == {
        "notes.txt",
        "samples/best.png",
        "cats/001.png",
        "dogs/000.png",
        *FILES[:1],
        MARKER,
    }


def test_overwrite_leaves_no_empty_folder_of_its_own_behind(tmp_path: Path) -> None:
    folder = own(tmp_path / "out")
    (folder / "mine").mkdir()
    work(folder, "fisher", FILES[:1], overwrite=True)
    assert sorted(p.name for p in folder.iterdir()) == [MARKER, "config.yaml", "mine"]


def test_overwrite_writes_beside_foreign_files_of_other_names(tmp_path: Path) -> None:
    folder = foreign(tmp_path / "out")
    before = contents(folder)
    work(folder, overwrite=True)
    assert contents(folder).items() > before.items()


def test_a_foreign_file_is_not_replaced_by_a_later_one_of_ours(tmp_path: Path) -> None:
    put(tmp_path / "out", "cats/000.png")
    with pytest.raises(OutputError, match=r"cats.000\.png was not written by `augment fit`"):
        work(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out/cats/000.png").read_text() == "mine"


def test_a_name_that_was_given_up_is_no_longer_ours(tmp_path: Path) -> None:
    folder = own(tmp_path / "out")
    work(folder, "fisher", FILES[:1], overwrite=True)
    put(folder, "cats/000.png")  # the user's own picture, under a name that was ours once
    work(folder, "hinge", FILES[:1], overwrite=True)
    assert (folder / "cats/000.png").read_text() == "mine"


@pytest.mark.parametrize(
    ("replace", "finished", "replaced"),
    [("unfinished", False, True), ("unfinished", True, False), ("anything", True, True), ("nothing", False, False)],
)
def test_only_some_outputs_may_be_replaced_without_overwrite(
    replace: str, finished: bool, replaced: bool, tmp_path: Path
) -> None:
    folder = own(tmp_path / "out")
    if not finished:
        with open_output(folder, "fit", of()) as output:
            output.reopen()
    with suppress(OutputError):
        work(folder, "fisher", FILES[:1], replace=replace)
    assert (contents(folder)["config.yaml"] == b"fisher config.yaml") == replaced


@pytest.mark.parametrize(("overwrite", "left"), [(False, {"cats/000.png", "notes.txt"}), (True, {"notes.txt"})])
def test_a_kept_file_of_a_replaced_output_stays_ours(overwrite: bool, left: set[str], tmp_path: Path) -> None:
    folder = own(tmp_path / "out")
    put(folder, "notes.txt")
    keep = ("cats/000.png", "notes.txt")  # the second one is foreign
    with open_output(folder, "fit", of("fisher"), replace="anything", overwrite=overwrite, keep=keep) as output:
        assert {name for name in contents(folder) if name not in (MARKER, LOCK)} == left
        assert output.read("cats/000.png") == (None if overwrite else b"hinge cats/000.png")
        assert "notes.txt" not in output.files
    work(folder, "fisher", FILES[:1], overwrite=True)
    assert contents(folder).keys() == {MARKER, "config.yaml", "notes.txt"}


def test_a_deleted_file_is_no_longer_listed(tmp_path: Path) -> None:
    with open_output(tmp_path / "out", "fit") as output:
        output.write("a.txt", "content")
        output.write("b.txt", "content")
        output.delete("a.txt")
        output.delete("c.txt")
        output.finish()
    assert contents(tmp_path / "out").keys() == {"b.txt", MARKER}
    found = read_marker(tmp_path / "out")
    assert found is not None
    assert found.files == ("b.txt",)
