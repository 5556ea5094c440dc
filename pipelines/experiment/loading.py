"""A source to the training and test images of an experiment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from augment.dataset.copies import without_copies
from augment.dataset.duplicates import find_copies, find_leaks, near_duplicates, near_matches
from augment.dataset.export import read_scores
from augment.dataset.images import LabelledImages, subset_per_class
from augment.dataset.mixing import match
from augment.dataset.sources import Source, read_source
from augment.errors import SourceError
from augment.generators.sampling import SyntheticImages
from augment.seeds import derive_seed
from augment.words import counted, printable
from pipelines.config.sections import DataConfig


@dataclass(frozen=True)
class Loaded:
    """What a source holds, of equal classes and size, and what a person should know about it.

    pool: all training images. train: those of them that are used, at most `samples_per_class` of each class. val:
    images to choose a mix on, None where there are none or where they are the test set.
    """

    name: str
    pool: LabelledImages
    train: LabelledImages
    test: LabelledImages | None
    warnings: tuple[str, ...]
    val: LabelledImages | None = None


def load(config: DataConfig) -> Loaded:
    """Read the source and find its test images: those of `config.test`, or the source's test split, or its val split.

    Raises `SourceError`, `ConfigError`.
    """
    source = read_source(
        config.source,
        image_size=config.image_size,
        resize=config.resize,
        skip_broken=config.skip_broken,
        largest=config.largest_size,
    )
    pool, val, notes = source.train, source.val, _skipped(source)
    test, of_test = _find_test(config, source)
    if test is source.val:
        val = None
    if config.drop_duplicates:
        others = {"val": val, "test": test}
        pool, dropped = without_copies(pool, {split: data for split, data in others.items() if data is not None})
        notes += dropped
    return Loaded(source.name, pool, limited(pool, config), test, (*notes, *of_test), val)


def limited(data: LabelledImages, config: DataConfig) -> LabelledImages:
    """At most `samples_per_class` images of each class, all of them where no number is set."""
    seed = derive_seed(config.seed, "subset")
    return data if config.samples_per_class is None else subset_per_class(data, config.samples_per_class, seed)


def limit_notes(data: LabelledImages, config: DataConfig) -> tuple[str, ...]:
    """A sentence on how many images `limited` leaves out, if any."""
    used = len(limited(data, config))
    if used == len(data):
        return ()
    most = counted(config.samples_per_class or 0, "image")
    return (f"at most {most} of each class are used: {used:,} of {counted(len(data), 'training image')}",)


def used_notes(loaded: Loaded, config: DataConfig) -> tuple[str, ...]:
    """Sentences on images that are left out where neither a protocol nor a choice of the mix uses them."""
    notes = limit_notes(loaded.pool, config)
    if loaded.val is None:
        return notes
    count = counted(len(loaded.val), "validation image")
    return (*notes, f"{count} of the source not used: they serve `augment run` to choose a mix on")


def leak_warnings(train: LabelledImages, test: LabelledImages, split: str = "test") -> tuple[str, ...]:
    """Sentences on training images that are in the test set too, exactly or nearly: what would flatter every arm.

    split: what the other images are called.
    """
    warnings = []
    harm = "accuracies are too high for all arms"
    if split != "test":
        harm = "mixes of memorised images win the choice"
    if leaks := find_leaks(train, test):
        warnings.append(f"{counted(len(leaks), 'training image')} also in the {split} set, pixel for pixel: the {harm}")
    if near := near_matches(train, test):
        warnings.append(
            f"{counted(len(near), 'training image')} nearly the same as a {split} image or its mirror image "
            f"(`augment inspect` names some): if these are copies, the {harm}"
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


def load_synthetic(folder: Path, real: LabelledImages) -> tuple[SyntheticImages, tuple[str, ...]]:
    """The images in `folder` with the classes and the size of `real`, and a sentence where they were resized."""
    source = read_source(folder, image_size=real.size, complete=False)
    images, scores = match(source.train, real, "synthetic images"), read_scores(folder)
    notes: tuple[str, ...] = ()
    others = [size for size in source.original_sizes if size != (real.size, real.size)]
    if others:
        sizes = "{} x {}".format(*others[0]) + (" and other sizes" if len(others) > 1 else "")
        notes = (f"synthetic images of {sizes} were resized to {real.size} x {real.size} px, as the real ones are",)
    fitting = scores if scores is not None and len(scores) == len(images) else None
    return SyntheticImages(images, scores=fitting), notes


def require_test(loaded: Loaded) -> LabelledImages:
    """The test images. Raises `SourceError` that says what to do if there are none."""
    if loaded.test is None:
        raise SourceError(
            f"{loaded.name} has no test split, and images made elsewhere may have been made from any of its images; "
            "give test images with --test, or let `augment run quickstart --set data.source=...` hold some out first"
        )
    return loaded.test


def untested_note(loaded: Loaded) -> tuple[str, ...]:
    """A sentence on a generator that was fitted to all images of a source, so that none are left to test with."""
    if loaded.test is not None:
        return ()
    return (
        f"{loaded.name} has no test split, so what this generator makes can be evaluated on other images only "
        "(evaluate --test); `augment run quickstart --set data.source=...` holds some out first",
    )


def _find_test(config: DataConfig, source: Source) -> tuple[LabelledImages | None, tuple[str, ...]]:
    """The test images, and sentences on what other images took their place or were not used."""
    if config.test is None:
        if source.test is not None or source.val is None:
            return source.test, ()
        note = f"the source has no test split, so its {counted(len(source.val), 'validation image')} are the test set"
        return source.val, (note,)
    other = read_source(
        config.test, image_size=source.train.size, resize=config.resize, skip_broken=config.skip_broken, complete=False
    )
    notes = []
    if source.test is not None:
        notes.append(
            f"the source's own {counted(len(source.test), 'test image')} not used: those of {other.name} are the test "
            "set"
        )
    taken = "train" if other.test is None else "test"
    unused = [counted(len(data), f"{split} image") for split, data in other.splits.items() if split != taken]
    if unused:
        notes.append(f"the test set is the {taken} split of {other.name}: its {' and '.join(unused)} not used")
    return match(other.splits[taken], source.train, "test images"), tuple(notes)


def _skipped(source: Source) -> tuple[str, ...]:
    if not source.skipped:
        return ()
    first, *others = source.skipped
    return (
        f"{counted(1 + len(others), 'broken file')} skipped: {printable(first)}"
        + (f" and {len(others)} more" if others else ""),
    )
