"""A fold: one training set and its test images, and what is later known of them; and how all folds of a run relate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages
from augment.errors import SourceError
from augment.filtering import Judged
from augment.generators.sampling import SyntheticImages
from augment.words import counted

FEWEST_TESTED = 2  # images; the two-way interval resamples them


@dataclass(frozen=True)
class Fold:
    """One training set, its test images, and the repeats that are measured on them.

    name: of its folder; empty where there is one fold only. size: images of each class, where a learning curve has
    several sizes. numbers: what its generator's seed is derived from; no two folds of a run have the same. val: what
    its mix is chosen on; None: a part of `train`.

    The rest is filled in as it becomes known. synthetic: images with the classes and the size of `train`. judged: by
    cross-fitted classifiers, for arms that need it. mixes: by name of an arm, which of its settings were chosen on
    validation images.
    """

    train: LabelledImages
    test: LabelledImages
    repeats: tuple[int, ...] = ()
    name: str = ""
    size: int | None = None
    numbers: tuple[int, ...] = ()
    val: LabelledImages | None = None
    synthetic: SyntheticImages | None = None
    judged: Judged | None = None
    mixes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Design:
    """How the repeats were drawn: what the statistics and the reader have to know.

    kind: a key of `results.PROTOCOL_NOTES`. why: it was taken, in a sentence. correlation: by size, of the repeats'
    gains. test_labels: int64, N, where all repeats share one test set. reported: whatever else belongs under
    `protocol` in results.json. Raises `SourceError` if the test set is a single image, from which nothing follows for
    others; a design exists before anything is trained.
    """

    kind: str = "holdout"
    why: str = ""
    correlation: Mapping[int | None, float] = field(default_factory=lambda: {None: 0.0})
    test_labels: NDArray[np.int64] | None = None
    reported: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.test_labels is not None and len(self.test_labels) < FEWEST_TESTED:
            raise SourceError(
                f"the test set has {counted(len(self.test_labels), 'image')}: at least {FEWEST_TESTED} are needed, and "
                "some of each class to say anything of it; add test images"
            )


HOLDOUT_ONLY = "holdout: images that were made elsewhere have one generator behind them and one test set"
