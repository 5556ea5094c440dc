"""YAML of any kind becomes keys and values or one short sentence, within seconds."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from augment.errors import ConfigError
from augment.yaml_text import parse_mapping, read_mapping

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]\n" for i in range(9)
)
HOSTILE = {
    "an impossible date": ("a: 2020-13-45", "'2020-13-45' cannot be read as timestamp .*line 1, column 4"),
    "a number that is none": ("a: !!int abc", "'abc' cannot be read as int"),
    "an empty number": ("a: !!int ''", "'' cannot be read as int"),
    "a number with a point too many": ("a: !!float 1.2.3", "'1.2.3' cannot be read as float"),
    "a truth that is none": ("a: !!bool maybe", "'maybe' cannot be read as bool"),
    "a time that is none": ("a: !!timestamp soon", "'soon' cannot be read as timestamp"),
    "bytes that are none": ("a: !!binary é", "binary|base64"),
    "an integer of 5,000 digits": ("a: " + "7" * 5000, "cannot be read as int"),
    "3,000 brackets": ("a: " + "[" * 3000 + "]" * 3000, "found more than 40 levels"),
    "3,000 braces": ("{a: " * 3000 + "1" + "}" * 3000, "found more than 40 levels"),
    "3,000 dashes": ("a:\n  " + "- " * 3000 + "x", "found more than 40 levels"),
    "3,000 questions": ("? " * 3000 + "x", "found more than 40 levels"),
    "a billion laughs": (BOMB, "found an alias"),
    "a list within itself": ("a: &a [*a]", "found an alias"),
    "a list as a key": ("? [a, b]\n: 1", "unhashable"),
    "a mapping as a key": ("{{a: 1}: 2}", "unhashable"),
    "a number as a key": ("1: 2", "expected names as keys, got 1"),
    "a Python object": ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
    "a NUL": ("a: b\0c", "special characters are not allowed"),
    "two documents": ("a: 1\n---\nb: 2", "expected a single document"),
    "a long document": ("a: " + "x" * 10**6, "more than 200,000 characters"),
    "a long name of an alias": ("a: *" + "x" * 10**5, "found an alias"),
    "an open bracket": ("a: [" + "x, " * 10**4, "is not valid YAML"),
    "a list": ("- a", "expected keys and values, got list"),
    "a key twice": ("a: 1\nb: {c: 1, c: 2}", "found the key 'c' a second time.*line 2, column 11"),
    "nothing": ("", "expected keys and values, got NoneType"),
}


@pytest.mark.parametrize(("text", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_one_short_sentence_soon(text: str, message: str) -> None:
    began = time.process_time()
    with pytest.raises(ConfigError, match=message) as caught:
        parse_mapping(text, "mine.yaml")
    assert time.process_time() - began < 3
    assert str(caught.value).startswith("mine.yaml")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_merged_and_typed_values_are_read() -> None:
    tree = parse_mapping("\ufeffa: {<<: {b: 1}, c: 2020-12-31}\nd: !!float 3", "mine.yaml")
    assert (tree["a"]["b"], str(tree["a"]["c"]), tree["d"]) == (1, "2020-12-31", 3.0)


@pytest.mark.parametrize(
    "content", [b"a: \xff", "a: ä".encode("latin-1"), "a: 1".encode("utf-16"), b"a: \0", b"\x00" * 9]
)
def test_files_that_are_no_text_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"mine\.yaml (cannot be read as a|is not valid) YAML"):
        read_mapping(tmp_path / "mine.yaml")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX's")
def test_a_named_pipe_or_a_device_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "device.yaml").symlink_to("/dev/zero")
    for name, kind in (("pipe", "a named pipe"), ("device", "a device"), (".", "a folder")):
        path = tmp_path if name == "." else tmp_path / f"{name}.yaml"
        with pytest.raises(ConfigError, match=f"cannot be read as a YAML file: it is {kind}"):
            read_mapping(path)
