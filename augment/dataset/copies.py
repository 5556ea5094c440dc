"""What can be done about images that are there twice: a table of them all, and training images without them.

The table is a `.csv` (`augment inspect SOURCE --duplicates FILE.csv`); `augment.dataset.duplicates` finds the pairs.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from augment.dataset.duplicates import find_leaks, group_copies, measure_duplicates, measure_matches
from augment.dataset.images import LabelledImages
from augment.errors import SourceError
from augment.words import counted

COLUMNS = ("kind", "first_split", "first", "second_split", "second", "first_class", "second_class", "difference")
FEWEST = 2  # training images of a class


class Copy(NamedTuple):
    """A training image, and the same image elsewhere.

    split: where the second one is, `train` too. first, second: places in their splits. difference: as `duplicates`
    measures it, 0 for equal pixels.
    """

    exact: bool
    first: int
    split: str
    second: int
    difference: float


def find_all(splits: Mapping[str, LabelledImages]) -> list[Copy]:
    """Copies among the training images and between them and every other split, exact ones before near ones.

    Of exact copies the first stands for all. For each training image that is in another split, the image there that is
    most like it.
    """
    train = splits["train"]
    groups = [places for places in group_copies(train).values() if len(places) > 1]
    found = [Copy(True, first, "train", other, 0.0) for first, *others in groups for other in others]
    found += [Copy(False, i, "train", j, difference) for (i, j), difference in measure_duplicates(train).items()]
    for split, data in splits.items():
        if split != "train":
            found += [Copy(True, i, split, j, 0.0) for i, j in find_leaks(train, data)]
            found += [Copy(False, i, split, j, d) for (i, j), d in measure_matches(train, data).items()]
    return found


def as_csv(copies: Iterable[Copy], splits: Mapping[str, LabelledImages], where: Callable[[str, int], str]) -> str:
    """The table, a line a pair. where: what an image is called, by its split and its place there."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for copy in copies:
        first, second = (splits[split] for split in ("train", copy.split))
        table.writerow(
            (
                "exact" if copy.exact else "near",
                "train",
                where("train", copy.first),
                copy.split,
                where(copy.split, copy.second),
                first.class_names[first.labels[copy.first]],
                second.class_names[second.labels[copy.second]],
                f"{copy.difference:.4f}",
            )
        )
    return text.getvalue()


def without_copies(
    train: LabelledImages, others: Mapping[str, LabelledImages]
) -> tuple[LabelledImages, tuple[str, ...]]:
    """`train` with each image once and none that is in `others`, and a sentence on what was left out.

    Of a group of copies, exact or near, the first is kept. All of it goes where it has more than one class, since
    nobody knows the right one, and where one of it is in another split too, since the others are copies of that one.
    Raises `SourceError` if fewer than 2 images of a class are left.
    """
    copies = find_all({"train": train, **others})
    leaked = {copy.first for copy in copies if copy.split != "train"}
    in_other, in_conflict, repeated = set(leaked), set[int](), set[int]()
    for group in _groups(copies):
        if leaked & set(group):
            in_other |= set(group)
        elif len(set(train.labels[group].tolist())) > 1:
            in_conflict |= set(group)
        else:
            repeated |= set(group[1:])
    dropped = in_other | in_conflict | repeated
    if not dropped:
        return train, ()
    kept = train.take(np.setdiff1d(np.arange(len(train)), list(dropped)))
    _check_left(train, kept)
    parts = [
        f"{len(repeated):,} that repeat another one" if repeated else "",
        f"{len(in_conflict):,} that are in more than one class" if in_conflict else "",
        f"{len(in_other):,} that are in {' or '.join(others)} too, or copies of such" if in_other else "",
    ]
    what = ", ".join(filter(None, parts))
    return kept, (f"{len(dropped):,} of {counted(len(train), 'training image')} were dropped as copies: {what}",)


def _groups(copies: Iterable[Copy]) -> Iterator[NDArray[np.intp]]:
    """The training images that are copies of each other, directly or by way of others, each group in order."""
    root: dict[int, int] = {}

    def find(i: int) -> int:
        while root.setdefault(i, i) != i:
            i = root[i]
        return i

    for copy in copies:
        if copy.split == "train":
            first, second = sorted((find(copy.first), find(copy.second)))
            root[second] = first
    groups: dict[int, list[int]] = {}
    for i in sorted(root):
        groups.setdefault(find(i), []).append(i)
    return (np.array(group, np.intp) for group in groups.values())


def _check_left(train: LabelledImages, kept: LabelledImages) -> None:
    for name, before, after in zip(train.class_names, train.counts(), kept.counts(), strict=True):
        if after < FEWEST:
            raise SourceError(
                f"class {name!r} has {before} training images and {after} without copies: at least {FEWEST} are "
                "needed; add images, or leave the copies in"
            )
