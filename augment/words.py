"""Format counts, durations and values for messages, and make text of unknown origin safe to print."""

from __future__ import annotations

import os
import shlex
import unicodedata
from collections.abc import Sequence
from reprlib import Repr

MAX_LENGTH = 100  # characters of a value that is quoted in a sentence


def counted(n: int, noun: str) -> str:
    """Return the count with its noun: "1 image", "2,000 images", "3 classes"."""
    ending = "" if n == 1 else "es" if noun.endswith("s") else "s"
    return f"{n:,} {noun}{ending}"


def listed(names: Sequence[str], limit: int) -> str:
    """Return at most `limit` of the names: "a, b and 3 more"."""
    unlisted = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {unlisted:,} more" if unlisted > 0 else "")


def are(n: int) -> str:
    """Return the verb that goes with a count: "is" or "are"."""
    return "is" if n == 1 else "are"


def format_duration(seconds: float) -> str:
    """Format a duration for people: "a few seconds", "40 seconds", "3 minutes", "2.5 hours"."""
    if seconds < 10:
        return "a few seconds"
    if seconds < 90:
        return f"{round(seconds, -1):.0f} seconds"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"


def format_estimate(seconds: float) -> str:
    """Format an estimate for people: "a few seconds", "about 3 minutes"."""
    words = format_duration(seconds)
    return words if words.startswith("a ") else f"about {words}"


def shortened(text: str, max_length: int = MAX_LENGTH) -> str:
    """Return `text`, with its middle left out if it has more than `max_length` characters."""
    if len(text) <= max_length:
        return text
    head = (max_length - 3) * 2 // 3
    return f"{text[:head]}...{text[len(text) - (max_length - 3 - head) :]}"


class _BoundedRepr(Repr):
    """A `repr` of bounded cost, also for nested values and for integers of thousands of digits."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxlong, self.maxother = 3, MAX_LENGTH, 40, MAX_LENGTH
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdict = 20

    def repr_int(self, x: int, level: int) -> str:
        """Return the digits, or the number of bits if Python refuses to convert the integer."""
        return super().repr_int(x, level) if x.bit_length() < 10_000 else f"<integer of {x.bit_length():,} bits>"


def quoted(value: object) -> str:
    """Return a shortened `repr(value)`, to quote a value of any size in a sentence."""
    return shortened(_BoundedRepr().repr(value), 2 * MAX_LENGTH)


def printable(text: str) -> str:
    r"""Escape control characters, line ends and lone surrogates, for instance as \x1b, for safe output in a terminal.

    Python represents bytes of a file name that are not UTF-8 as lone surrogates; they become \xff, as in a shell.
    """
    return text if text.isprintable() else "".join(map(_escape, text))


def is_unicode(text: str) -> bool:
    """Return whether UTF-8 can represent a text: Python's text for a path that is not UTF-8 has lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):  # Cf includes the marks that reverse text
        return character.encode("unicode_escape").decode("ascii")
    return character


def shell_word(word: str) -> str:
    """Quote `word` for a shell; unprintable characters become octal escapes within $'...'."""
    if printable(word) == word:
        return shlex.quote(word)
    return "$'" + "".join(map(_escape_for_shell, word)) + "'"


def _escape_for_shell(character: str) -> str:
    if character in "'\\":
        return f"\\{character}"
    if printable(character) == character:
        return character
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(character))  # three digits each
