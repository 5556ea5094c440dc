"""The help names every command, and that of a command has an example of it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from command_line import Augment

from pipelines.cli.app import EXAMPLES

COMMANDS = tuple(command.__name__ for command in EXAMPLES)


def test_without_a_command_the_help_is_shown(augment: Augment) -> None:
    result = augment()
    assert (result.status, result.err) == (0, "")
    assert all(command in result.out for command in COMMANDS)


def test_the_version_is_that_of_the_package(augment: Augment) -> None:
    result = augment("--version")
    assert (result.status, result.out) == (0, f"{version('augment-osgan')}\n")


@pytest.mark.parametrize(("typed", "completed"), [("augment ev", "evaluate"), ("augment fit --lo", "--loss")])
def test_a_shell_completes_commands_and_options(typed: str, completed: str) -> None:
    asked = {"_AUGMENT_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    command = [Path(sys.executable).parent / "augment"]
    done = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [completed]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_shows_an_example_of_its_options(
    command: str, augment: Augment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    result = augment(command, "--help")
    example = next(line for line in result.out.splitlines() if "Example: " in line).partition("Example: ")[2].split()
    assert (result.status, example[:2]) == (0, ["augment", command])
    assert all(part in result.out.replace("Example", "", 1) for part in example if part.startswith("--"))
