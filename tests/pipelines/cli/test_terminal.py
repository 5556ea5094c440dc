"""Output is plain text: no name can control the terminal, stop the output, or fake a line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Augment
from PIL import Image

from augment.words import printable

HOSTILE = "\x1b[2J\x07\r\u202e"
FAKE = "a\nnext: rm -r ~"
BYTES = "pets\udcff\udcc3"  # file names of the bytes ff and c3, which are no UTF-8


def photos_called(folder: Path, image_folder: Path, *names: str) -> Path:
    """Two class folders or more of the user's pictures under other names, among them a broken picture."""
    for name, source in zip(names, sorted((image_folder / "train").iterdir()), strict=False):
        shutil.copytree(source, folder / name)
    return folder


def check_plain(text: str) -> None:
    assert all(line == printable(line) for line in text.split("\n"))
    assert not any(line.startswith("next: rm") for line in text.split("\n"))


def shell_words(line: str) -> list[str]:
    """The words that a shell reads from a line, byte for byte."""
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True)
    return [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]]


@pytest.mark.parametrize("name", [HOSTILE, FAKE])
def test_names_of_classes_and_files_are_printed_escaped(
    name: str, image_folder: Path, tmp_path: Path, augment: Augment
) -> None:
    photos = photos_called(tmp_path / f"all {name}", image_folder, name, "other")
    (photos / name / f"{name}.png").write_text("no picture")
    status, out, err = augment("inspect", photos, "--out", tmp_path / "sheet.png", "--skip-broken")
    assert status == 0
    check_plain(out + err)
    assert printable(name) in out
    next_line = out.splitlines()[-1].removeprefix("next: ")
    assert str(photos) in shell_words(next_line)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.height > 28
    status, out, err = augment("inspect", photos)
    assert (status, out) == (2, "")
    check_plain(err)


@pytest.mark.parametrize(
    "command",
    [
        ("inspect", f"nowhere{HOSTILE}"),
        ("inspect", BYTES),
        ("fit", BYTES, "--out", "OUT"),
        ("fit", "SOURCE", "--out", f"{BYTES}.txt/run"),
        ("fit", "SOURCE", "--out", "OUT", "--config", BYTES),
        ("fit", "SOURCE", "--out", "OUT", "--loss", BYTES),
        ("fit", "SOURCE", "--out", "OUT", f"--{BYTES}"),
        ("generate", BYTES, "--out", "OUT", "--per-class", "2"),
        ("generate", BYTES, "--out", "OUT", "--count", f"{BYTES}=x"),
        ("evaluate", "SOURCE", "--test", BYTES, "--out", "OUT"),
        ("evaluate", "SOURCE", "--synthetic", BYTES, "--out", "OUT"),
        ("run", BYTES),
        ("run", "quickstart", "--set", f"data.source={BYTES}"),
        ("run", "quickstart", "--set", BYTES),
        ("run", "quickstart", "--set", f"data.source=x{HOSTILE}"),
        ("run", "quickstart", "--set", f"gan.{HOSTILE}=3", "--set", "data.source=x"),
    ],
    ids=range(16),
)
def test_arguments_that_are_no_text_are_quoted_in_one_sentence(
    command: tuple[str, ...],
    image_folder: Path,
    tmp_path: Path,
    augment: Augment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(f"{BYTES}.txt").touch()
    status, out, err = augment(*(str(image_folder) if part == "SOURCE" else part for part in command))
    assert (status, out, err.count("\n")) == (2, "", 1)
    check_plain(err)


def test_files_whose_names_are_no_utf8_are_inspected_and_evaluated(
    image_folder: Path, tmp_path: Path, augment: Augment
) -> None:
    photos = Path(shutil.copytree(image_folder, tmp_path / f"all {BYTES}"))
    first = min((photos / "train").iterdir())
    shutil.copy(min(first.iterdir()), first / f"{BYTES}.png")
    (first / f"broken {BYTES}.png").write_text("no picture")
    status, out, err = augment("inspect", photos, "--skip-broken")
    assert (status, err) == (0, "")
    check_plain(out)
    assert "broken pets\\xff\\xc3.png" in out
    assert str(photos) in shell_words(out.splitlines()[-1].removeprefix("next: "))
    (photos / "train").rename(tmp_path / "train")
    options = ("--arms", "none", "--repeats", "2", "--steps", "2", "--image-size", "12", "--jobs", "1", "--quiet")
    options += ("--test", image_folder / "test", "--out", tmp_path / f"out {BYTES}", "--skip-broken")
    status, out, err = augment("evaluate", tmp_path / "train", *options)
    assert status == 0
    check_plain(out + err)
    results = json.loads((tmp_path / f"out {BYTES}" / "results.json").read_text())
    assert "broken pets\\xff\\xc3.png" in results["warnings"][0]


def test_a_terminal_without_the_characters_of_a_name_shows_escapes(image_folder: Path, tmp_path: Path) -> None:
    photos = photos_called(tmp_path / "photos", image_folder, "Füße 漢字", "other")
    command = [sys.executable, "-c", "from pipelines.cli.app import main; main()", "inspect", str(photos)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"F\\xfc\\xdfe" in done.stdout
