"""The seam of all generators: what a kind of generator is, what it learns from, and what a trained model can do.

A kind is a config class, a function that fits, and a function that loads; `registry.GENERATORS` lists them. Whoever
uses a generator knows nothing else of it, so a new kind is one file and one line of the registry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages
from augment.fields import Seed, Settings
from augment.generators.runs import ModelAbout
from augment.output_folders import Replace
from augment.runtime import Runtime


class GeneratorConfig(Settings):
    """What the configs of all kinds have. Each kind fixes `kind` to its own name."""

    kind: str
    seed: Seed = 0

    @property
    def total(self) -> int:
        """How many parts a fit has, for progress: optimiser steps, or 1."""
        return 1

    def with_horizontal_flip(self) -> GeneratorConfig:
        """The same settings for classes that look the same mirrored."""
        return self


@dataclass(frozen=True)
class Origin:
    """Where images come from. arguments: of a command line that read them again. tested: test images are there too."""

    name: str = "images"
    arguments: tuple[str, ...] = ()
    tested: bool = False


UNKNOWN = Origin()


@dataclass(frozen=True)
class TrainingData:
    """What a generator learns from."""

    images: LabelledImages
    origin: Origin = UNKNOWN


class Outcome(StrEnum):
    """How a call of `fit` ended."""

    FINISHED = "is finished"
    WAS_FINISHED = "was finished already and is left as it is"
    STOPPED = "was stopped"


class Fitted(NamedTuple):
    """How a call of `fit` ended, and at which step of its config's `total`."""

    outcome: Outcome
    step: int


class Samples(NamedTuple):
    """n generated images. scores: how real each one looks to a discriminator, None for kinds that have none."""

    images: NDArray[np.uint8]  # n x C x H x W
    scores: NDArray[np.float32] | None  # n; logits, higher is nearer to the real images


class Model(Protocol):
    """A fitted generator, ready to sample."""

    @property
    def about(self) -> ModelAbout:
        """What it was made from: the kind, the classes, the identity of its run."""

    def sample(self, labels: NDArray[np.int64], seeds: Sequence[int] | NDArray[np.uint64]) -> Samples:
        """An image for each label and seed; the same seed and label give the same image, whatever stands beside it."""


class Fit(Protocol):
    """Fits a generator to all of `data` and leaves it in `folder`, a RUN folder.

    An interrupted run of the same config and data goes on; a finished one is left as it is, unless the config asks for
    more steps. Raises `ConfigError` for settings that cannot be used here, `OutputError` if `folder` holds something
    else, `SourceError` if no checkpoint of it can be read, `DivergedError` if a loss stops being finite.
    """

    def __call__(
        self, data: TrainingData, config: Any, folder: Path, runtime: Runtime, *, overwrite: bool, replace: Replace
    ) -> Fitted:
        """Fit."""


@dataclass(frozen=True)
class Generator:
    """A kind of generator. seconds: how long a fit will take, by a short probe; None where it is over at once."""

    config: type[GeneratorConfig]
    fit: Fit
    load: Callable[[Path, torch.device], Model]
    seconds: Callable[[TrainingData, Any, torch.device], float] | None = None
