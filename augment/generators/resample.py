"""`resample`: returns training images of the class, mixed in pairs and augmented. It is a control for generators.

It learns nothing: its images show no more than classical augmentation and the mixing of pixels do. A generator whose
images help no more than these is no better than classical augmentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages
from augment.dataset.pair_mixing import MIXINGS
from augment.dataset.policies import DEFAULT_POLICY, POLICIES, bank_of_views
from augment.fields import SEEDS, NameIn
from augment.generators.base import (
    Fitted,
    GeneratorConfig,
    GeneratorKind,
    Outcome,
    Samples,
    TrainingData,
    metadata_fields,
)
from augment.generators.runs import GeneratorMetadata, open_run, read_model
from augment.generators.training_images import check_present, image_tensors, read_images
from augment.output_folders import Replace
from augment.runtime import Runtime, Task


class ResampleConfig(GeneratorConfig):
    """The settings of `resample`."""

    kind: Literal["resample"] = "resample"
    policy: Annotated[str, NameIn(POLICIES)] | None = DEFAULT_POLICY
    mixing: Annotated[str, NameIn(MIXINGS)] | None = None  # of the pixels of two images of the class
    horizontal_flip: bool = False  # only for classes that look the same when mirrored

    def with_horizontal_flip(self) -> Self:
        """Return these settings with flips."""
        return self.model_copy(update={"horizontal_flip": True})


class ResampleMetadata(GeneratorMetadata):
    """The metadata of a finished run. The same file holds the training images as tensors."""

    policy: Annotated[str, NameIn(POLICIES)] | None
    mixing: Annotated[str, NameIn(MIXINGS)] | None = None
    horizontal_flip: bool


def fit(
    data: TrainingData,
    config: ResampleConfig,
    folder: Path,
    runtime: Runtime,
    *,
    overwrite: bool,
    replace: Replace,
) -> Fitted:
    """Store the training images; see `base.Fit`."""
    with open_run(folder, config, data.images, data.origin.name, overwrite=overwrite, replace=replace) as run:
        if run.finished_step() is not None:
            return Fitted(Outcome.ALREADY_FINISHED, config.total)
        run.begin()
        metadata = ResampleMetadata(
            **metadata_fields(data, config, run, config.total),
            policy=config.policy,
            mixing=config.mixing,
            horizontal_flip=config.horizontal_flip,
        )
        run.save_model(image_tensors(data.images), metadata)
    runtime.observer.on_progress(Task("fit", config.total), config.total, {})
    return Fitted(Outcome.FINISHED, config.total)


@dataclass(frozen=True)
class Resample:
    """The training images of a finished run, and the metadata with the policy that augments them."""

    images: LabelledImages
    metadata: ResampleMetadata

    def sample(
        self, labels: NDArray[np.int64], seeds: Sequence[int] | NDArray[np.uint64], *, scored: bool = True
    ) -> Samples:
        """Return a changed training image of the class for each label and seed, without scores.

        The seed determines the images, their mixture and its augmentation. Raises `SourceError` for a class without
        training images.
        """
        check_present(labels, self.images.counts(), self.metadata.classes)
        samples, anchors = np.empty((len(labels), *self.images.images.shape[1:]), np.uint8), []
        members = {label: np.flatnonzero(self.images.labels == label) for label in set(labels.tolist())}
        for sample, label, seed in zip(samples, labels.tolist(), seeds, strict=True):
            rng = np.random.default_rng(int(seed))
            used = _draw(members[label], 1 + (self.metadata.mixing is not None), rng)
            image = self.images.take(np.array(used[:1]))
            if self.metadata.mixing:
                first, second = self.images.images[used]
                pixels = MIXINGS[self.metadata.mixing](first, second, rng)
                image = LabelledImages(pixels[None], image.labels, image.class_names)
            sample[:] = self._augmented(image, int(seed))
            anchors.append(used)
        return Samples(
            samples, anchors=np.array(anchors, np.int64).reshape(len(labels), 1 + (self.metadata.mixing is not None))
        )

    def restricted_to(self, images: LabelledImages) -> Resample:
        """Return a model of fewer images: `images`, which are some of the training images."""
        return replace(self, images=images)

    def _augmented(self, image: LabelledImages, seed: int) -> NDArray[np.uint8]:
        """Return a view of one image, C x H x W; without a policy the image, mirrored for odd seeds if allowed."""
        flip, policy = self.metadata.horizontal_flip, self.metadata.policy
        if policy is None:
            return np.flip(image.images[0], 2) if flip and seed % 2 else image.images[0]
        view: NDArray[np.uint8] = bank_of_views(image, policy, views=1, horizontal_flip=flip, seed=seed % SEEDS)[0, 0]
        return view


def _draw(members: NDArray[np.int64], count: int, rng: np.random.Generator) -> list[int]:
    """Draw 1 or 2 images of a class, different ones if it has two."""
    if count == 1 or len(members) == 1:
        return [int(rng.choice(members))] * count
    return [int(i) for i in rng.choice(members, count, replace=False)]


def pixel_mixture(images: LabelledImages, mixing: str | None) -> Resample:
    """Return a model of `images` that needs no run: pairs mixed by a key of `MIXINGS`, or single images."""
    metadata = ResampleMetadata(
        kind="resample",
        identity={},
        classes=images.class_names,
        train_per_class=images.per_class(),
        name="images",
        step=1,
        threads=1,
        policy=None,
        mixing=mixing,
        horizontal_flip=False,
    )
    return Resample(images, metadata)


def load(folder: Path, device: torch.device) -> Resample:
    """Load the model of a finished RUN folder. Raises `SourceError` if it is damaged. `device` is not used."""
    tensors, metadata = read_model(folder, ResampleMetadata)
    return Resample(read_images(tensors, metadata, folder), metadata)


RESAMPLE = GeneratorKind(ResampleConfig, fit, load)
