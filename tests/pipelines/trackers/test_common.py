"""Nested settings become one level."""

from __future__ import annotations

from pathlib import Path

from pipelines.trackers.common import flatten


def test_nested_settings_become_one_level_of_text() -> None:
    nested = {"a": {"b": {"c": 1}, "d": "two"}, "e": [1, {"f": None}], "g": {}, "h": True, "i": Path("x")}
    flat = {"a.b.c": "1", "a.d": "two", "e": '[1, {"f": null}]', "g": "{}", "h": "true", "i": '"x"'}
    assert flatten(nested) == flat
