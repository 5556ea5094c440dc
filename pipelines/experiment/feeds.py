"""What generates the synthetic images of an arm while its classifier trains: `feed`, for a key of `FEEDS`.

The generator of the fold is one feed. The others are its controls: some repeat or mix the training images and learn
nothing, and `reconstruction` shows what the networks of the generator add without mixing. An arm whose images help no
more than those of a control is no reason to use the generator.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from augment.dataset.images import LabelledImages
from augment.dataset.pair_mixing import MIXINGS
from augment.dataset.policies import bank_of_views
from augment.errors import ConfigError
from augment.fields import SEEDS
from augment.generators.anchored import Anchored, without_mixing
from augment.generators.base import ImageBased, Model
from augment.generators.registry import load_model
from augment.generators.resample import pixel_mixture
from pipelines.config.arm_section import FEEDS
from pipelines.experiment.folds import Fold


def _generator(fold: Fold) -> Model:
    assert fold.run is not None  # `check_feed`
    model = load_model(fold.run)  # on the CPU, where the views are computed: the same images on every device
    # the classifiers of `operating_point` learn from a part of the images: a model that makes its images of training
    # images then starts from these only, but networks were fitted to all of them
    part = len(fold.train) < sum(model.metadata.train_per_class.values())
    return model.restricted_to(fold.train) if part and isinstance(model, ImageBased) else model


def _reconstruction(fold: Fold) -> Model:
    model = _generator(fold)
    if not isinstance(model, Anchored):
        raise ConfigError(f"feed: reconstruction needs a generator of kind anchored, got {model.metadata.kind}")
    return without_mixing(model)


def _pixels(mixing: str | None, fold: Fold) -> Model:
    return pixel_mixture(fold.train, mixing)


MODELS: dict[str, Callable[[Fold], Model]] = {  # by a key of `FEEDS`
    "generator": _generator,
    "reconstruction": _reconstruction,
    "resample": partial(_pixels, None),
    **{name: partial(_pixels, name) for name in MIXINGS},
}


def check_feed(name: str, fold: Fold) -> None:
    """Raise `ConfigError` if a key of `FEEDS` needs a generator and the fold has none."""
    if FEEDS[name].needs_generator and fold.run is None:
        raise ConfigError(
            "an arm has a feed that needs a generator, but there is none: compare such arms with `augment run`"
        )


def feed(name: str, fold: Fold, policy: str | None, *, horizontal_flip: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a function from labels and seeds, int64 (n,), to images, uint8 (n, C, H, W), each in one view of `policy`.

    Raises `ConfigError` if the fold lacks what the feed needs, or if its model has other classes than the fold.
    """
    check_feed(name, fold)
    model = MODELS[name](fold)
    if tuple(model.metadata.classes) != fold.train.class_names:
        raise ConfigError("the generator was fitted to other classes than the fold has; fit it to the same images")

    def generate(labels: Tensor, seeds: Tensor) -> Tensor:
        images = model.sample(labels.numpy(), seeds.numpy().astype(np.uint64), scored=False).images
        if policy is None or not len(images):
            return torch.from_numpy(images)
        data, seed = LabelledImages(images, labels.numpy(), fold.train.class_names), int(seeds[0]) % SEEDS
        return torch.from_numpy(bank_of_views(data, policy, views=1, horizontal_flip=horizontal_flip, seed=seed)[0])

    return generate
