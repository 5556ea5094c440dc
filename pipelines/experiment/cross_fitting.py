"""Cross-fitted classifiers as judges of synthetic images: scores to filter and weigh by, and soft labels.

Nobody judges what resembles an image that it has trained on: the training images are cut into folds, one classifier
learns from each complement, and a synthetic image is judged by the classifier whose left-out fold holds the real image
nearest to it. So a memorised copy is an unseen image to its judge.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from torch import nn

from augment.dataset.images import LabelledImages, resize_images, to_signed
from augment.errors import ConfigError
from augment.filtering import Judged
from augment.seeds import derive_seed
from classifiers.metrics import softmax
from classifiers.networks import features
from classifiers.training import predict
from pipelines.config.sections import Arm, EvaluateConfig
from pipelines.experiment.arms import train_arm
from pipelines.experiment.folds import Fold

FOLDS = 4
BATCH = 128
PIXELS = 32
SCALE_AT = 0.5  # the quantile of the real images' distances that is the unit of all others


def judge(fold: Fold, config: EvaluateConfig, *, seed: int, device: torch.device) -> Judged:
    """What the judges say of the synthetic images, and of the real ones out of fold.

    Without synthetic images only the latter. Raises `ConfigError` if a class has a single training image.
    """
    train = fold.train
    synthetic = _none_of(train) if fold.synthetic is None else fold.synthetic.data
    part_of = cut(train, derive_seed(seed, "parts"))
    nearest = _nearest(synthetic, train)
    real_probabilities = np.zeros((len(train), train.num_classes))
    probabilities = np.zeros((len(synthetic), train.num_classes))
    distances = []
    for part in range(part_of.max() + 1):
        left_out = part_of == part
        judge_ = _judge_of(fold, ~left_out, config, derive_seed(seed, "judge", part), device)
        unseen = train.take(np.flatnonzero(left_out))
        real_probabilities[left_out] = _probabilities(judge_, unseen)
        if len(synthetic):
            theirs = part_of[nearest] == part
            probabilities[theirs] = _probabilities(judge_, synthetic.take(np.flatnonzero(theirs)))
            distances.append(_distances(judge_, unseen, synthetic, device))
    return Judged(
        labels=synthetic.labels,
        probabilities=probabilities,
        distance=np.mean(distances, axis=0) if distances else np.zeros(0),
        real_probabilities=real_probabilities,
    )


def cut(data: LabelledImages, seed: int) -> NDArray[np.int64]:
    """The fold of each image, 0 to 3, or fewer where a class has less images: N; the classes are spread evenly."""
    fewest = int(data.counts()[data.counts() > 0].min())
    if fewest < 2:
        raise ConfigError(
            "judging needs 2 training images of each class, to leave one out, and a class has 1; add images, or drop "
            "filters, soft labels and weights by confidence"
        )
    rng = np.random.default_rng(seed)
    fold_of = np.empty(len(data), np.int64)
    for k in np.unique(data.labels):
        members = rng.permutation(np.flatnonzero(data.labels == k))
        fold_of[members] = np.arange(len(members)) % min(FOLDS, fewest)
    return fold_of


def _judge_of(
    fold: Fold, seen: NDArray[np.bool_], config: EvaluateConfig, seed: int, device: torch.device
) -> nn.Module:
    arm = Arm(name="judge", policy=config.policy)
    part = Fold(fold.train.take(np.flatnonzero(seen)), fold.test)
    return train_arm(arm, part, config, seed=seed, device=device)


def _nearest(synthetic: LabelledImages, train: LabelledImages) -> NDArray[np.intp]:
    """The place of the training image nearest to each synthetic one, in pixels of at most 32 x 32."""
    small = [resize_images(data.images, min(data.size, PIXELS), "stretch") for data in (synthetic, train)]
    made, real = (images.reshape(len(images), math.prod(images.shape[1:])).astype(np.float32) for images in small)
    nearest: NDArray[np.intp] = cdist(made, real).argmin(1)
    return nearest


def _probabilities(network: nn.Module, data: LabelledImages) -> NDArray[np.float64]:
    if not len(data):
        return np.zeros((0, data.num_classes))
    return softmax(predict(network, torch.from_numpy(np.ascontiguousarray(data.images))))


def _distances(
    network: nn.Module, unseen: LabelledImages, synthetic: LabelledImages, device: torch.device
) -> NDArray[np.float64]:
    """Distance of each synthetic image to the nearest unseen real one of its class, in features of the judge.

    The unit is the median distance between unseen real images of one class and their nearest.
    """
    real, made = embed(network, unseen, device), embed(network, synthetic, device)
    out, units = np.zeros(len(made)), []
    for k in np.unique(synthetic.labels):
        of_class, asked = real[unseen.labels == k], synthetic.labels == k
        out[asked] = cdist(made[asked], of_class).min(1)
        if len(of_class) > 1:
            between = cdist(of_class, of_class)
            np.fill_diagonal(between, np.inf)
            units.append(between.min(1))
    return out / (np.quantile(np.concatenate(units), SCALE_AT) if units else 1.0)


@torch.inference_mode()
def embed(network: nn.Module, data: LabelledImages, device: torch.device) -> NDArray[np.float64]:
    """Penultimate features of a classifier: N x D."""
    images = torch.from_numpy(np.ascontiguousarray(data.images))
    batches = torch.split(images, BATCH)
    return torch.cat([features(network, to_signed(batch.to(device))).double().cpu() for batch in batches]).numpy()


def _none_of(data: LabelledImages) -> LabelledImages:
    return data.take(np.empty(0, np.int64))
