"""Damaged and hostile inputs end in one sentence: a reduced case of `benchmarks/hostile_sources.py`."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

CASES = 42


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    if not hasattr(os, "mkfifo"):
        pytest.skip("special files and time limits are of POSIX")
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    monkeypatch.setenv("GOMP_SPINCOUNT", "10000")
    return importlib.import_module("hostile_sources")


def test_no_hostile_input_ends_in_a_traceback_or_in_waiting(hostile: ModuleType) -> None:
    done = hostile.measure(CASES, seed=3)
    assert [case for case in done if case.outcome in hostile.BAD] == []
    assert {case.outcome for case in done} == set(hostile.GOOD)
    assert {case.kind for case in done} == set(hostile.KINDS)


def test_bad_outcomes_are_counted_as_bad(hostile: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    def wait(*_: object) -> None:
        while True:
            pass

    def mutter(*_: object) -> None:
        print("\x1b[2J", file=sys.stderr)

    monkeypatch.setattr(hostile, "SECONDS", 1)
    monkeypatch.setattr(hostile, "KINDS", {"fail": fail, "wait": wait, "mutter": mutter})
    assert [case.outcome for case in hostile.measure(3, seed=0)] == ["traceback", "hang", "no sentence"]
