"""Whatever a folder holds, nothing that somebody else put there is overwritten or deleted, and a kill loses nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from augment import files as file_functions
from augment.errors import OutputError
from augment.identity import Identity
from augment.markers import MARKER, read_marker
from augment.output_folders import LOCK, OutputFolder, open_output

FILES = ("config.yaml", "samples/step-1.png", "samples/step-2.png", "cats/000.png")
posix = pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")


class Settings(BaseModel):
    """What a made-up command depends on."""

    loss: str = "hinge"


def of(loss: str = "hinge") -> Identity:
    return Identity({"fit": Settings(loss=loss)})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def put(folder: Path, *names: str, text: str = "mine") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def work(folder: Path, loss: str = "hinge", files: tuple[str, ...] = FILES, **options: Any) -> None:
    """What a command does: write its files, each with the loss in it, and finish."""
    with open_output(folder, "fit", of(loss), files=files[:1], **options) as output:
        for name in files:
            output.write(name, f"{loss} {name}")
        output.finish()


def own(folder: Path) -> Path:
    """A folder that `augment fit` has written."""
    work(folder)
    return folder


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


def marker(*files: object, **changes: object) -> bytes:
    return json.dumps({"format": 2, "command": "fit", "identity": {}, "files": files, **changes}).encode()


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
def test_a_folder_that_would_lose_something_is_refused_and_stays_as_it_is(case: str, tmp_path: Path) -> None:
    make, flags = REFUSED[case]
    folder = make(tmp_path / "out")
    put(tmp_path, "victim")
    before = contents(tmp_path)
    with pytest.raises(OutputError, match=str(folder)):
        work(folder, "fisher", **flags)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("flags", [{}, {"overwrite": True}], ids=str)
@pytest.mark.parametrize("state", ["missing", "deeply missing", "empty", "claimed and empty", "with an orphan"])
def test_a_folder_without_files_is_taken(state: str, flags: dict[str, bool], tmp_path: Path) -> None:
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


def test_the_same_settings_go_on_with_what_is_there(tmp_path: Path) -> None:
    folder = own(tmp_path / "out")
    put(folder, "notes.txt")
    before = contents(folder)
    with open_output(folder, "fit", of(), files=FILES) as output:
        assert (output.finished, output.files) == (True, FILES)
        assert output.read("cats/000.png") == b"hinge cats/000.png"
        assert output.read("notes.txt") is None
    assert contents(folder) == before


def test_other_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"was begun with other settings \(fit\.loss: hinge, now fisher\)"):
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


def test_overwrite_goes_in_among_foreign_files_of_other_names(tmp_path: Path) -> None:
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
def test_what_may_be_replaced_without_overwrite(replace: str, finished: bool, replaced: bool, tmp_path: Path) -> None:
    folder = own(tmp_path / "out")
    if not finished:
        with open_output(folder, "fit", of()) as output:
            output.reopen()
    with suppress(OutputError):
        work(folder, "fisher", FILES[:1], replace=replace)
    assert (contents(folder)["config.yaml"] == b"fisher config.yaml") == replaced


# A stranger's folder


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """Somebody's folder, which has to be the same at the end."""
    put(tmp_path / "victim", "000.png", "step-1.png", "report.html")
    before = contents(tmp_path / "victim")
    yield tmp_path / "victim"
    assert contents(tmp_path / "victim") == before


LISTED = {
    "a file in a linked folder": (["link/000.png"], {"link": "../victim"}),
    "a linked file": (["report.html"], {"report.html": "../victim/report.html"}),
    "a folder below a linked one": (["link/a/000.png"], {"link": ".."}),
    "a link in the journal": ([], {"link": "../victim"}),
}


@posix
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("case", LISTED)
def test_a_strangers_marker_deletes_nothing_outside(case: str, overwrite: bool, victim: Path, tmp_path: Path) -> None:
    listed, links = LISTED[case]
    folder = tmp_path / "out"
    folder.mkdir()
    for name, target in links.items():
        (folder / name).symlink_to(target)
    journal = ["link/000.png"] if case == "a link in the journal" else []
    (folder / MARKER).write_bytes(marker(*listed, replaced=journal))
    with pytest.raises(OutputError, match="is a link, and nothing is written through links"):
        work(folder, overwrite=overwrite, replace="anything")


@posix
@pytest.mark.parametrize("link", ["samples", "cats", "config.yaml", MARKER, LOCK, "samples/step-1.png"])
def test_nothing_is_written_through_a_link_in_a_strangers_folder(link: str, victim: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    (folder / "samples").mkdir(parents=True)
    if link == "samples":
        (folder / "samples").rmdir()
    (folder / link).symlink_to(victim if link in ("samples", "cats") else victim / "report.html")
    with pytest.raises(OutputError):
        work(folder, overwrite=True)


def test_a_pattern_in_a_marker_matches_nothing(tmp_path: Path) -> None:
    put(tmp_path / "out", "a.png", "b.png")
    (tmp_path / "out" / MARKER).write_bytes(marker("*.png", "config.yaml"))
    work(tmp_path / "out", files=FILES[:1], overwrite=True)
    assert contents(tmp_path / "out").keys() >= {"a.png", "b.png"}


# Kills


class Killed(BaseException):
    """What a kill is to the code: nothing after it runs."""


def killed_at(number: int, monkeypatch: pytest.MonkeyPatch, do: Callable[[], None]) -> bool:
    """`do`, which dies before its `number`-th change of the disk, leaving temporary files; whether it died."""
    calls = iter(range(10_000))

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if next(calls) >= number:
                raise Killed
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for name in ("write", "mkdir", "replace", "unlink", "rmdir"):
            patch.setattr(os, name, counted(getattr(os, name)))
        try:
            do()
        except Killed:
            return True
    return False


def test_a_kill_before_any_change_of_the_disk_leaves_a_folder_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(tmp_path / "whole", "fisher", FILES[1:])
    whole = contents(tmp_path / "whole")
    for number in range(1000):
        folder = own(tmp_path / f"out{number}")
        put(folder, "notes.txt")
        died = killed_at(number, monkeypatch, lambda f=folder: work(f, "fisher", FILES[1:], overwrite=True))
        found = read_marker(folder)
        assert found is not None
        begun = found.identity == of("fisher").as_json()
        if begun and contents(folder).keys() & {*FILES}:  # the new settings need no flag then, and the old ones one
            with pytest.raises(OutputError, match="other settings"):
                work(folder)
        work(folder, "fisher", FILES[1:], overwrite=not begun)
        assert contents(folder) == {**whole, "notes.txt": b"mine"}
        if not died:
            break
    assert number > 20


def test_a_kill_while_it_begins_anew_never_mixes_two_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1000):
        folder = own(tmp_path / f"out{number}")
        died = killed_at(number, monkeypatch, lambda f=folder: work(f, "fisher", FILES[1:], overwrite=True))
        with suppress(OutputError), open_output(folder, "fit", of("fisher")) as output:
            losses = {(output.path / name).read_text().split()[0] for name in output.files if output.read(name)}
            assert losses <= {"fisher"}
        if not died:
            break


# Locks

HOLD = """
import sys, time
from pathlib import Path
from augment.output_folders import open_output
with open_output(Path(sys.argv[1]), "fit"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the folder open."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_folder_that_another_process_writes_is_refused_and_the_process_named(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match=rf"out is being written by process {holder.pid} on \S+; wait until"):
        work(tmp_path / "out", overwrite=True)


def test_the_lock_of_a_killed_process_is_taken_over(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    holder.kill()
    holder.wait()
    work(tmp_path / "out", overwrite=True)
    assert contents(tmp_path / "out").keys() == {*FILES, MARKER}


def test_a_folder_is_opened_once_at_a_time_within_a_process(tmp_path: Path) -> None:
    with open_output(tmp_path / "out", "fit"), pytest.raises(OutputError, match=f"written by process {os.getpid()}"):
        work(tmp_path / "out", overwrite=True)


def test_the_lock_is_gone_when_the_folder_is_closed(tmp_path: Path) -> None:
    own(tmp_path / "out")
    assert not (tmp_path / "out" / LOCK).exists()


def test_a_marker_is_on_the_disk_before_the_file_that_it_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_output(tmp_path / "out", "fit") as output:
        lists_first(output, monkeypatch)


def lists_first(output: OutputFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = file_functions.write_bytes

    def look(path: Path, *arguments: Any, **options: Any) -> None:
        if path.name == "a.txt":
            found = read_marker(output.path)
            seen.append(found is not None and "a.txt" in found.files)
        real(path, *arguments, **options)

    monkeypatch.setattr("augment.output_folders.write_bytes", look)
    output.write("a.txt", "content")
    assert seen == [True]


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
