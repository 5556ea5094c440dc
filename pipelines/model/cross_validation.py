"""The ensemble of the trained members, calibrated on the images that some of them had not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from classifiers.ensemble import Ensemble, fit_temperature, mean_log_probabilities
from classifiers.long_tail import log_prior
from classifiers.metrics import confusion, expected_calibration_error, score, softmax
from pipelines.experiment.folds import Fold
from pipelines.experiment.operating_point import ALWAYS_SEEN, fit_shift
from pipelines.metric_specs import default_metric, image_weights
from pipelines.model.recipe import Recipe
from pipelines.model.saved_model import CrossValidation, new_member, restored

NONE_LEFT_OUT = -1  # the part of a training on all images
Key = tuple[int, int]  # part and member
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class FoldParts:
    """A fold with the part of each of its N labelled images: int64, N; see `operating_point.assign_parts`."""

    fold: Fold
    part_of: NDArray[np.int64]


@dataclass(frozen=True)
class OutOfFoldPredictions:
    """What ensembles predict for images that they had not seen, before any calibration.

    indices: int64, n; of the images among all. labels: int64, n. log_probabilities: float64, n x K. counts: int64, K;
    of all images of each class.
    """

    indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    log_probabilities: NDArray[np.float64]
    counts: NDArray[np.int64]

    @property
    def weights(self) -> NDArray[np.float64]:
        """The weight of each image: float64, n. Classes count equally if they are imbalanced."""
        per_class = {str(k): int(count) for k, count in enumerate(self.counts)}
        return image_weights(self.labels, default_metric(per_class))


def ensemble_of(results: Mapping[Key, Tensors], images: FoldParts, recipe: Recipe) -> Ensemble:
    """Return the ensemble of the members that were trained on all images. results: of all trainings, by their key."""
    data = images.fold.train
    members = [
        restored(new_member(data.num_classes, data.channels, data.size, recipe), tensors)
        for (part, _), tensors in results.items()
        if part == NONE_LEFT_OUT
    ]
    return Ensemble(members, data.num_classes)


def out_of_fold_predictions(results: Mapping[Key, Tensors], images: FoldParts) -> OutOfFoldPredictions | None:
    """Return the predictions for the images that were left out in turn; None if there were none."""
    data, members = images.fold.train, sum(part == NONE_LEFT_OUT for part, _ in results)
    unseen = np.flatnonzero(images.part_of != ALWAYS_SEEN)
    if not len(unseen) or len(results) == members:
        return None
    predictions = torch.empty(len(data), data.num_classes)
    for part in set(images.part_of[unseen].tolist()):
        logits = torch.stack([results[part, number]["logits"] for number in range(members)])
        predictions[torch.from_numpy(images.part_of == part)] = mean_log_probabilities(logits)
    return OutOfFoldPredictions(unseen, data.labels[unseen], predictions[unseen].double().numpy(), data.counts())


def calibrate(network: Ensemble, unseen: OutOfFoldPredictions, recipe: Recipe) -> CrossValidation:
    """Set the operating point and the temperature of the network by the predictions for images that were left out."""
    z, labels, weights = unseen.log_probabilities, unseen.labels, unseen.weights
    before = _scores(z, labels, weights)
    if recipe.arm.is_cross_fitted:
        prior = log_prior(torch.from_numpy(unseen.counts).clamp(min=1).double()).numpy()
        network.shift = torch.from_numpy(fit_shift(z, labels, prior) * prior).float()
        z = z - network.shift.numpy()
    network.temperature = torch.tensor(fit_temperature(z, labels, weights))
    after = _scores(z / float(network.temperature), labels, weights)
    matrix = confusion(torch.from_numpy(z), labels, z.shape[1]).tolist()
    return CrossValidation(images=len(labels), before=before, after=after, confusion=matrix)


def _scores(z: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float64]) -> dict[str, float]:
    scores = score(z, labels, z.shape[1])
    return {**scores, "expected_calibration_error": expected_calibration_error(softmax(z), labels, weights)}
