"""Classify images with cross-fitted classifiers, which gives scores to filter and weight by, and soft labels.

The training images are divided into parts, and for each part, one classifier is trained on the others. Each synthetic
image is classified by the one that has not seen the part with the real image nearest to it. Otherwise a memorised copy
of a training image would get the best score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from torch import nn

from augment.dataset.images import LabelledImages, resize_images, to_signed
from augment.errors import ConfigError
from augment.filtering import CrossFittedPredictions
from augment.runtime import Runtime, Task
from augment.seeds import derive_seed
from classifiers.metrics import softmax
from classifiers.networks import features
from classifiers.training import predict
from pipelines.config.arm_section import Arm
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.arms import arms_of, train_arm
from pipelines.experiment.folds import Fold
from pipelines.experiment.parallel import run_in_processes

CROSS_FIT_PARTS = 4  # and as many classifiers
BATCH = 128
MAX_PIXELS = 32  # width and height of the images that are compared pixel by pixel
UNIT_QUANTILE = 0.5  # this quantile of the distances between real images is the unit of all distances


def folds_to_cross_fit(folds: Sequence[Fold], config: EvaluateConfig) -> list[Fold]:
    """Return the folds that have an arm which needs the predictions of cross-fitted classifiers."""
    return [fold for fold in folds if any(arm.needs_cross_fitting for arm in arms_of(fold, config))]


def cross_fit_folds(folds: Sequence[Fold], config: EvaluateConfig, runtime: Runtime) -> list[Fold]:
    """Return the folds, with the predictions of cross-fitted classifiers for those folds that have an arm needing them.

    They are computed in parallel, one fold per process.
    """
    selected = folds_to_cross_fit(folds, config)
    if not selected:
        return list(folds)
    calls = [(_cross_fit_one, (fold, config, runtime.device)) for fold in selected]
    task = Task("cross-fit", len(selected))
    runtime.observer.on_start(task)
    cross_fitted: dict[str, Fold] = {}
    for _, fold in run_in_processes(calls, runtime.jobs):
        cross_fitted[fold.name] = fold
        runtime.observer.on_progress(task, len(cross_fitted), {})
    runtime.observer.on_end(task, {})
    return [cross_fitted.get(fold.name, fold) for fold in folds]


def _cross_fit_one(fold: Fold, config: EvaluateConfig, device: torch.device) -> Fold:
    seed = derive_seed(config.seed, "cross-fitting", *fold.numbers)
    return replace(fold, cross_fitted=cross_fit(fold, config, seed=seed, device=device))


def cross_fit(fold: Fold, config: EvaluateConfig, *, seed: int, device: torch.device) -> CrossFittedPredictions:
    """Return the predictions for the synthetic images, and the out-of-fold predictions for the real ones.

    A fold without synthetic images gets the predictions for the real ones alone. Raises `ConfigError` if a class has a
    single training image.
    """
    train = fold.train
    synthetic = _without_images(train) if fold.synthetic is None else fold.synthetic.data
    part_of = assign_parts(train, derive_seed(seed, "parts"))
    nearest = _nearest(synthetic, train)
    real_probabilities = np.zeros((len(train), train.num_classes))
    probabilities = np.zeros((len(synthetic), train.num_classes))
    distances = []
    for part in range(part_of.max() + 1):
        left_out = part_of == part
        network = _train_without_part(fold, ~left_out, config, derive_seed(seed, "part", part), device)
        unseen = train.take(np.flatnonzero(left_out))
        real_probabilities[left_out] = _probabilities(network, unseen)
        if len(synthetic):
            near_unseen = part_of[nearest] == part
            probabilities[near_unseen] = _probabilities(network, synthetic.take(np.flatnonzero(near_unseen)))
            distances.append(_distances(network, unseen, synthetic, device))
    return CrossFittedPredictions(
        labels=synthetic.labels,
        probabilities=probabilities,
        distance=np.mean(distances, axis=0) if distances else np.zeros(0),
        real_probabilities=real_probabilities,
    )


def assign_parts(data: LabelledImages, seed: int) -> NDArray[np.int64]:
    """Assign each image to one of 4 parts, with every class spread evenly: int64, N.

    There are fewer parts if a class has fewer than 4 images. Raises `ConfigError` if a class has a single image.
    """
    fewest = int(data.counts()[data.counts() > 0].min())
    if fewest < 2:
        raise ConfigError(
            "filters, soft labels and weights by confidence need 2 training images of each class, because one is left "
            "out, and a class has 1; add images, or remove these settings"
        )
    rng = np.random.default_rng(seed)
    part_of = np.empty(len(data), np.int64)
    for k in np.unique(data.labels):
        members = rng.permutation(np.flatnonzero(data.labels == k))
        part_of[members] = np.arange(len(members)) % min(CROSS_FIT_PARTS, fewest)
    return part_of


def _train_without_part(
    fold: Fold, seen: NDArray[np.bool_], config: EvaluateConfig, seed: int, device: torch.device
) -> nn.Module:
    arm = Arm(name="cross-fit", policy=config.policy)
    subset = Fold(fold.train.take(np.flatnonzero(seen)), fold.test)
    return train_arm(arm, subset, config, seed=seed, device=device)


def _nearest(synthetic: LabelledImages, train: LabelledImages) -> NDArray[np.intp]:
    """Return the index of the training image nearest to each synthetic one, by pixels at 32 x 32 or less."""
    small = [resize_images(data.images, min(data.size, MAX_PIXELS), "stretch") for data in (synthetic, train)]
    fake, real = (images.reshape(len(images), math.prod(images.shape[1:])).astype(np.float32) for images in small)
    nearest: NDArray[np.intp] = cdist(fake, real).argmin(1)
    return nearest


def _probabilities(network: nn.Module, data: LabelledImages) -> NDArray[np.float64]:
    if not len(data):
        return np.zeros((0, data.num_classes))
    return softmax(predict(network, data.images))


def _distances(
    network: nn.Module, unseen: LabelledImages, synthetic: LabelledImages, device: torch.device
) -> NDArray[np.float64]:
    """Return the distance of each synthetic image to the nearest unseen real image of its class: M.

    Distances are measured between the features of `network`. The unit is the median distance of an unseen real image
    to its nearest neighbour of the same class.
    """
    real, fake = embed(network, unseen, device), embed(network, synthetic, device)
    distances, real_distances = np.zeros(len(fake)), []
    for k in np.unique(synthetic.labels):
        real_of_class, fake_of_class = real[unseen.labels == k], synthetic.labels == k
        distances[fake_of_class] = cdist(fake[fake_of_class], real_of_class).min(1)
        if len(real_of_class) > 1:
            between = cdist(real_of_class, real_of_class)
            np.fill_diagonal(between, np.inf)
            real_distances.append(between.min(1))
    unit = np.quantile(np.concatenate(real_distances), UNIT_QUANTILE) if real_distances else 0.0
    return distances / (unit or 1.0)  # 0 if most images have a copy among them


@torch.inference_mode()
def embed(network: nn.Module, data: LabelledImages, device: torch.device) -> NDArray[np.float64]:
    """Return the penultimate features of a classifier: float64, N x D."""
    images = torch.from_numpy(np.ascontiguousarray(data.images))
    batches = torch.split(images, BATCH)
    return torch.cat([features(network, to_signed(batch.to(device))).double().cpu() for batch in batches]).numpy()


def _without_images(data: LabelledImages) -> LabelledImages:
    return data.take(np.empty(0, np.int64))
