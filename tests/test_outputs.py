"""Whatever a folder holds, nothing that somebody else put there is overwritten or deleted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from augment.errors import OutputError
from augment.outputs import MARKER, claim, holds_output_of, write_bytes, write_text

FILES = ("config.yaml", "samples/step-*.png", "cats/000.png")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def put(folder: Path, *files: str, text: str = "mine") -> None:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)


def own(folder: Path) -> Path:
    """A folder that `augment fit` has written."""
    claim(folder, "fit", FILES)
    put(folder, "config.yaml", "samples/step-1.png", "samples/step-2.png", "cats/000.png", text="generated")
    return folder


def foreign(folder: Path) -> Path:
    put(folder, "thesis.txt", "cats/holiday.png")
    return folder


def without_marker(folder: Path) -> Path:
    """Somebody's files under the names that `augment fit` uses."""
    put(folder, "config.yaml", "samples/step-7.png")
    return folder


def another_commands(folder: Path) -> Path:
    claim(folder, "evaluate", ["results.json"])
    put(folder, "results.json")
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
    "a marker without files": b'{"command": "fit"}',
    "a marker with no list of files": b'{"command": "fit", "files": null}',
    "a marker with a number for a file": b'{"command": "fit", "files": [3]}',
    "a marker of a file outside": b'{"command": "fit", "files": ["../*"]}',
    "a marker of an absolute file": b'{"command": "fit", "files": ["/tmp/x"]}',
    "a marker of a file without a name": b'{"command": "fit", "files": [""]}',
    "a marker in another encoding": b"\xff\xfe\x00{",
}
REFUSED: dict[str, tuple[Callable[[Path], Path], dict[str, bool]]] = {
    "own, without a flag": (own, {}),
    "foreign": (foreign, {}),
    "foreign, with resume": (foreign, {"resume": True}),
    "foreign under our names": (without_marker, {}),
    "foreign under our names, with resume": (without_marker, {"resume": True}),
    "foreign under our names, with overwrite": (without_marker, {"overwrite": True}),
    "another command's": (another_commands, {}),
    "another command's, with resume": (another_commands, {"resume": True}),
    "another command's, with overwrite": (another_commands, {"overwrite": True}),
    "a file": (a_file, {}),
    "a file, with overwrite": (a_file, {"overwrite": True}),
    **{f"{name}, with overwrite": (damaged(content), {"overwrite": True}) for name, content in DAMAGED.items()},
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_folder_that_would_lose_something_is_refused_and_stays_as_it_is(case: str, tmp_path: Path) -> None:
    make, flags = REFUSED[case]
    folder = make(tmp_path / "out")
    put(tmp_path, "beside.txt")
    before = contents(tmp_path)
    with pytest.raises(OutputError, match=str(folder)):
        claim(folder, "fit", FILES, **flags)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("flags", [{}, {"overwrite": True}, {"resume": True}], ids=str)
@pytest.mark.parametrize("state", ["missing", "deeply missing", "empty", "claimed and empty"])
def test_a_folder_without_files_is_taken(state: str, flags: dict[str, bool], tmp_path: Path) -> None:
    folder = tmp_path / ("a/b/c" if state == "deeply missing" else "out")
    if state in ("empty", "claimed and empty"):
        folder.mkdir()
    if state == "claimed and empty":
        claim(folder, "fit", FILES)
    claim(folder, "fit", FILES, **flags)
    assert holds_output_of(folder, "fit")
    assert not holds_output_of(folder, "evaluate")
    assert json.loads((folder / MARKER).read_text()) == {"command": "fit", "files": sorted(FILES)}


def test_resume_keeps_what_is_there(tmp_path: Path) -> None:
    folder = own(tmp_path / "out")
    put(folder, "notes.txt")
    before = contents(folder)
    claim(folder, "fit", FILES, resume=True)
    assert contents(folder) == before


def test_overwrite_deletes_its_own_files_and_nothing_else(tmp_path: Path) -> None:
    folder = own(tmp_path / "out")
    put(folder, "notes.txt", "samples/best.png", "cats/001.png", "dogs/000.png")
    claim(folder, "fit", FILES, overwrite=True)
    assert contents(folder).keys() == {"notes.txt", "samples/best.png", "cats/001.png", "dogs/000.png", MARKER}
    put(folder, "samples/best.png", text="still mine")
    assert (folder / "samples/best.png").read_text() == "still mine"


def test_overwrite_leaves_no_empty_folder_of_its_own_behind(tmp_path: Path) -> None:
    folder = own(tmp_path / "out")
    (folder / "mine").mkdir()
    claim(folder, "fit", FILES, overwrite=True)
    assert sorted(p.name for p in folder.iterdir()) == [MARKER, "mine"]


def test_overwrite_goes_in_among_foreign_files_of_other_names(tmp_path: Path) -> None:
    folder = foreign(tmp_path / "out")
    before = contents(folder)
    claim(folder, "fit", FILES, overwrite=True)
    assert contents(folder).items() > before.items()


def test_overwrite_is_refused_if_the_new_files_would_replace_foreign_ones(tmp_path: Path) -> None:
    folder = own(tmp_path / "out")
    put(folder, "dogs/000.png")
    before = contents(folder)
    with pytest.raises(OutputError, match=r"dogs.000\.png was not written by `augment fit`"):
        claim(folder, "fit", ["dogs/000.png"], overwrite=True)
    assert contents(folder) == before


def test_a_name_that_was_given_up_is_no_longer_ours(tmp_path: Path) -> None:
    folder = own(tmp_path / "out")
    claim(folder, "fit", ["images.npz"], overwrite=True)
    put(folder, "cats/000.png")  # the user's own picture, under a name that was ours once
    claim(folder, "fit", ["images.npz"], overwrite=True)
    assert (folder / "cats/000.png").read_text() == "mine"


def test_a_folder_that_is_not_there_holds_no_output(tmp_path: Path) -> None:
    assert not holds_output_of(tmp_path / "gone", "fit")
    assert not holds_output_of(a_file(tmp_path / "file"), "fit")


def test_text_is_written_in_utf_8_with_its_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "Füße\nto\r\nwalk")
    assert (tmp_path / "a.txt").read_bytes() == "Füße\nto\r\nwalk".encode()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no disk that is always full")
@pytest.mark.parametrize("old", [b"old", None], ids=["a file before", "no file before"])
def test_a_full_disk_leaves_the_old_file_and_no_other(old: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    if old is not None:
        path.write_bytes(old)
    (tmp_path / ".results.json.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        write_bytes(path, b"new" * 10000)
    assert contents(tmp_path) == ({} if old is None else {"results.json": old})
    assert not (tmp_path / ".results.json.part").is_symlink()


@pytest.mark.skipif(sys.platform == "win32", reason="a file that is open cannot be replaced there")
def test_a_reader_of_the_old_file_never_sees_the_new_one(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_bytes(b"old")
    with (tmp_path / "results.json").open("rb") as reader:
        write_bytes(tmp_path / "results.json", b"new")
        assert reader.read() == b"old"
    assert contents(tmp_path) == {"results.json": b"new"}


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files")
def test_a_killed_writer_leaves_the_old_file_and_the_next_one_replaces_it(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(b"old")
    code = (
        "import resource, signal, sys\nfrom pathlib import Path\nfrom augment.outputs import write_bytes\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\nsignal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
        "write_bytes(Path(sys.argv[1]), b'new' * 10000)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert killed.returncode == -signal.SIGXFSZ
    assert path.read_bytes() == b"old"
    write_bytes(path, b"newer")
    assert contents(tmp_path) == {"results.json": b"newer"}
