"""Load the training, validation and test images of an experiment from a source."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from augment.dataset.deduplication import drop_duplicates
from augment.dataset.duplicates import conflicting, find_leaks, group_copies, measure_duplicates, measure_matches
from augment.dataset.export import read_scores
from augment.dataset.images import LabelledImages, match_format, subset_per_class
from augment.dataset.inspection import MAX_NAMED, image_name
from augment.dataset.sources import Source, read_source
from augment.errors import SourceError
from augment.generators.sampling import SyntheticImages
from augment.markers import read_marker
from augment.progress import Progress
from augment.runtime import NO_OBSERVER, Observer
from augment.seeds import derive_seed
from augment.words import are, counted, listed, quoted
from pipelines.config.sections import DataConfig
from pipelines.experiment.unlabelled_images import load_unlabelled, near_test_notes

Names = Mapping[tuple[str, int], str]
READING, COMPARING = "read pictures", "search for copies"  # names of work whose progress is reported


@dataclass(frozen=True)
class LoadedSource:
    """The images of a source, with the same classes and size in every split, and warnings about them.

    pool: all training images. train: the training images that are used, at most `samples_per_class` of each class. val:
    images to choose a mix on; None if the source has none or if they serve as the test set. unlabelled: images whose
    labels are all 0 and mean nothing. source: the source of these images, except of `unlabelled`, and of `test` if
    `data.test` names another source. test_names: as `names`, of test images of another one.
    """

    name: str
    pool: LabelledImages
    train: LabelledImages
    test: LabelledImages | None
    warnings: tuple[str, ...]
    val: LabelledImages | None = None
    unlabelled: LabelledImages | None = None
    source: Source | None = None
    test_names: Names = field(default_factory=dict)

    @cached_property
    def _source_names(self) -> Names:
        if self.source is None:
            return {}
        parts = [_names(self.source, split, data) for split, data in self.source.splits.items()]
        return {key: name for part in parts for key, name in part.items()}

    @property
    def names(self) -> Names:
        """The file of each image, or its place in an array, by its hash and label."""
        return {**self._source_names, **self.test_names}

    @property
    def fingerprint(self) -> str | None:
        """Return a hash of the distinct images of the source with their labels, in any order; None without a source."""
        images = repr(sorted(self._source_names))
        return None if self.source is None else hashlib.sha256(images.encode()).hexdigest()[:16]


def _names(source: Source, split: str, data: LabelledImages) -> Names:
    """Return the names of the images of a split, by the hashes and labels of `data`, in the same order."""
    keys = zip(data.hashes, data.labels.tolist(), strict=True)
    return {key: image_name(source, split, i) for i, key in enumerate(keys)}


def load(config: DataConfig, observer: Observer = NO_OBSERVER) -> LoadedSource:
    """Read the source and select its test images: those of `config.test`, else its test split, else its val split.

    Raises `SourceError` or `ConfigError`.
    """
    reading, comparing = (partial(observer.on_work, name) for name in (READING, COMPARING))
    source = read_source(
        config.source,
        image_size=config.image_size,
        resize=config.resize,
        skip_broken=config.skip_broken,
        largest=config.largest_size,
        progress=reading,
    )
    pool, val = source.train, source.val
    notes = tuple(source.unread(most=1))
    test, names, test_notes = _find_test(config, source, reading)
    if test is source.val:
        val = None
    if config.drop_duplicates:
        other_splits = {"val": val, "test": test}
        pool, copy_notes = drop_duplicates(
            pool, {name: data for name, data in other_splits.items() if data is not None}, comparing
        )
        notes += copy_notes
    elif conflicts := conflicting(pool, group_copies(pool).values()):
        notes += (
            f"{counted(len(conflicts), 'training image')} {are(len(conflicts))} in more than one class (`augment "
            "inspect` names them): correct the labels; run, fit and train leave them out with --drop-duplicates",
        )
    labelled = [data for data in (source.train, source.val, test) if data is not None]
    unlabelled, unlabelled_notes = load_unlabelled(config, labelled, reading)
    notes = (*notes, *test_notes, *_untested_notes(test), *unlabelled_notes)
    if unlabelled is not None:
        notes += near_test_notes(unlabelled, pool, test, comparing)
    return LoadedSource(source.name, pool, limit_per_class(pool, config), test, notes, val, unlabelled, source, names)


def _untested_notes(test: LabelledImages | None) -> tuple[str, ...]:
    if test is None or not (untested := [quoted(name) for name, count in test.per_class().items() if not count]):
        return ()
    return (f"the test set has no image of {listed(untested, MAX_NAMED)}, so nothing is measured of that",)


def limit_per_class(data: LabelledImages, config: DataConfig) -> LabelledImages:
    """Draw at most `samples_per_class` images of each class, or return all images if no number is set."""
    seed = derive_seed(config.seed, "subset")
    return data if config.samples_per_class is None else subset_per_class(data, config.samples_per_class, seed)


def limit_notes(data: LabelledImages, config: DataConfig) -> tuple[str, ...]:
    """Return a sentence that says how many images `limit_per_class` keeps, if it leaves some out."""
    if config.samples_per_class is None:
        return ()
    used = int(np.minimum(data.counts(), config.samples_per_class).sum())
    if used == len(data):
        return ()
    most = counted(config.samples_per_class, "image")
    return (f"at most {most} of each class are used: {used:,} of {counted(len(data), 'training image')}",)


def unused_notes(loaded: LoadedSource, config: DataConfig) -> tuple[str, ...]:
    """Return sentences on unused images, for commands that have no protocol and choose no mix."""
    notes = limit_notes(loaded.pool, config)
    if loaded.val is None:
        return notes
    count = counted(len(loaded.val), "validation image")
    return (*notes, f"{count} of the source are not used: only `augment run` uses them, to choose a mix")


def leak_warnings(
    train: LabelledImages, test: LabelledImages, observer: Observer = NO_OBSERVER, split: str = "test"
) -> tuple[str, ...]:
    """Return warnings about training images that are also in the test set, as exact or near duplicates.

    Such images make the accuracies of all arms too high. split: the name of the other images.
    """
    warnings = []
    harm = "accuracies are too high for all arms"
    if split != "test":
        harm = "choice favours mixes with memorised images"
    if leaks := find_leaks(train, test):
        warnings.append(leak_note(len(leaks), "training image", split, harm))
    if near := measure_matches(train, test, partial(observer.on_work, COMPARING)):
        warnings.append(
            f"{counted(len(near), 'training image')} {are(len(near))} nearly the same as a {split} image or its mirror "
            f"image (`augment inspect` names some): if these are copies, the {harm}"
        )
    return tuple(warnings)


def leak_note(count: int, what: str, split: str, harm: str) -> str:
    """Return the sentence on so many images, "training image" for example, that are also in a split."""
    return f"{counted(count, what)} {are(count)} in the {split} set too, pixel for pixel: the {harm}"


def duplicate_warnings(
    data: LabelledImages, observer: Observer = NO_OBSERVER, harm: str = "the accuracies are too high for all arms"
) -> tuple[str, ...]:
    """Return warnings about exact and near duplicates within a set that is split into folds.

    One image of a pair may be trained on while the other is tested on. harm: what follows from that.
    """
    warnings = []
    too_high = f"where they fall into different folds {harm}"
    if copies := len(data) - len(group_copies(data)):
        warnings.append(
            f"{counted(copies, 'exact duplicate')} among the images: {too_high}; --drop-duplicates leaves them out"
        )
    if near := measure_duplicates(data, partial(observer.on_work, COMPARING)):
        warnings.append(
            f"{counted(len(near), 'pair')} of images {are(len(near))} nearly the same, or nearly mirror images "
            f"(`augment inspect` names some): if these are copies, {too_high}"
        )
    return tuple(warnings)


def load_synthetic(folder: Path, real: LabelledImages) -> tuple[SyntheticImages, tuple[str, ...]]:
    """Read the images in `folder` with the classes and the size of `real`, and a note if they were resized.

    Scores of another number than the images are ignored.
    """
    source = read_source(folder, image_size=real.size, complete=False)
    images, scores = match_format(source.train, real, "synthetic images"), read_scores(folder)
    notes: tuple[str, ...] = ()
    other_sizes = [size for size in source.original_sizes if size != (real.size, real.size)]
    if other_sizes:
        sizes = "{} x {}".format(*other_sizes[0]) + (" and other sizes" if len(other_sizes) > 1 else "")
        notes = (f"synthetic images of {sizes} were resized to {real.size} x {real.size} px, as the real ones are",)
    if scores is not None and len(scores) != len(images):
        scores = None
    return SyntheticImages(images, scores=scores), notes


def require_test(loaded: LoadedSource) -> LabelledImages:
    """Return the test images. Raises `SourceError` that says what to do if there are none."""
    if loaded.test is None:
        raise SourceError(
            f"{loaded.name} has no test split, and synthetic images may have been generated from any of its images; "
            "give test images with --test, or use `augment run auto SOURCE`, which tests by "
            "cross-validation"
        )
    return loaded.test


def missing_test_note(loaded: LoadedSource) -> tuple[str, ...]:
    """Return a note if a source has no test images, so that its generator was fitted to all of its images."""
    if loaded.test is not None:
        return ()
    return (
        f"{loaded.name} has no test split, so images of this generator can only be evaluated on other images "
        "(evaluate --test); `augment run auto SOURCE` holds some out first",
    )


def _find_test(
    config: DataConfig, source: Source, progress: Progress
) -> tuple[LabelledImages | None, Names, tuple[str, ...]]:
    """Return the test images, their names if they are of another source, and notes on which images are (not) used."""
    if config.test is None:
        if source.test is not None or source.val is None:
            return source.test, {}, ()
        note = f"the source has no test split, so its {counted(len(source.val), 'validation image')} are the test set"
        return source.val, {}, (note,)
    if (marker := read_marker(Path(config.test))) is not None and marker.command == "generate":
        raise SourceError(f"--test {config.test} holds generated images: classifiers are tested on real ones")
    other = read_source(
        config.test,
        image_size=source.train.size,
        resize=config.resize,
        skip_broken=config.skip_broken,
        complete=False,
        progress=progress,
    )
    notes = [f"{other.name}: {sentence}" for sentence in other.unread(most=1)]
    if source.test is not None:
        notes.append(
            f"the source's own {counted(len(source.test), 'test image')} are not used: those of {other.name} are the "
            "test set"
        )
    selected = "train" if other.test is None else "test"
    words = {"train": "training image", "val": "validation image"}
    unused = [counted(len(data), words[split]) for split, data in other.splits.items() if split != selected]
    if unused:
        notes.append(f"the test set is the {selected} split of {other.name}: its {' and '.join(unused)} are not used")
    test = match_format(other.splits[selected], source.train, "test images")
    return test, _names(other, selected, test), tuple(notes)
