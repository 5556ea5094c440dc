"""Protocols: how one labelled set becomes pairs of training and test images that the repeats are measured on.

`holdout`: a test set exists, or a share of each class is set aside as one. `subsample`: repeat r draws n images of each
class from a larger pool, for one n or a learning curve of several. `kfold`: every image is tested once in each round of
k folds. No training image of a fold, and so no generator, is ever among its test images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from augment.dataset.images import LabelledImages, split_per_class, subset_per_class
from augment.errors import ConfigError
from augment.seeds import derive_seed
from augment.words import counted
from pipelines.config.sections import ChooseConfig, DataConfig, ProtocolConfig
from pipelines.experiment.folds import Design, Fold
from pipelines.experiment.loading import Loaded, leak_warnings, limit_notes, limited, twin_warnings

FOLDS = 5


@dataclass(frozen=True)
class Protocol:
    """The folds, what the statistics have to know of them, and what a person should."""

    folds: tuple[Fold, ...]
    design: Design
    warnings: tuple[str, ...] = ()


def make_protocol(
    loaded: Loaded, data: DataConfig, config: ProtocolConfig, repeats: int, *, chooses: bool | None = None
) -> Protocol:
    """The folds of the protocol that `config` names or that the source suggests, and why.

    chooses: whether a mix will be chosen, for the note on validation images; None if it is not known.

    Raises `ConfigError` if the source has too few images for it, `SourceError` if a class cannot be split.
    """
    kind, why = (config.kind, "chosen in the definition") if config.kind else infer(loaded, data)
    protocol = PROTOCOLS[kind](loaded, data, config, repeats)
    warnings = (*protocol.warnings, *_val_notes(loaded, protocol.folds[0], kind, chooses))
    return replace(protocol, design=replace(protocol.design, why=f"{kind}: {why}"), warnings=warnings)


def _val_notes(loaded: Loaded, fold: Fold, kind: str, chooses: bool | None) -> tuple[str, ...]:
    """Sentences on what validation images are used for, and on training images that are among them."""
    if loaded.val is None:
        return ()
    count = counted(len(loaded.val), "validation image")
    if fold.val is None:
        return (f"{count} of the source not used: {kind} chooses a mix on parts of its own training images",)
    if chooses is False:
        return (f"{count} of the source not used: no mix is chosen",)
    use = f"{count} of the source: the mix is chosen on them" + (", if one is chosen" if chooses is None else "")
    return (f"{use}, and nothing else", *leak_warnings(fold.train, loaded.val, "validation"))


def infer(loaded: Loaded, data: DataConfig) -> tuple[str, str]:
    """The protocol that fits a source, and a sentence why."""
    if loaded.test is None:
        return "kfold", "the source has no test split, so every image is tested once in each round of folds"
    fewest = int(loaded.pool.counts().min())
    if data.samples_per_class is not None and data.samples_per_class <= fewest // 2:
        return "subsample", (
            f"each class has {fewest} training images or more and {data.samples_per_class} are used, so every repeat "
            "can draw its own"
        )
    return "holdout", "the source has a test split and all of its training images are used"


def _holdout(loaded: Loaded, data: DataConfig, config: ProtocolConfig, repeats: int) -> Protocol:
    pool, test, warnings = _with_test(loaded, data)
    train = limited(pool, data)
    warnings += limit_notes(pool, data) + leak_warnings(train, test)
    if not config.redraw_generator:
        folds: tuple[Fold, ...] = (Fold(train, test, tuple(range(repeats)), val=loaded.val),)
        return Protocol(folds, Design("holdout", test_labels=test.labels), warnings)
    folds = tuple(Fold(train, test, (r,), f"g{r}", numbers=(r,), val=loaded.val) for r in range(repeats))
    return Protocol(folds, Design("holdout, generator redrawn", test_labels=test.labels), warnings)


def _subsample(loaded: Loaded, data: DataConfig, config: ProtocolConfig, repeats: int) -> Protocol:
    pool, test, warnings = _with_test(loaded, data)
    sizes = config.sizes or ((data.samples_per_class,) if data.samples_per_class else ())
    fewest = int(pool.counts().min())
    if not sizes or sizes[-1] > fewest:
        asked = f"{sizes[-1]} are asked for" if sizes else "no size is set"
        raise ConfigError(
            f"subsample draws images of each class from a larger pool, the smallest class has {fewest} and {asked}; "
            f"set protocol.sizes of at most {fewest // 2}, or take protocol.kind kfold"
        )
    folds = [
        Fold(subset_per_class(pool, n, derive_seed(data.seed, "subsample", r)), test, (r,), f"n{n}-r{r}", n, (n, r))
        for n in sizes
        for r in range(repeats)
    ]
    correlation: dict[int | None, float] = {n: len(folds[i * repeats].train) / len(pool) for i, n in enumerate(sizes)}
    if max(correlation.values()) == 1:
        raise ConfigError(
            f"{sizes[-1]} of each class are the whole pool, so all repeats would train on the same images; "
            "set smaller sizes, or take protocol.kind holdout"
        )
    design = Design("subsample", correlation=correlation, test_labels=test.labels, reported={"sizes": list(sizes)})
    drawn = len(folds[-1].train)
    warnings += (
        f"every repeat draws {' or '.join(map(str, sizes))} images of each class: at most {drawn:,} of "
        f"{counted(len(pool), 'training image')}",
    )
    return Protocol(tuple(folds), design, warnings + leak_warnings(pool, test))


def _kfold(loaded: Loaded, data: DataConfig, config: ProtocolConfig, repeats: int) -> Protocol:
    from sklearn.model_selection import RepeatedStratifiedKFold

    train = limited(loaded.pool, data)
    fewest = int(train.counts().min())
    k = config.folds or _nearest_divisor(repeats, fewest)
    if fewest < k:
        raise ConfigError(
            f"{k} folds need {k} images of each class and the smallest has {fewest}; lower protocol.folds"
            + (f" to {fewest}" if fewest > 1 else " is no help: add images, or take protocol.kind holdout")
        )
    if repeats % k:
        raise ConfigError(
            f"with {k} folds evaluate.repeats has to be a multiple of {k}, got {repeats}; the nearest is "
            f"{max(round(repeats / k), 1) * k}"
        )
    splits = RepeatedStratifiedKFold(n_splits=k, n_repeats=repeats // k, random_state=derive_seed(data.seed, "kfold"))
    folds = tuple(
        Fold(train.take(np.sort(kept)), train.take(np.sort(left_out)), (r,), f"f{r}", numbers=(r,))
        for r, (kept, left_out) in enumerate(splits.split(np.zeros(len(train)), train.labels))
    )
    unused = limit_notes(loaded.pool, data)
    if loaded.test is not None:
        left_out = counted(len(loaded.test), "test image")
        unused += (f"the source's test split is not used, {left_out}: kfold tests on the training images",)
    reported = {"folds": k, "rounds": repeats // k}
    return Protocol(folds, Design("kfold", correlation={None: 1 / k}, reported=reported), unused + twin_warnings(train))


def _nearest_divisor(repeats: int, most: int) -> int:
    """The number of folds nearest to 5 that divides the repeats and leaves every class an image a fold."""
    divisors = [k for k in range(2, max(most, 2) + 1) if repeats % k == 0]
    return min(divisors, key=lambda k: (abs(k - FOLDS), k), default=FOLDS)


PROTOCOLS: dict[str, Callable[[Loaded, DataConfig, ProtocolConfig, int], Protocol]] = {
    "holdout": _holdout,
    "subsample": _subsample,
    "kfold": _kfold,
}


def _with_test(loaded: Loaded, data: DataConfig) -> tuple[LabelledImages, LabelledImages, tuple[str, ...]]:
    """The images to train on and the test set, set aside from them where the source has none."""
    if loaded.test is not None:
        return loaded.pool, loaded.test, ()
    pool, test = split_per_class(loaded.pool, data.holdout, derive_seed(data.seed, "holdout"))
    warning = (
        f"the source has no test split, so {data.holdout:.0%} of each class, {len(test)} images, "
        "were held out as the test set and never trained on"
    )
    return pool, test, (warning,)


def inner_folds(folds: Sequence[Fold], config: ChooseConfig, seed: int) -> dict[str, tuple[Fold, ...]]:
    """By the name of each fold, the folds that its mix is chosen on; its test set is no part of them.

    seed: of the data; each fold has splits of its own.

    Where the fold has validation images they are the one validation set, and a generator of its own learns from all
    its training images, which have none of them. Otherwise `config.splits` parts of the training images are. Raises
    `SourceError` if a class has a single image.
    """
    inner = {}
    for fold in folds:
        splits = []
        for s in range(config.splits if fold.val is None else 1):
            train, validation = fold.train, fold.val
            split_seed = derive_seed(seed, "inner split", *fold.numbers, s)
            if validation is None:
                train, validation = split_per_class(fold.train, config.validation, seed=split_seed)
            name = "-".join(filter(None, (fold.name, f"inner{s}")))
            repeats, numbers = tuple(range(config.repeats)), (*fold.numbers, s)
            splits.append(Fold(train, validation, repeats, name, fold.size, numbers))
        inner[fold.name] = tuple(splits)
    return inner
