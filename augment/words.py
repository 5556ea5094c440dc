"""Words in sentences for people, and text of unknown origin in them."""

from __future__ import annotations

import os
import shlex
import unicodedata
from reprlib import Repr

LONGEST = 100  # characters of a value that a sentence quotes


def counted(n: int, noun: str) -> str:
    """How many of what: "1 image", "2,000 images", "3 classes"."""
    ending = "" if n == 1 else "es" if noun.endswith("s") else "s"
    return f"{n:,} {noun}{ending}"


def shortened(text: str, longest: int = LONGEST) -> str:
    """`text`, without its middle if it has more than `longest` characters."""
    if len(text) <= longest:
        return text
    head = (longest - 3) * 2 // 3
    return f"{text[:head]}...{text[len(text) - (longest - 3 - head) :]}"


class _Quoting(Repr):
    """A repr whose cost has a bound, also for nested values and for integers of thousands of digits."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxlong, self.maxother = 3, LONGEST, 40, LONGEST
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdict = 20

    def repr_int(self, x: int, level: int) -> str:
        """Digits, or how many there are where Python refuses to write them."""
        return super().repr_int(x, level) if x.bit_length() < 10_000 else f"<integer of {x.bit_length():,} bits>"


def quoted(value: object) -> str:
    """`repr(value)`, shortened: what a sentence quotes of a value that may be of any size."""
    return shortened(_Quoting().repr(value), 2 * LONGEST)


def printable(text: str) -> str:
    r"""`text` with control characters, line ends and lone surrogates as escapes such as \x1b: safe for a terminal.

    Bytes of a file name that are not UTF-8 reach Python as lone surrogates; they become \xff, as the shell writes them.
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):  # Cf: among others, what turns text around
        return character.encode("unicode_escape").decode("ascii")
    return character


def shell_word(word: str) -> str:
    """`word` quoted for a shell, printable: what cannot be shown stands as octal escapes within $'...'."""
    if printable(word) == word:
        return shlex.quote(word)
    return "$'" + "".join(map(_shell_escaped, word)) + "'"


def _shell_escaped(character: str) -> str:
    if character in "'\\":
        return f"\\{character}"
    if printable(character) == character:
        return character
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(character))  # octal has three digits: no digit can join it
