"""The harnesses of benchmarks/ in small: kills and damaged folders change no result."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="commands are forked")


def run(script: str, *options: str) -> str:
    root = BENCHMARKS.parent  # the code of this clone is measured, whatever other one is installed
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, str(BENCHMARKS / script), *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1]


def test_kills_at_random_moments_change_nothing() -> None:
    cases = ("fit over another run", "run with another loss")
    chosen = [option for case in cases for option in ("--case", case)]
    assert run("chaos.py", "--kills", "3", "--seed", "5", "--jobs", "1", *chosen) == "3 kills, 0 differences"


def test_damaged_folders_are_refused_or_repaired() -> None:
    assert run("hostile.py", "--cases", "6", "--seed", "5", "--jobs", "1") == "6 cases, 0 wrong"
