"""Divide a labelled set into the training and test images of each repeat: `PROTOCOLS`.

`holdout`: a test set exists, or a fraction of each class is held out as one. `subsample`: repeat r draws n images of
each class from a larger pool; several n give a learning curve. `imbalance`: repeat r draws which classes are large, and
many images of these and few of the others, from a larger pool. `kfold`: every image is tested once in each round of k
folds. The training and test images of a fold never overlap, so neither a classifier nor a generator sees a test image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from augment.dataset.images import LabelledImages, split_per_class, subset_per_class
from augment.errors import ConfigError
from augment.runtime import Observer
from augment.seeds import derive_seed
from augment.words import counted
from pipelines.config.sections import ChooseConfig, DataConfig, ProtocolConfig
from pipelines.experiment.folds import (
    NEW_CLASSES,
    NEW_GENERATORS,
    NEW_SUBSETS,
    ONE_GENERATOR,
    OTHER_FOLDS,
    Design,
    Fold,
)
from pipelines.experiment.loading import LoadedSource, duplicate_warnings, leak_warnings, limit_notes, limit_per_class

FOLDS = 5


class CopySearch(NamedTuple):
    """Images to search for copies of others. others: None if copies among the images themselves matter."""

    images: LabelledImages
    others: LabelledImages | None
    split: str = "test"  # the name of the others


@dataclass(frozen=True)
class Protocol:
    """The folds, their design for the statistics, and warnings for the user.

    copy_searches: where `with_copy_warnings` searches for copies.
    """

    folds: tuple[Fold, ...]
    design: Design
    warnings: tuple[str, ...]
    copy_searches: tuple[CopySearch, ...]


def make_protocol(
    loaded: LoadedSource, data: DataConfig, config: ProtocolConfig, repeats: int, *, chooses_mix: bool = False
) -> Protocol:
    """Draw the folds by the protocol that `config` names, or otherwise by the one that fits the source.

    chooses_mix: whether a mix will be chosen, for the note on validation images. Raises `ConfigError` if the source has
    too few images for the protocol, and `SourceError` if a class cannot be split.
    """
    kind, why = (config.kind, "as the pipeline says") if config.kind else infer_protocol(loaded, data)
    protocol = PROTOCOLS[kind](loaded, data, config, repeats)
    first, copy_searches = protocol.folds[0], protocol.copy_searches
    warnings = (*protocol.warnings, *_validation_notes(loaded, first, kind, chooses_mix))
    if first.val is not None and chooses_mix:
        copy_searches = (*copy_searches, CopySearch(first.train, first.val, "validation"))
    folds = tuple(replace(fold, unlabelled=loaded.unlabelled) for fold in protocol.folds)
    return Protocol(folds, replace(protocol.design, why=f"{kind}: {why}"), warnings, copy_searches)


def with_copy_warnings(protocol: Protocol, observer: Observer) -> Protocol:
    """Return the protocol with warnings about copies among its images, which takes seconds for 10,000 images."""
    warnings = list(protocol.warnings)
    for images, others, split in protocol.copy_searches:
        if others is None:
            warnings += duplicate_warnings(images, observer)
        else:
            warnings += leak_warnings(images, others, observer, split)
    return replace(protocol, warnings=tuple(warnings))


def _validation_notes(loaded: LoadedSource, fold: Fold, kind: str, chooses_mix: bool) -> tuple[str, ...]:
    """Return notes on what the validation images are used for."""
    if loaded.val is None:
        return ()
    count = counted(len(loaded.val), "validation image")
    if not chooses_mix:
        return (f"{count} of the source are not used: no mix is chosen",)
    if fold.val is None:
        return (f"{count} of the source are not used: {kind} chooses a mix on parts of its own training images",)
    return (f"{count} of the source are used only to choose the mix",)


def infer_protocol(loaded: LoadedSource, data: DataConfig) -> tuple[str, str]:
    """Return the name of the protocol that fits a source, and the reason in a sentence."""
    if loaded.test is None:
        return "kfold", "the source has no test split, so every image is tested once in each round of folds"
    fewest = int(loaded.pool.counts().min())
    if data.samples_per_class is not None and data.samples_per_class <= fewest // 2:
        return "subsample", (
            f"each class has {fewest} training images or more and {data.samples_per_class} are used, so every repeat "
            "can draw its own"
        )
    return "holdout", "there are test images, and all training images are used"


def _holdout(loaded: LoadedSource, data: DataConfig, config: ProtocolConfig, repeats: int) -> Protocol:
    pool, test, warnings = _with_test(loaded, data)
    train = limit_per_class(pool, data)
    warnings += limit_notes(pool, data)
    if not config.redraw_generator:
        folds: tuple[Fold, ...] = (Fold(train, test, tuple(range(repeats)), val=loaded.val),)
        design = Design("holdout", test_labels=test.labels, note=ONE_GENERATOR)
        return Protocol(folds, design, warnings, (CopySearch(train, test),))
    folds = tuple(Fold(train, test, (r,), f"g{r}", numbers=(r,), val=loaded.val) for r in range(repeats))
    design = Design("holdout", test_labels=test.labels, note=NEW_GENERATORS)
    return Protocol(folds, design, warnings, (CopySearch(train, test),))


def _subsample(loaded: LoadedSource, data: DataConfig, config: ProtocolConfig, repeats: int) -> Protocol:
    pool, test, warnings = _with_test(loaded, data)
    sizes = config.sizes or ((data.samples_per_class,) if data.samples_per_class else ())
    fewest = int(pool.counts().min())
    if not sizes or sizes[-1] > fewest:
        requested = f"{sizes[-1]} are requested" if sizes else "no size is set"
        raise ConfigError(
            f"subsample draws images of each class from a larger pool, but the smallest class has {fewest} and "
            f"{requested}; "
            + (f"set protocol.sizes of at most {fewest // 2}, or " if fewest > 3 else "")
            + "use protocol.kind kfold"
        )
    folds = [
        Fold(subset_per_class(pool, n, derive_seed(data.seed, "subsample", r)), test, (r,), f"n{n}-r{r}", n, (n, r))
        for n in sizes
        for r in range(repeats)
    ]
    # the fraction of a class's training images that another repeat draws too, averaged over the classes
    correlation: dict[int | None, float] = {n: float(np.mean(n / pool.counts())) for n in sizes}
    if max(correlation.values()) == 1:
        raise ConfigError(
            f"{sizes[-1]} of each class are the whole pool, so all repeats would train on the same images; "
            "set smaller sizes, or use protocol.kind holdout"
        )
    reported = {"sizes": list(sizes)}
    design = Design("subsample", "", correlation, test.labels, reported, NEW_SUBSETS)
    drawn = len(folds[-1].train)
    warnings += (
        f"every repeat draws {' or '.join(map(str, sizes))} images of each class: at most {drawn:,} of "
        f"{counted(len(pool), 'training image')}",
    )
    return Protocol(tuple(folds), design, warnings, (CopySearch(pool, test),))


def _imbalance(loaded: LoadedSource, data: DataConfig, config: ProtocolConfig, repeats: int) -> Protocol:
    pool, test, warnings = _with_test(loaded, data)
    counts, classes = pool.per_class(), pool.num_classes
    fewest = min(counts, key=lambda name: counts[name])
    if counts[fewest] < config.large:
        held_out = (
            "" if loaded.test is not None else f" of {loaded.pool.per_class()[fewest]}, the others are test images"
        )
        raise ConfigError(
            f"imbalance draws {config.large} images of some classes and {config.small} of the others in every repeat, "
            f"but class {fewest!r} has {counts[fewest]} to train on{held_out}: use `augment run auto`, which takes the "
            f"classes as they are{_smaller_imbalance(counts[fewest])}"
        )
    if data.samples_per_class is not None:
        warnings += ("data.samples_per_class is not used: protocol.large and protocol.small say how many images",)
    large = min(max(round(config.large_classes * classes), 1), classes - 1)
    folds = []
    for r in range(repeats):
        rng = np.random.default_rng(derive_seed(data.seed, "imbalance", r))
        sizes = np.where(rng.permutation(classes) < large, config.large, config.small)
        drawn = [rng.choice(np.flatnonzero(pool.labels == k), size, replace=False) for k, size in enumerate(sizes)]
        folds.append(Fold(pool.take(np.sort(np.concatenate(drawn))), test, (r,), f"i{r}", numbers=(r,)))
    drawn_images = len(folds[0].train)
    # the expected fraction of a class's training images that another repeat draws too, averaged over the classes
    mean_size = (large * config.large + (classes - large) * config.small) / classes
    design = Design(
        "imbalance",
        correlation={None: float(np.mean(mean_size / pool.counts()))},
        test_labels=test.labels,
        reported={"large": config.large, "small": config.small, "large_classes": large},
        note=NEW_CLASSES,
    )
    warnings += (
        f"every repeat draws {config.large} images of {large} classes and {config.small} of the other "
        f"{classes - large}, and draws again which classes are large: {drawn_images:,} of "
        f"{counted(len(pool), 'training image')}",
    )
    return Protocol(tuple(folds), design, warnings, (CopySearch(pool, test),))


def _smaller_imbalance(images: int) -> str:
    """Return the settings that draw at most so many images of a class, as the end of a sentence; empty if none can."""
    if images < 3:  # the least for protocol.large above protocol.small
        return ""
    return f", or give --set protocol.large={images} --set protocol.small={max(images // 4, 2)}"


def _kfold(loaded: LoadedSource, data: DataConfig, config: ProtocolConfig, repeats: int) -> Protocol:
    from sklearn.model_selection import RepeatedStratifiedKFold

    train = limit_per_class(loaded.pool, data)
    fewest = int(train.counts().min())
    k = config.folds or _nearest_divisor(repeats, fewest)
    if fewest < k:
        raise ConfigError(
            f"{k} folds need {k} images of each class and the smallest has {fewest}; "
            + (
                f"lower protocol.folds to {fewest}, with evaluate.repeats a multiple of it"
                if fewest > 1
                else "add images of this class, or remove it"
            )
        )
    if repeats % k:
        raise ConfigError(
            f"with {k} folds, evaluate.repeats has to be a multiple of {k}, got {repeats}; the nearest is "
            f"{max(round(repeats / k), 1) * k}"
        )
    splits = RepeatedStratifiedKFold(n_splits=k, n_repeats=repeats // k, random_state=derive_seed(data.seed, "kfold"))
    folds = tuple(
        Fold(train.take(np.sort(train_indices)), train.take(np.sort(test_indices)), (r,), f"f{r}", numbers=(r,))
        for r, (train_indices, test_indices) in enumerate(splits.split(np.zeros(len(train)), train.labels))
    )
    warnings = limit_notes(loaded.pool, data)
    if loaded.test is not None:
        unused = counted(len(loaded.test), "test image")
        warnings += (f"the source's test split is not used, {unused}: kfold tests on the training images",)
    reported = {"folds": k, "rounds": repeats // k}
    design = Design("kfold", correlation={None: 1 / k}, reported=reported, note=OTHER_FOLDS)
    return Protocol(folds, design, warnings, (CopySearch(train, None),))


def _nearest_divisor(repeats: int, fewest: int) -> int:
    """Return the number of folds nearest to 5 that divides the repeats and leaves an image of each class in each fold.

    fewest: the number of images of the smallest class.
    """
    divisors = [k for k in range(2, max(fewest, 2) + 1) if repeats % k == 0]
    return min(divisors, key=lambda k: (abs(k - FOLDS), k), default=FOLDS)


PROTOCOLS: dict[str, Callable[[LoadedSource, DataConfig, ProtocolConfig, int], Protocol]] = {
    "holdout": _holdout,
    "subsample": _subsample,
    "imbalance": _imbalance,
    "kfold": _kfold,
}


def _with_test(loaded: LoadedSource, data: DataConfig) -> tuple[LabelledImages, LabelledImages, tuple[str, ...]]:
    """Return the training pool and the test set, which is held out from the pool if the source has none."""
    if loaded.test is not None:
        return loaded.pool, loaded.test, ()
    pool, test = split_per_class(loaded.pool, data.holdout, derive_seed(data.seed, "holdout"))
    warning = (
        f"the source has no test split, so {data.holdout:.0%} of each class, {len(test)} images, "
        "were held out as the test set and never trained on"
    )
    return pool, test, (warning,)


def inner_folds(folds: Sequence[Fold], config: ChooseConfig, seed: int) -> dict[str, tuple[Fold, ...]]:
    """Return the inner folds that each fold's mix is chosen on, by the name of the fold; they hold no test images.

    If the fold has validation images of the source, it gets one inner fold: all its training images and these
    validation images. Otherwise its training images are split `config.splits` times into a training and a validation
    part. Every inner fold gets its own generator, fitted without the validation images. seed: the seed of the data;
    every fold is split differently. Raises `SourceError` if a class has a single image.
    """
    inner = {}
    for fold in folds:
        splits = []
        for s in range(config.splits if fold.val is None else 1):
            train, validation = fold.train, fold.val
            split_seed = derive_seed(seed, "inner split", *fold.numbers, s)
            if validation is None:
                train, validation = split_per_class(fold.train, config.validation, split_seed, "validation")
            name = "-".join(filter(None, (fold.name, f"inner{s}")))
            repeats, numbers = tuple(range(config.repeats)), (*fold.numbers, s)
            splits.append(Fold(train, validation, repeats, name, fold.size, numbers, unlabelled=fold.unlabelled))
        inner[fold.name] = tuple(splits)
    return inner
