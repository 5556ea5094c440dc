"""`Fold`: one training set with its test images. `Design`: how the folds and repeats of a run were drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages
from augment.errors import SourceError
from augment.filtering import CrossFittedPredictions
from augment.generators.sampling import SyntheticImages
from augment.words import counted
from classifiers.features import FeatureTable

MIN_TEST_IMAGES = 2  # the two-way interval resamples them


@dataclass(frozen=True)
class Fold:
    """One training set, its test images, and the repeats that are measured on them.

    name: the name of its folder, empty if there is only one fold. size: the number of images of each class, if the
    protocol is `subsample`. numbers: the numbers that the seed of its generator is derived from; they are unique in a
    run. val: the images that its mix is chosen on; if None, a part of `train` is split off for that.

    unlabelled: images whose labels are all 0 and mean nothing, for arms that learn from them.

    The other fields are filled in later. run: the folder of its fitted generator, for arms that it feeds. synthetic:
    images with the classes and the size of `train`. cross_fitted: the predictions of cross-fitted classifiers, for arms
    that need them. features: pretrained features of its images, for arms that learn from them; images that it lacks are
    computed when they are needed. mixes: by the name of an arm, those of its settings that were chosen on validation
    images.
    """

    train: LabelledImages
    test: LabelledImages
    repeats: tuple[int, ...] = ()
    name: str = ""
    size: int | None = None
    numbers: tuple[int, ...] = ()
    val: LabelledImages | None = None
    unlabelled: LabelledImages | None = None
    run: Path | None = None
    synthetic: SyntheticImages | None = None
    cross_fitted: CrossFittedPredictions | None = None
    features: FeatureTable | None = None
    mixes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprints of its images: train, test and, if there are any, synthetic and unlabelled."""
        synthetic = None if self.synthetic is None else self.synthetic.data
        sets = {"train": self.train, "test": self.test, "synthetic": synthetic, "unlabelled": self.unlabelled}
        return {name: data.fingerprint for name, data in sets.items() if data is not None}


def of_first_size(folds: Sequence[Fold]) -> list[Fold]:
    """Return the folds of the first size of a learning curve, and otherwise all folds."""
    return [fold for fold in folds if fold.size == folds[0].size]


# notes of a `Design`
ONE_GENERATOR = (
    "The interval holds for these images: one training subset, one test set, one set of synthetic images if any. "
    "Only the classifier's seeds differed between the repeats, so the interval leaves out the effect of another "
    "subset, another generator or other test images."
)
NEW_GENERATORS = (
    "The interval holds for these images: one training subset and one test set. Every repeat trained a new "
    "generator and new classifiers, so the interval leaves out the effect of another subset or other test images."
)
NEW_SUBSETS = (
    "Every repeat drew its own training subset from one pool and trained a generator on it. The interval is "
    "corrected for the overlap of the subsets (Nadeau and Bengio, 2003) and leaves out the effect of other test "
    "images."
)
NEW_CLASSES = (
    "Every repeat drew which classes are large and which are small, drew its own training images of them from one "
    "pool, and trained a generator on them. The interval is corrected for the overlap of the training sets (Nadeau "
    "and Bengio, 2003) and leaves out the effect of other test images."
)
OTHER_FOLDS = (
    "Every repeat trained a generator and classifiers on other folds of one set of images and tested the "
    "classifiers on the held-out fold. The interval is corrected for the overlap of the training sets (Nadeau and "
    "Bengio, 2003)."
)


@dataclass(frozen=True)
class Design:
    """How the repeats were drawn, for the statistics and for the reader of the report.

    kind: of the protocol. why: a sentence on why this protocol is used. correlation: by size, the correlation between
    the gains of two repeats. test_labels: int64, N, if all repeats share one test set. reported: further values to
    report under `protocol` in results.json. note: what differed between the repeats, and what the interval leaves out.
    Raises `SourceError` if the test set is a single image, from which nothing can be concluded; a design is created
    before anything is trained.
    """

    kind: str = "holdout"
    why: str = ""
    correlation: Mapping[int | None, float] = field(default_factory=lambda: {None: 0.0})
    test_labels: NDArray[np.int64] | None = None
    reported: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    def __post_init__(self) -> None:
        if self.test_labels is not None and len(self.test_labels) < MIN_TEST_IMAGES:
            raise SourceError(
                f"the test set has {counted(len(self.test_labels), 'image')}: at least {MIN_TEST_IMAGES} are needed, "
                "and some of each class to measure it; add test images"
            )
