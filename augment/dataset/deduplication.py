"""List all duplicate images in a table, and remove duplicates from the training images.

`augment inspect SOURCE --duplicates FILE.csv` writes the table. `augment.dataset.duplicates` finds the pairs.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from augment.dataset.duplicates import find_leaks, group_copies, measure_duplicates, measure_matches
from augment.dataset.images import LabelledImages
from augment.errors import SourceError
from augment.progress import Progress, no_progress
from augment.words import counted

COLUMNS = ("kind", "first_split", "first", "second_split", "second", "first_class", "second_class", "difference")
MIN_PER_CLASS = 2  # training images


class DuplicatePair(NamedTuple):
    """A training image and a duplicate of it.

    split: the split of the second image, which may be `train` too. first, second: indices in their splits. difference:
    as measured by the module `duplicates`; 0 for equal pixels.
    """

    exact: bool
    first: int
    split: str
    second: int
    difference: float


def find_duplicate_pairs(splits: Mapping[str, LabelledImages], progress: Progress = no_progress) -> list[DuplicatePair]:
    """Find duplicates among the training images and between them and each other split, exact before near ones.

    Exact copies are paired with the first of them. A training image is paired with one image per other split: the
    first exact copy, or else the most similar near duplicate. progress: called during each search.
    """
    train = splits["train"]
    groups = [group for group in group_copies(train).values() if len(group) > 1]
    found = [DuplicatePair(True, first, "train", other, 0.0) for first, *others in groups for other in others]
    found += [DuplicatePair(False, i, "train", j, d) for (i, j), d in measure_duplicates(train, progress).items()]
    for split, data in splits.items():
        if split != "train":
            found += [DuplicatePair(True, i, split, j, 0.0) for i, j in find_leaks(train, data)]
            near = measure_matches(train, data, progress)
            found += [DuplicatePair(False, i, split, j, d) for (i, j), d in near.items()]
    return found


def format_csv(
    pairs: Iterable[DuplicatePair], splits: Mapping[str, LabelledImages], name_image: Callable[[str, int], str]
) -> str:
    """Return the table, one line per pair. name_image: returns the name of an image, given its split and index."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for pair in pairs:
        first, second = splits["train"], splits[pair.split]
        table.writerow(
            (
                "exact" if pair.exact else "near",
                "train",
                name_image("train", pair.first),
                pair.split,
                name_image(pair.split, pair.second),
                first.class_names[first.labels[pair.first]],
                second.class_names[second.labels[pair.second]],
                f"{pair.difference:.4f}",
            )
        )
    return text.getvalue()


def drop_duplicates(
    train: LabelledImages, others: Mapping[str, LabelledImages], progress: Progress = no_progress
) -> tuple[LabelledImages, tuple[str, ...]]:
    """Remove duplicates from `train`, and return the remaining images and a note on what was removed, if anything.

    Of a group of exact or near duplicates, the first image is kept. The whole group is removed if its images have more
    than one class, because the right one is unknown, or if one of them is also in `others`, because the rest are
    then copies of an image there. Raises `SourceError` if fewer than 2 images of a class are left.
    """
    pairs = find_duplicate_pairs({"train": train, **others}, progress)
    leaked = {pair.first for pair in pairs if pair.split != "train"}
    in_other, in_conflict, repeated = set(leaked), set[int](), set[int]()
    for group in _groups(pairs):
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
    _check_remaining(train, kept)
    reasons = [
        f"{len(repeated):,} that repeat another one" if repeated else "",
        f"{len(in_conflict):,} that are in more than one class" if in_conflict else "",
        f"{len(in_other):,} that are also in {' or '.join(others)}, or copies of such images" if in_other else "",
    ]
    listed = ", ".join(filter(None, reasons))
    return kept, (f"{len(dropped):,} of {counted(len(train), 'training image')} were dropped as copies: {listed}",)


def _groups(pairs: Iterable[DuplicatePair]) -> list[list[int]]:
    """Return the groups of training images that are duplicates of each other, directly or through others, in order."""
    from scipy.cluster.hierarchy import DisjointSet  # here, because the import takes a while

    links = [(pair.first, pair.second) for pair in pairs if pair.split == "train"]
    images = DisjointSet(sorted({i for link in links for i in link}))
    for link in links:
        images.merge(*link)
    return [sorted(group) for group in images.subsets()]


def _check_remaining(train: LabelledImages, kept: LabelledImages) -> None:
    for name, before, after in zip(train.class_names, train.counts(), kept.counts(), strict=True):
        if after < MIN_PER_CLASS:
            raise SourceError(
                f"class {name!r} has {before} training images and {after} without copies: at least {MIN_PER_CLASS} are "
                "needed; add images, or keep the copies"
            )
