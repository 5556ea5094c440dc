"""On a generator made useless the choice says "do not augment", and on a perfect one it does not.

`benchmarks/useless_generator.py` is the whole measurement; this is a reduced case, with real images and classifiers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from augment.dataset.images import LabelledImages, split_per_class, subset_per_class
from augment.generators.sampling import SyntheticImages
from augment.runtime import Runtime
from classifiers.training import ClassifierConfig
from pipelines.choosing import choose_mix
from pipelines.config.sections import ChooseConfig, EvaluateConfig
from pipelines.experiment.folds import Fold
from pipelines.experiment.protocols import inner_folds
from pipelines.results.document import Choice

EVALUATE = (
    EvaluateConfig(  # few views of a policy that varies more would make copies useful: they have views of their own
        arms=("classical", "classical+synthetic"),
        policy="standard",
        views=4,
        classifier=ClassifierConfig(width=8, steps=60, batch_size=40),
    )
)
CHOOSE = ChooseConfig(ratios=(1.0, 4.0), splits=2, repeats=3, validation=0.75)
Generator = Callable[[LabelledImages, LabelledImages, np.random.Generator], LabelledImages]


def noise(train: LabelledImages, others: LabelledImages, rng: np.random.Generator) -> LabelledImages:
    return LabelledImages(rng.integers(0, 256, others.images.shape).astype(np.uint8), others.labels, others.class_names)


def shuffled(train: LabelledImages, others: LabelledImages, rng: np.random.Generator) -> LabelledImages:
    labels = np.concatenate([rng.permutation(10) for _ in range(len(others) // 10)])
    return LabelledImages(others.images, labels, others.class_names)


def copies(train: LabelledImages, others: LabelledImages, rng: np.random.Generator) -> LabelledImages:
    return train.take(np.concatenate([rng.choice(np.flatnonzero(train.labels == k), 60) for k in range(10)]))


def perfect(train: LabelledImages, others: LabelledImages, rng: np.random.Generator) -> LabelledImages:
    return others


def choice_of(
    generator: Generator,
    fashion: LabelledImages,
    seed: int,
    folder: Path,
    config: ChooseConfig = CHOOSE,
    images: int = 16,
) -> Choice:
    """The choice on `images` a class, with 60 images a class from a generator: unseen real ones in its place."""
    pool, others = split_per_class(subset_per_class(fashion, 100, seed), 0.6, seed)
    outer = Fold(subset_per_class(pool, images, seed), pool, (0, 1), numbers=(seed,))
    inner, rng = inner_folds([outer], config, seed), np.random.default_rng(seed)
    with_images = [replace(f, synthetic=SyntheticImages(generator(f.train, others, rng))) for f in inner[""]]
    choice = choose_mix({"": with_images}, config, EVALUATE, folder, Runtime(), metric="accuracy")
    assert choice is not None
    return choice


@pytest.mark.parametrize("generator", [noise, shuffled, copies])
def test_a_useless_generator_is_not_recommended(generator: Generator, fashion: LabelledImages, tmp_path: Path) -> None:
    assert not choice_of(generator, fashion, 1, tmp_path).gain_shown


def test_a_perfect_generator_is_recommended(fashion: LabelledImages, tmp_path: Path) -> None:
    """There are 360 validation images a split, since 120 do not suffice to show a gain of 5 points."""
    firmer = CHOOSE.model_copy(update={"repeats": 4, "validation": 0.9})
    assert choice_of(perfect, fashion, 2, tmp_path, firmer, images=40).gain_shown
