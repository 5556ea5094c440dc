"""A source to the training and test images of an experiment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from augment.duplicates import find_copies, find_leaks, near_duplicates, near_matches
from augment.errors import SourceError
from augment.export import read_scores
from augment.images import LabelledImages, subset_per_class
from augment.mixing import match
from augment.sources import Source, read_source
from augment.words import counted, printable
from pipelines.definition import DataConfig


@dataclass(frozen=True)
class Loaded:
    """What a source holds, of equal classes and size, and what a person should know about it.

    pool: all training images. train: those of them that are used, at most `samples_per_class` of each class.
    """

    name: str
    pool: LabelledImages
    train: LabelledImages
    test: LabelledImages | None
    warnings: tuple[str, ...]


def load(config: DataConfig) -> Loaded:
    """Read the source and find its test images: those of `config.test`, or the source's own test split, or none.

    Raises `SourceError`, `ConfigError`.
    """
    source = read_source(
        config.source, image_size=config.image_size, resize=config.resize, skip_broken=config.skip_broken
    )
    pool = source.train
    test = _read_test(config, pool) if config.test else source.test
    return Loaded(source.name, pool, limited(pool, config), test, tuple(_skipped(source)))


def limited(data: LabelledImages, config: DataConfig) -> LabelledImages:
    """At most `samples_per_class` images of each class, all of them where no number is set."""
    return data if config.samples_per_class is None else subset_per_class(data, config.samples_per_class, config.seed)


def leak_warnings(train: LabelledImages, test: LabelledImages) -> tuple[str, ...]:
    """Sentences on training images that are in the test set too, exactly or nearly: what would flatter every arm."""
    warnings = []
    if leaks := find_leaks(train, test):
        warnings.append(
            f"{counted(len(leaks), 'training image')} also in the test set, pixel for pixel: "
            "the accuracies are too high for all arms"
        )
    if near := near_matches(train, test):
        warnings.append(
            f"{counted(len(near), 'training image')} nearly the same as a test image or its mirror image "
            "(`augment inspect` names some): if these are copies, the accuracies are too high for all arms"
        )
    return tuple(warnings)


def twin_warnings(data: LabelledImages) -> tuple[str, ...]:
    """The same of a set that is cut into folds: of two alike one may be trained on and the other one tested on."""
    warnings = []
    too_high = "where they fall into different folds the accuracies are too high for all arms"
    if again := len(data) - len(find_copies(data)):
        warnings.append(f"copies among the images, pixel for pixel, {again:,} too many: {too_high}")
    if near := near_duplicates(data):
        warnings.append(
            f"{counted(len(near), 'pair')} of images nearly the same, or one nearly the other's mirror image "
            f"(`augment inspect` names some): if these are copies, {too_high}"
        )
    return tuple(warnings)


class Made(NamedTuple):
    """Generated images with the classes and the size of the real ones, and a sentence where they were resized.

    scores: the discriminator's, one an image, if they are there.
    """

    images: LabelledImages
    scores: NDArray[np.float64] | None
    notes: tuple[str, ...]


def load_synthetic(folder: Path, real: LabelledImages) -> Made:
    """The images in `folder`, to be mixed with `real`."""
    source = read_source(folder, image_size=real.size, complete=False)
    images, scores = match(source.train, real, "synthetic images"), read_scores(folder)
    notes: tuple[str, ...] = ()
    others = [size for size in source.original_sizes if size != (real.size, real.size)]
    if others:
        sizes = "{} x {}".format(*others[0]) + (" and other sizes" if len(others) > 1 else "")
        notes = (f"synthetic images of {sizes} were resized to {real.size} x {real.size} px, as the real ones are",)
    return Made(images, scores if scores is not None and len(scores) == len(images) else None, notes)


def require_test(loaded: Loaded) -> LabelledImages:
    """The test images. Raises `SourceError` that says what to do if there are none."""
    if loaded.test is None:
        raise SourceError(
            f"{loaded.name} has no test split, and images made elsewhere may have been made from any of its images; "
            "give test images with --test, or let `augment run quickstart --set data.source=...` hold some out first"
        )
    return loaded.test


def untested_note(loaded: Loaded) -> tuple[str, ...]:
    """A sentence on a GAN that was trained on all images of a source, so that none are left to test with."""
    if loaded.test is not None:
        return ()
    return (
        f"{loaded.name} has no test split, so what this GAN makes can be evaluated on other images only "
        "(evaluate --test); `augment run quickstart --set data.source=...` holds some out first",
    )


def _read_test(config: DataConfig, train: LabelledImages) -> LabelledImages:
    assert config.test is not None
    other = read_source(
        config.test, image_size=train.size, resize=config.resize, skip_broken=config.skip_broken, complete=False
    )
    return match(other.test or other.train, train, "test images")


def _skipped(source: Source) -> list[str]:
    if not source.skipped:
        return []
    first, *others = source.skipped
    return [
        f"{counted(1 + len(others), 'broken file')} skipped: {printable(first)}"
        + (f" and {len(others)} more" if others else "")
    ]
