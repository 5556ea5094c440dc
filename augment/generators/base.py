"""The common interface of all generators: configs, training data, fitting and fitted models.

A kind of generator consists of a config class, a function that fits it and a function that loads it. All kinds are
listed in `registry.GENERATORS`. Other code uses this interface only, so a new kind needs one module and one line in the
registry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages
from augment.fields import Seed, Settings
from augment.generators.runs import GeneratorMetadata, Run
from augment.output_folders import Replace
from augment.runtime import Runtime
from augment.words import counted, is_unicode


class GeneratorConfig(Settings):
    """The settings that all kinds of generators share. Each kind fixes `kind` to its own name."""

    kind: str
    seed: Seed = 0

    @property
    def total(self) -> int:
        """Total for the progress of a fit: the number of optimiser steps, or 1."""
        return 1

    @property
    def uses_unlabelled(self) -> bool:
        """Whether unlabelled images are learnt from, if there are any."""
        return False

    def with_horizontal_flip(self) -> GeneratorConfig:
        """Return these settings with horizontal flips, for classes that look the same when mirrored."""
        return self


@dataclass(frozen=True)
class Origin:
    """The source of images."""

    name: str = "images"
    arguments: tuple[str, ...] = ()  # command line arguments that read the source
    tested: bool = False  # whether the source has test images


UNKNOWN = Origin()


@dataclass(frozen=True)
class TrainingData:
    """The images that a generator is fitted to, and their source.

    unlabelled: further images of the same size and channels, whose labels mean nothing; None if the config does not use
    them.
    """

    images: LabelledImages
    origin: Origin = UNKNOWN
    unlabelled: LabelledImages | None = None


class Outcome(StrEnum):
    """The result of a call of `fit`."""

    FINISHED = "is finished"
    ALREADY_FINISHED = "was finished already and is left as it is"
    STOPPED = "was stopped"
    BEYOND = "has been trained for more steps already"


class Fitted(NamedTuple):
    """The outcome of a call of `fit` and the step that it reached, out of the `total` of its config."""

    outcome: Outcome
    step: int


class Samples(NamedTuple):
    """A batch of N generated images."""

    images: NDArray[np.uint8]  # N x C x H x W
    scores: NDArray[np.float32] | None = None  # N; D's logits, higher for more realistic images; None if not comparable
    anchors: NDArray[np.int64] | None = None  # N x A; indices of the training images behind each


def metadata_fields(data: TrainingData, config: GeneratorConfig, run: Run, step: int) -> dict[str, Any]:
    """Return the fields of `GeneratorMetadata`, for a model that `run` finishes at `step`."""
    return {
        "kind": config.kind,
        "identity": run.output.identity,
        "classes": data.images.class_names,
        "train_per_class": data.images.per_class(),
        "name": data.origin.name,
        "origin": data.origin.arguments if all(map(is_unicode, data.origin.arguments)) else (),
        "tested": data.origin.tested,
        "unlabelled": len(data.unlabelled) if data.unlabelled is not None else 0,
        "step": step,
        "threads": torch.get_num_threads(),
    }


class Model(Protocol):
    """A fitted generator, ready to sample."""

    @property
    def metadata(self) -> GeneratorMetadata:
        """The metadata of the model: its kind, its classes and the identity of its run."""

    def sample(
        self, labels: NDArray[np.int64], seeds: Sequence[int] | NDArray[np.uint64], *, scored: bool = True
    ) -> Samples:
        """Return one image per label and seed. Each depends on its own label and seed only, not on the others.

        scored: whether the scores are needed; without them, a model with a discriminator is faster.
        """


@runtime_checkable
class ImageBased(Model, Protocol):
    """A model that makes each image from training images, which it holds."""

    def restricted_to(self, images: LabelledImages) -> Self:
        """Return the same model with fewer images to start from: `images`, which are some of the training images."""


class Fit(Protocol):
    """A function that fits a generator to all images of `data` and saves it in `folder`, a RUN folder.

    An interrupted run of the same config and data is continued. A finished run is left unchanged, unless the config
    has more steps. Raises `ConfigError` for settings that do not work with the data or the device, `OutputError` if
    `folder` holds something else, `SourceError` if there are checkpoints but none can be read, and `DivergedError` if a
    loss or a weight is not finite.
    """

    def __call__(
        self, data: TrainingData, config: Any, folder: Path, runtime: Runtime, *, overwrite: bool, replace: Replace
    ) -> Fitted:
        """Fit the generator."""


Load = Callable[[Path, torch.device], Model]


@dataclass(frozen=True)
class GeneratorKind:
    """A kind of generator: its settings, and how it is fitted and loaded."""

    config: type[GeneratorConfig]
    fit: Fit
    load: Load
    estimate_seconds: Callable[[TrainingData, Any, torch.device], float] | None = None  # of a fit; None: negligible


def describe_fit(config: GeneratorConfig, data: TrainingData, done: int) -> str:
    """Return a sentence on the work ahead. done: steps that are done already."""
    images = data.images
    steps = f"from step {done:,} to {config.total:,}" if done else counted(config.total, "step")
    classes = counted(images.num_classes, "class")
    more = f" and {counted(len(data.unlabelled), 'unlabelled image')}" if data.unlabelled is not None else ""
    return f"{config.kind}: {steps} on {counted(len(images), 'image')} of {classes}{more} at {images.size} px"
