"""Neighbouring seeds and numbers have nothing in common: no split, no training subset, no generator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from augment.dataset.images import LabelledImages, split_per_class
from augment.generators.cgan import CganConfig
from augment.seeds import derive_seed
from pipelines.config.sections import ChooseConfig, DataConfig, ProtocolConfig
from pipelines.experiment.fold_generators import FoldGenerators
from pipelines.experiment.folds import Fold
from pipelines.experiment.loading import LoadedSource, limit_per_class
from pipelines.experiment.protocols import inner_folds, make_protocol
from pipelines.tuning import split_for_tuning

SEEDS = range(20)
PROTOCOLS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "subsample": ({"samples_per_class": 20}, {}),
    "kfold": ({}, {"folds": 5}),
    "holdout": ({"holdout": 0.3}, {}),
}


def folds_of(pool: LabelledImages, kind: str, seed: int) -> tuple[Fold, ...]:
    """The ten folds of a protocol; a source without test images has some set aside by the seed."""
    data, config = PROTOCOLS[kind]
    test = split_per_class(pool, 0.1, seed=0)[1] if kind == "subsample" else None
    settings = DataConfig(source="-", seed=seed, **data)
    source = LoadedSource("-", pool, pool, test, ())
    return make_protocol(source, settings, ProtocolConfig(kind=kind, **config), 10).folds


def test_seeds_purposes_and_numbers_all_change_what_is_derived() -> None:
    named = [
        (seed, purpose, *numbers) for seed in SEEDS for purpose in ("a", "b") for numbers in ((), (0,), (1,), (0, 0))
    ]
    assert len({derive_seed(*parts) for parts in named}) == len(named)
    assert derive_seed(3, "subsample", 1) == derive_seed(3, "subsample", 1)
    assert all(0 <= derive_seed(*parts) < 2**32 for parts in named)


@pytest.mark.parametrize("kind", PROTOCOLS)
def test_two_seeds_share_no_fold(kind: str, fashion: LabelledImages) -> None:
    trained_on = [{fold.train.fingerprint for fold in folds_of(fashion, kind, seed)} for seed in (0, 1, 2)]
    assert len(set.union(*trained_on)) == sum(map(len, trained_on))
    assert all(len(one) == (1 if kind == "holdout" else 10) for one in trained_on)


def test_two_seeds_share_no_subset(fashion: LabelledImages) -> None:
    subsets = [limit_per_class(fashion, DataConfig(source="-", samples_per_class=20, seed=seed)) for seed in SEEDS]
    assert len({subset.fingerprint for subset in subsets}) == len(SEEDS)


def test_two_seeds_share_no_inner_split_and_no_tuning_split(fashion: LabelledImages) -> None:
    (fold,) = folds_of(fashion, "holdout", 0)[:1]
    config, found = ChooseConfig(splits=3), []
    for seed in SEEDS:
        found += [inner.test.fingerprint for inner in inner_folds([fold], config, seed)[fold.name]]
        found += [split_for_tuning(fold.train, seed, split)[1].fingerprint for split in range(3)]
    assert len(set(found)) == len(found) == 6 * len(SEEDS)


def test_two_seeds_share_no_generator() -> None:
    blank = LabelledImages(np.zeros((2, 1, 8, 8), np.uint8), np.array([0, 1]), ("a", "b"))
    folds = [Fold(blank, blank, numbers=numbers) for numbers in ((), *((r,) for r in range(10)), (5, 0), (5, 0, 1))]
    generators = [FoldGenerators(Path("-"), "-", CganConfig(seed=seed)) for seed in SEEDS]
    seeds = [g.config_of(fold).seed for g in generators for fold in folds]
    assert len(set(seeds)) == len(seeds)
