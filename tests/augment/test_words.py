"""Words in sentences for people."""

import os
import subprocess

import pytest

from augment.words import counted, printable, quoted, shell_word, shortened


@pytest.mark.parametrize(
    ("n", "noun", "words"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (2000, "image", "2,000 images"),
        (1, "class", "1 class"),
        (3, "class", "3 classes"),
    ],
)
def test_a_counted_noun_is_singular_or_plural(n: int, noun: str, words: str) -> None:
    assert counted(n, noun) == words


def test_long_text_loses_its_middle() -> None:
    assert shortened("ab" * 50) == "ab" * 50
    assert shortened("a" * 80 + "b" * 80, 20) == "aaaaaaaaaaa...bbbbbb"


def test_a_value_of_any_size_is_quoted_in_a_few_words() -> None:
    for value in (10**5000, -(16**9000), "x" * 10**7, [[[[[[1]]]]]] * 10**6, {"k" * 1000: "v" * 1000}, b"x" * 10**6):
        assert 0 < len(quoted(value)) <= 200


@pytest.mark.parametrize("value", [5, -3, 1.5, None, "a'b", ["a", 1], {"a": [1, (2,)]}])
def test_a_small_value_is_quoted_as_python_writes_it(value: object) -> None:
    assert quoted(value) == repr(value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Füße 漢字 🙂", "Füße 漢字 🙂"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("a\nb\r\tc\x7f\x9b", "a\\nb\\r\\tc\\x7f\\x9b"),
        ("pets\udcff", "pets\\xff"),
        ("\ud800", "\\ud800"),
        ("\u202etxt\u2028", "\\u202etxt\\u2028"),
    ],
)
def test_control_characters_and_lone_surrogates_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize("word", ["a b", "it's", "\x1b[2J", "two\nlines", "a\x0112", "back\\slash\t", "é\udcff\udcc3'"])
def test_a_shell_reads_back_the_word(word: str) -> None:
    shown = shell_word(word)
    assert printable(shown) == shown
    read = subprocess.run(
        ["bash", "-c", f"printf %s {shown}"], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    )
    assert read.stdout == os.fsencode(word)
