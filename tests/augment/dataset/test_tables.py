"""Tables out of order are one sentence that names the line; those that spreadsheets write are read."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from augment.dataset.sources import read_source
from augment.errors import SourceError

FIRST = "path,label\na/0.png,a\na/1.png,a\nb/0.png,b\nb/1.png,b\n"


@pytest.fixture
def folder(image_folder: Path, tmp_path: Path) -> Path:
    """a/ and b/ with two real pictures each, beside the table that names them."""
    for name, source in zip("ab", sorted((image_folder / "train").iterdir()), strict=False):
        for i, file in enumerate(sorted(source.iterdir())[:2]):
            (tmp_path / name).mkdir(exist_ok=True)
            shutil.copy(file, tmp_path / name / f"{i}.png")
    return tmp_path


def read(folder: Path, text: str, encoding: str = "utf-8") -> list[int]:
    (folder / "table.csv").write_bytes(text.encode(encoding))
    return read_source(folder / "table.csv").train.counts().tolist()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_all_line_ends_and_a_byte_order_mark_are_read(end: str, encoding: str, folder: Path) -> None:
    assert read(folder, FIRST.replace("\n", end), encoding) == [2, 2]


@pytest.mark.parametrize("header", ["path;label", "Path;Label ", "path\tlabel"])
def test_other_separators_and_capitals_are_read(header: str, folder: Path) -> None:
    separator = "\t" if "\t" in header else ";"
    assert read(folder, FIRST.replace(",", separator).replace(f"path{separator}label", header)) == [2, 2]


def test_splits_have_their_usual_names(folder: Path) -> None:
    rows = ("a/0.png,a,Train", "a/1.png,a,", "b/0.png,b,training", "b/1.png,b, train", "b/1.png,b,TEST ")
    assert read(folder, "\n".join(["path,label,Split", *rows])) == [2, 2]
    test = read_source(folder / "table.csv").test
    assert test is not None
    assert test.labels.tolist() == [1]


def test_absolute_paths_and_columns_without_a_name_are_read(folder: Path) -> None:
    assert read(folder, FIRST.replace("b/1.png", str(folder / "b/1.png")).replace("label", "label,,")) == [2, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FIRST.replace("label", "label,label", 1), r"line 1: the column 'label' is there 2 times"),
        (FIRST.replace("path", "path,path", 1), r"line 1: the column 'path' is there 2 times"),
        ("\n" + FIRST, r"line 1: the column 'path' is missing; found \[\]"),
        (FIRST + '"b/1.png,b\n', r"is not CSV in UTF-8 \(unexpected end of data\)"),
        (FIRST + "b/1.png,b\n" + '"' + "x" * 200_000 + '",b\n', r"is not CSV in UTF-8 \(field larger than"),
        (FIRST + "x" * 2_000_000, r"is not CSV in UTF-8 \(a line has"),
        (FIRST + "a,b\n", r"line 6: .*/a is a folder; expected a picture"),
        (FIRST + "/,b\n", r"line 6: / is a folder; expected a picture"),
        (FIRST + "b/\0.png,b\n", r"table\.csv"),
        (FIRST + "x" * 5000 + ",b\n", r"line 6: there is no file "),
        (FIRST + ",b\n", r"line 6: expected a path and a label, got '' and 'b'"),
        ("path,label,split\na/0.png,a," + "x" * 5000, r"line 2: expected the split train, val or test, got 'xx"),
    ],
)
def test_a_table_out_of_order_is_one_short_sentence(text: str, message: str, folder: Path) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        read(folder, text)
    assert len(str(caught.value)) < 600


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX's")
@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_a_special_file_named_by_a_table_is_refused_or_skipped(kind: str, folder: Path) -> None:
    special = folder / "a" / "special.png"
    with socket.socket(socket.AF_UNIX) as opened:
        make_special(special, kind, opened)
        (folder / "table.csv").write_text(FIRST + "a/special.png,a\n")
        with pytest.raises(
            SourceError, match=r"special\.png is not a readable picture \(it is a (named pipe|socket|dev)"
        ):
            read_source(folder / "table.csv")
        assert read_source(folder / "table.csv", skip_broken=True).skipped == (str(special),)


def make_special(path: Path, kind: str, opened: socket.socket) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        here = os.getcwd()
        os.chdir(path.parent)  # a socket's path has at most 107 bytes
        try:
            opened.bind(path.name)
        finally:
            os.chdir(here)
    else:
        path.symlink_to("/dev/zero")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX's")
@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
@pytest.mark.parametrize("name", ["source.csv", "source.npz", "source"])
def test_a_source_that_is_a_special_file_is_refused(kind: str, name: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        make_special(tmp_path / name, kind, opened)
        with pytest.raises(SourceError, match=r"is a (named pipe|socket|device)"):
            read_source(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX's")
def test_special_files_in_a_class_folder_are_refused_or_skipped(folder: Path) -> None:
    os.mkfifo(folder / "a" / "2.png")
    (folder / "b" / "2.png").symlink_to("/dev/zero")
    with pytest.raises(SourceError, match=r"2\.png is not a readable picture \(it is a named pipe\)"):
        read_source(folder)
    assert read_source(folder, skip_broken=True).skipped == (str(folder / "a/2.png"), str(folder / "b/2.png"))
