"""A file is written whole or not at all, through no link, and read only where it is a plain file."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel

from augment.errors import OutputError
from augment.files import (
    append_bytes,
    path_inside,
    read_bytes,
    read_json,
    remove_temporary_files,
    write_bytes,
    write_text,
)

posix = pytest.mark.skipif(sys.platform == "win32", reason="a file that is open cannot be replaced there")
LIMITED = """
import resource, signal, sys
from pathlib import Path
from augment.files import write_bytes
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
signal.signal(signal.SIGXFSZ, getattr(signal, sys.argv[2]))
write_bytes(Path(sys.argv[1]), b"new" * 10000)
"""


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def limited(path: Path, on_limit: str) -> subprocess.CompletedProcess[str]:
    """Write 30 kB in a process that may write 5 kB: killed there, or refused."""
    return subprocess.run([sys.executable, "-c", LIMITED, str(path), on_limit], capture_output=True, text=True)


def test_text_is_written_in_utf_8_with_its_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "Füße\nto\r\nwalk")
    assert (tmp_path / "a.txt").read_bytes() == "Füße\nto\r\nwalk".encode()


@posix
@pytest.mark.parametrize("old", [b"old", None], ids=["a file before", "no file before"])
def test_a_refused_write_names_the_file_and_leaves_the_old_one(old: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    if old is not None:
        path.write_bytes(old)
    done = limited(path, "SIG_IGN")
    assert f"File too large: '{path}'" in done.stderr
    assert names(tmp_path) == ([] if old is None else ["results.json"])
    assert old is None or path.read_bytes() == old


@posix
def test_a_killed_writer_leaves_the_old_file_and_a_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(b"old")
    assert limited(path, "SIG_DFL").returncode == -signal.SIGXFSZ
    assert path.read_bytes() == b"old"
    assert len(names(tmp_path)) == 2
    remove_temporary_files(tmp_path)
    assert names(tmp_path) == ["results.json"]


def test_sweeping_leaves_files_of_similar_names(tmp_path: Path) -> None:
    for name in (".augment-12.part", "augment-0123456789abcdef.part", ".augment-0123456789abcdef.part.txt"):
        (tmp_path / name).write_text("mine")
    (tmp_path / ".augment-0123456789abcdef.part").mkdir()
    before = names(tmp_path)
    remove_temporary_files(tmp_path)
    assert names(tmp_path) == before


@posix
def test_a_reader_of_the_old_file_never_sees_the_new_one(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_bytes(b"old")
    with (tmp_path / "results.json").open("rb") as reader:
        write_bytes(tmp_path / "results.json", b"new")
        assert reader.read() == b"old"
    assert (names(tmp_path), read_bytes(tmp_path / "results.json")) == (["results.json"], b"new")


def test_a_link_is_replaced_and_never_written_through(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "out").symlink_to(tmp_path / "victim")
    write_bytes(tmp_path / "out", b"new")
    assert (tmp_path / "victim").read_text() == "mine"
    assert not (tmp_path / "out").is_symlink()


@posix
@pytest.mark.parametrize("make", [Path.symlink_to, Path.hardlink_to], ids=["symbolic", "hard"])
def test_nothing_is_appended_through_a_link(make: Callable[[Path, Path], None], tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    make(tmp_path / "log", tmp_path / "victim")
    with pytest.raises((OSError, OutputError), match="log"):
        append_bytes(tmp_path / "log", b"more")
    assert (tmp_path / "victim").read_text() == "mine"


def test_appended_bytes_come_last(tmp_path: Path) -> None:
    append_bytes(tmp_path / "log", b"one\n")
    append_bytes(tmp_path / "log", b"two\n")
    assert read_bytes(tmp_path / "log") == b"one\ntwo\n"


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(path.parent)  # a socket's path may have 107 characters
        server.bind(path.name)


SPECIAL: dict[str, Callable[[Path], object]] = {
    "a link": lambda path: path.symlink_to("/etc/hostname"),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a pipe": os.mkfifo if hasattr(os, "mkfifo") else Path.mkdir,
    "a socket": a_socket,
    "a folder": Path.mkdir,
}


@posix
@pytest.mark.parametrize("kind", SPECIAL)
def test_only_plain_files_are_read(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    SPECIAL[kind](tmp_path / "thing")
    with pytest.raises((OSError, OutputError), match="thing"):
        read_bytes(tmp_path / "thing")


def test_a_path_through_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/link").symlink_to(tmp_path / "victim")
    assert path_inside(tmp_path / "out", "cats/1.png") == tmp_path / "out/cats/1.png"
    for name in ("link", "link/1.png", "link/deep/1.png"):
        with pytest.raises(OutputError, match=r"out/link is a link, and nothing is written through links"):
            path_inside(tmp_path / "out", name)


class Settings(BaseModel):
    """Something to read."""

    steps: int


NO_JSON = ["", "{", "[]", "{}", '{"steps": "many"}', "null", "\x00", "[" * 100_000, '{"steps": ' + "9" * 5000 + "}"]


@pytest.mark.parametrize("text", NO_JSON, ids=lambda text: text[:12])
def test_damaged_json_is_one_sentence_that_names_the_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(OutputError, match=r"s\.json is damaged, or of another version of this program \(") as error:
        read_json(tmp_path / "s.json", Settings)
    assert len(str(error.value)) < 400 + len(str(tmp_path))


def test_bytes_that_are_no_utf_8_are_no_json(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_bytes(b'{"steps": \xff}')
    with pytest.raises(OutputError, match=r"s\.json is damaged"):
        read_json(tmp_path / "s.json", Settings)
