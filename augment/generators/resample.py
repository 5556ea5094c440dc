"""`resample`: returns training images of the class, augmented by a classical policy. It is a control for generators.

It learns nothing, and its images add no variety beyond that of classical augmentation. A generator whose images do not
help more than these is therefore no better than classical augmentation alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages, check_size
from augment.dataset.policies import POLICIES, bank_of_views
from augment.errors import AugmentError, SourceError
from augment.fields import SEEDS, check_name, name_in
from augment.generators.base import Fitted, Generator, GeneratorConfig, Outcome, Samples, TrainingData
from augment.generators.runs import ModelAbout, open_run, read_model
from augment.output_folders import Replace
from augment.runtime import Runtime, Task


class ResampleConfig(GeneratorConfig):
    """The settings of `resample`."""

    kind: Literal["resample"] = "resample"
    policy: Annotated[str, name_in(POLICIES)] = "standard"
    horizontal_flip: bool = False  # only for classes that look the same when mirrored

    def with_horizontal_flip(self) -> Self:
        """Return these settings with flips."""
        return self.model_copy(update={"horizontal_flip": True})


class ResampleAbout(ModelAbout):
    """The description of a finished run. The same file holds the training images as tensors."""

    policy: str
    horizontal_flip: bool


def fit(
    data: TrainingData,
    config: ResampleConfig,
    folder: Path,
    runtime: Runtime,
    *,
    overwrite: bool = False,
    replace: Replace = "nothing",
) -> Fitted:
    """Store the training images; see `base.Fit`."""
    images = data.images
    with open_run(folder, config, images, data.origin.name, overwrite=overwrite, replace=replace) as run:
        if run.finished_step() is not None:
            return Fitted(Outcome.ALREADY_FINISHED, config.total)
        about = ResampleAbout(
            kind=config.kind,
            identity=run.output.identity,
            policy=config.policy,
            horizontal_flip=config.horizontal_flip,
            classes=images.class_names,
            train_per_class=images.per_class(),
            name=data.origin.name,
            origin=data.origin.arguments,
            tested=data.origin.tested,
            step=config.total,
            threads=torch.get_num_threads(),
        )
        pixels = torch.from_numpy(np.ascontiguousarray(images.images))
        run.save_model({"images": pixels, "labels": torch.from_numpy(images.labels)}, about)
    runtime.observer.on_progress(Task("fit", config.total), config.total, {})
    return Fitted(Outcome.FINISHED, config.total)


@dataclass(frozen=True)
class Resample:
    """The training images of a finished run, and the description with the policy that augments them."""

    images: LabelledImages
    about: ResampleAbout

    def sample(self, labels: NDArray[np.int64], seeds: Sequence[int] | NDArray[np.uint64]) -> Samples:
        """Return an augmented training image of the class for each label and seed, without scores.

        The seed determines the image and its augmentation. Raises `SourceError` for a class without training images.
        """
        samples = np.empty((len(labels), *self.images.images.shape[1:]), np.uint8)
        for sample, label, seed in zip(samples, labels, seeds, strict=True):
            members = np.flatnonzero(self.images.labels == label)
            if not len(members):
                raise SourceError(f"class {self.about.classes[label]!r} has no training images to resample")
            index = np.random.default_rng(int(seed)).choice(members)
            image = self.images.take(np.array([index]))
            flip, policy = self.about.horizontal_flip, self.about.policy
            sample[:] = bank_of_views(image, policy, views=1, horizontal_flip=flip, seed=int(seed) % SEEDS)[0, 0]
        return Samples(samples, None)


def load(folder: Path, device: torch.device) -> Resample:
    """Load the model of a finished RUN folder. Raises `SourceError` if it is damaged. `device` is not used."""
    tensors, about = read_model(folder, ResampleAbout)
    try:
        images = LabelledImages(tensors["images"].numpy(), tensors["labels"].numpy(), about.classes)
        check_size(images.size)
        if tensors["labels"].dtype != torch.int64 or images.per_class() != about.train_per_class:
            raise SourceError("the labels are not those of its description")
        check_name(about.policy, POLICIES)
    except (KeyError, ValueError, AugmentError) as error:
        raise SourceError(f"{folder} is damaged, or of another version of this program: {error}") from error
    return Resample(images, about)


RESAMPLE = Generator(ResampleConfig, fit, load)
