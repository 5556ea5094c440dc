"""Load the unlabelled images that arms and generators may learn from, and compare them with the labelled ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from augment.dataset.duplicates import find_leaks, measure_matches
from augment.dataset.images import LabelledImages, concatenate
from augment.dataset.partial_reads import NONE_PARTIAL, unread_notes
from augment.dataset.pictures import BATCH, Batch, Format, Picture, decoded, pictures_by_split
from augment.errors import SourceError
from augment.progress import Progress
from augment.words import are, counted, printable
from pipelines.config.sections import DataConfig


def load_unlabelled(
    config: DataConfig, labelled: Sequence[LabelledImages], progress: Progress
) -> tuple[LabelledImages | None, tuple[str, ...]]:
    """Return the unlabelled images in the format of the labelled ones, without copies of these, and notes on them."""
    if config.unlabelled is None:
        return None, ()
    like, (by_split, beside) = labelled[0], pictures_by_split(config.unlabelled)
    pictures = [picture for of_split in by_split.values() for picture in of_split]
    pictures += [Picture(str(file), file) for file in beside]  # class folders or not: labels mean nothing here
    form = Format(like.size, config.resize, like.channels)
    batches = list[Batch]()
    for batch in decoded(pictures, form, os.cpu_count() or 1, skip_broken=config.skip_broken):
        batches.append(batch)
        progress(min(BATCH * len(batches), len(pictures)), len(pictures))
    broken = [name for batch in batches for name in batch.broken]
    if len(broken) == len(pictures):
        raise SourceError(f"{config.unlabelled} has no picture that can be read; the first is {printable(broken[0])}")
    images = np.concatenate([batch.images for batch in batches])
    read = LabelledImages(images, np.zeros(len(images), np.int64), like.class_names)
    copies = [i for i, _ in find_leaks(read, concatenate(labelled))]
    if len(copies) == len(read):
        raise SourceError(f"{config.unlabelled} has no unlabelled image that is not among the labelled ones")
    notes = [f"{counted(len(read) - len(copies), 'unlabelled image')} of {printable(config.unlabelled)}"]
    if copies:
        same = "the same as a labelled image, pixel for pixel"
        notes.append(f"{counted(len(copies), 'unlabelled image')} left out: {same}")
    notes += unread_notes(broken, (), NONE_PARTIAL.plus(batch.partial_reads for batch in batches), most=1)
    return read.take(np.setdiff1d(np.arange(len(read)), copies)), tuple(notes)


def near_test_notes(
    unlabelled: LabelledImages, pool: LabelledImages, test: LabelledImages | None, progress: Progress
) -> tuple[str, ...]:
    """Return a note on unlabelled images that are nearly test images, whatever the classes of these are.

    Without a test set, every image of the pool may be tested on.
    """
    tested = pool if test is None else test
    near = measure_matches(unlabelled, replace(tested, labels=np.zeros_like(tested.labels)), progress)
    if not near:
        return ()
    which = "a labelled image, and each of these may be a test image" if test is None else "a test image"
    return (
        f"{counted(len(near), 'unlabelled image')} {are(len(near))} nearly the same as {which}: if these are "
        "copies, remove them, because arms that learn from them would be tested on images they have seen",
    )
