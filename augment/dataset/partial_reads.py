"""What is not read of pictures: frames, transparency, dark grey levels, broken files, and files without a class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from augment.words import counted, listed, printable


class PartialReads(NamedTuple):
    """The numbers of pictures of which only a part is read.

    transparent: an alpha channel or a transparent colour, which becomes white. frames: several frames or pages, of
    which the first is read. dark: 16 bits per pixel, of which the values use less than an eighth of the range.
    """

    transparent: int = 0
    frames: int = 0
    dark: int = 0

    def sentences(self) -> list[str]:
        """Return sentences on what is lost of the pictures: frames, and grey levels."""
        sentences = []
        if self.frames:
            sentences.append(
                f"{counted(self.frames, 'file')} with several frames or pages: only the first of each is read; save "
                "the others as files of their own to use them"
            )
        if self.dark:
            sentences.append(
                f"{counted(self.dark, 'file')} of 16 bits with values below an eighth of their range become nearly "
                "black: if they hold 10 to 12 bits, multiply their values by 64 to 16"
            )
        return sentences

    def plus(self, others: Iterable[PartialReads]) -> PartialReads:
        """Return the sums of these numbers and of others."""
        return PartialReads(*map(sum, zip(self, *others, strict=True)))


NONE_PARTIAL = PartialReads()


def ignored_note(names: Sequence[str], most: int) -> str:
    """Return a sentence on pictures that are beside class folders, with the names of the first `most` of them."""
    beside = listed([printable(name) for name in names], most)
    return f"{counted(len(names), 'picture')} beside the class folders ignored: {beside}; move them into class folders"


def unread_notes(skipped: Sequence[str], ignored: Sequence[str], partial: PartialReads, most: int) -> list[str]:
    """Return sentences on pictures that are not read or only in part.

    skipped: the names of broken files. ignored: of pictures beside class folders. most: how many a sentence names.
    """
    notes = [skipped_note(skipped, most)] if skipped else []
    notes += [ignored_note(ignored, most)] if ignored else []
    return [*notes, *partial.sentences()]


def skipped_note(names: Sequence[str], most: int) -> str:
    """Return a sentence on broken files that were left out, with the names of the first `most` of them."""
    return f"{counted(len(names), 'broken file')} skipped: {listed([printable(name) for name in names], most)}"
