"""`augment compare` prints a table, and writes a page on request."""

from __future__ import annotations

from pathlib import Path

from command_line import Augment, check_refused, next_command


def test_two_evaluations_are_printed_and_written(done: Path, tmp_path: Path, augment: Augment) -> None:
    result = augment("compare", done, done / "evaluation")
    assert (result.status, result.err) == (0, "")
    assert result.out.count("Too few repeats") == 2
    command = next_command(result)
    result = augment(*command[1:-1], tmp_path / "page.html")
    assert result.status == 0
    assert f"page: {tmp_path / 'page.html'}" in result.out
    check_refused(augment(*command[1:-1], tmp_path / "page.html"), "already exists")
    assert augment(*command[1:-1], tmp_path / "page.html", "--overwrite").status == 0
    (tmp_path / "page.html").write_text("mine")
    again = augment(*command[1:-1], tmp_path / "page.html", "--overwrite")
    check_refused(again, "was not written by `augment compare`")
