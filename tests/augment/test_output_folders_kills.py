"""A process that is killed at any moment leaves a folder with which the same command continues."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from folders import FILES, contents, of, own, put, work

from augment import files as file_functions
from augment.errors import OutputError
from augment.markers import read_marker
from augment.output_folders import OutputFolder, open_output


class Killed(BaseException):
    """A kill, as the code sees it: nothing after it runs."""


def killed_at(number: int, monkeypatch: pytest.MonkeyPatch, do: Callable[[], None]) -> bool:
    """Call `do`, stop it before its `number`-th change of the disk, and return whether it was stopped."""
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


def test_a_kill_before_any_change_of_the_disk_can_be_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_kill_while_a_folder_is_replaced_never_mixes_two_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1000):
        folder = own(tmp_path / f"out{number}")
        died = killed_at(number, monkeypatch, lambda f=folder: work(f, "fisher", FILES[1:], overwrite=True))
        with suppress(OutputError), open_output(folder, "fit", of("fisher")) as output:
            losses = {(output.path / name).read_text().split()[0] for name in output.files if output.read(name)}
            assert losses <= {"fisher"}
        if not died:
            break


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
