"""`AugmentClassifier`: the classifier of `augment train` as an estimator of scikit-learn.

It works in `clone`, `cross_val_score` and `GridSearchCV`. The estimator checks of scikit-learn that give it tables of
numbers cannot apply, since it classifies pictures.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from augment.dataset.images import LabelledImages, check_size, nearest_size, resize_images
from augment.dataset.sources import DEFAULT_MAX_SIZE
from augment.devices import find_device
from augment.errors import SourceError
from augment.seeds import derive_seed
from classifiers.training import predict
from pipelines.experiment.folds import Fold
from pipelines.experiment.operating_point import assign_parts
from pipelines.experiment.parallel import end_processes, run_in_processes
from pipelines.model.cross_validation import NONE_LEFT_OUT, FoldParts, calibrate, ensemble_of, out_of_fold_predictions
from pipelines.model.recipe import choose_recipe
from pipelines.model.training import plan, train_one


class AugmentClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """An ensemble of small convolutional networks for few labelled pictures.

    Pictures are uint8 arrays: N x H x W for grey ones, or N x H x W x C with C from 1 to 4. Labels are of any type that
    numpy can sort. steps: optimiser steps of each network; None: 300. members: networks whose probabilities are
    averaged. calibrated: whether to train `members` more networks without each fifth of the pictures, to fit a
    temperature on their predictions for that fifth. horizontal_flip: whether the classes look the same when mirrored.
    image_size: in px, a multiple of 4 from 8 to 128; None: the size nearest to that of the pictures, at most 64.
    random_state: the seed, an int. device: cpu, cuda or auto. jobs: processes. After `fit`, `classes_` are the labels,
    and `cross_validation_` is what the pictures that were left out show, or None.
    """

    def __init__(
        self,
        *,
        steps: int | None = None,
        members: int = 1,
        calibrated: bool = False,
        horizontal_flip: bool = False,
        image_size: int | None = None,
        random_state: int = 0,
        device: str = "cpu",
        jobs: int = 1,
    ) -> None:
        self.steps = steps
        self.members = members
        self.calibrated = calibrated
        self.horizontal_flip = horizontal_flip
        self.image_size = image_size
        self.random_state = random_state
        self.device = device
        self.jobs = jobs

    @end_processes()
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:  # noqa: N803 (the names of scikit-learn)
        """Train on pictures X and their labels y.

        Raises `SourceError` if X does not hold pictures or y has fewer than 2 classes, `ConfigError` for an image size
        that is not allowed, and `DeviceError` for a device that is not there.
        """
        self.classes_, labels = np.unique(np.asarray(y), return_inverse=True)
        if len(self.classes_) < 2:
            raise SourceError(f"expected labels of 2 classes or more, got {len(self.classes_)}")
        planes = _planes(X)
        size = self.image_size or min(nearest_size(max(planes.shape[2:])), DEFAULT_MAX_SIZE)
        self.size_ = check_size(size)
        self.channels_ = planes.shape[1]
        images = resize_images(planes, self.size_, "pad")
        data = LabelledImages(images, labels.astype(np.int64), tuple(map(str, self.classes_)))
        recipe = choose_recipe(None, steps=self.steps, horizontal_flip=self.horizontal_flip, seed=self.random_state)
        fold = Fold(data, data)
        parts = FoldParts(fold, assign_parts(fold, derive_seed(self.random_state, "parts")))
        trainings = [t for t in plan(parts, self.members) if self.calibrated or t.part == NONE_LEFT_OUT]
        device = find_device(self.device)
        calls = [(train_one, (training, parts, recipe, device)) for training in trainings]
        finished = dict(run_in_processes(calls, self.jobs))
        results = {training.key: finished[i] for i, training in enumerate(trainings)}
        network, unseen = ensemble_of(results, parts, recipe), out_of_fold_predictions(results, parts)
        self.cross_validation_ = calibrate(network, unseen, recipe) if unseen else None
        self.network_ = network.to(device).eval()
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Return the probability of each class for pictures X: float64, N x K, in the order of `classes_`."""
        check_is_fitted(self)
        planes = _planes(X)
        if planes.shape[1] != self.channels_:
            raise SourceError(f"expected pictures of {self.channels_} channels, as in fit, got {planes.shape[1]}")
        images = resize_images(planes, self.size_, "pad")
        probabilities: NDArray[np.float64] = predict(self.network_, images).double().exp().numpy()
        return probabilities

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """Return the most probable label of each picture of X."""
        predicted: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(1)]
        return predicted

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        return tags


def _planes(pictures: ArrayLike) -> NDArray[np.uint8]:
    """Return pictures as uint8, N x C x H x W. Raises `SourceError` for anything else."""
    array = np.asarray(pictures)
    if array.dtype != np.uint8 or array.ndim not in (3, 4) or (array.ndim == 4 and not 1 <= array.shape[3] <= 4):
        raise SourceError(
            f"expected pictures as uint8, N x H x W or N x H x W x C with C from 1 to 4, got {array.dtype} of shape "
            f"{array.shape}"
        )
    return array[:, None] if array.ndim == 3 else np.ascontiguousarray(array.transpose(0, 3, 1, 2))
