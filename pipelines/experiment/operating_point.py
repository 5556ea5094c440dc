"""How far a trained classifier should favour rare classes, found by cross-fitting: `operating_point: cross-fitted`.

A classifier that corrects for imbalanced classes, as logit adjustment does, corrects for what it was trained on. It
has memorised the few images of a rare class, so unseen images of this class get lower logits than these. How much lower
depends on the images, the number of steps and the policy, and cannot be read off the training. So the
classifier is trained again on parts of the images, and images that it has not seen tell how far to shift its logits.

The shift is t times the log prior: the tau of Menon et al., arXiv 2007.07314, section 4, which they tune on validation
images, beside the tau = 1 of the training. It changes no ranking of the images of two classes (`pairwise_auc`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from augment.seeds import derive_seed
from classifiers.long_tail import log_prior
from classifiers.networks import Classifier
from pipelines.experiment.folds import Fold

PARTS = 5  # as many classifiers are trained for the shift
MAX_SHIFT = 2.0  # largest size of t; on the development sets it was between -0.1 and 0.8
ALWAYS_SEEN = -1  # the part of an image that all classifiers may see


def set_operating_point(
    model: nn.Module,
    fold: Fold,
    train: Callable[[Fold, int], nn.Module],
    predict: Callable[[nn.Module, Fold], Tensor],
    seed: int,
) -> None:
    """Shift the logits of a trained `Classifier`, which has a linear head, as suits images left out of training best.

    The shift is found with classifiers that are trained without a part of the images each. train: from a fold and a
    seed to a classifier like `model`. predict: the logits of a fold's test images.
    """
    part_of = assign_parts(fold, derive_seed(seed, "parts"))
    left_out = np.flatnonzero(part_of != ALWAYS_SEEN)
    counts = torch.from_numpy(fold.train.counts())
    if len(left_out) == 0 or bool((counts == counts[0]).all()):
        return
    logits = np.empty((len(fold.train), fold.train.num_classes))
    for part in range(PARTS):
        unseen = np.flatnonzero(part_of == part)
        if len(unseen):
            seen = replace(fold, train=fold.train.take(np.flatnonzero(part_of != part)))
            trained = train(seen, derive_seed(seed, "part", part))
            logits[unseen] = predict(trained, replace(fold, test=fold.train.take(unseen))).numpy()
    prior = log_prior(counts.clamp(min=1).double())
    t = fit_shift(logits[left_out], fold.train.labels[left_out], prior.numpy())
    assert isinstance(model, Classifier)
    assert isinstance(model.head, nn.Linear)
    with torch.no_grad():
        model.head.bias.sub_(t * prior.to(model.head.bias))


def assign_parts(fold: Fold, seed: int) -> NDArray[np.int64]:
    """Assign each training image to one of 5 parts, with every class spread evenly: int64, N.

    The only image of a class gets `ALWAYS_SEEN`: without it, a classifier would not know the class.
    """
    labels, rng = fold.train.labels, np.random.default_rng(seed)
    part_of = np.full(len(labels), ALWAYS_SEEN)
    for k in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == k))
        if len(members) > 1:
            part_of[members] = (rng.integers(PARTS) + np.arange(len(members))) % PARTS
    return part_of


def fit_shift(logits: NDArray[np.float64], labels: NDArray[np.int64], log_priors: NDArray[np.float64]) -> float:
    """Return the t at which logits - t * `log_priors` fit the labels best, if every class counts equally.

    logits: N x K, of images that the classifier has not seen. log_priors: K. The fit is a logistic regression with two
    parameters, a and b: the logits times a minus b times `log_priors`, and t = b / a. a is the confidence that unseen
    images deserve, so that t does not depend on it. The loss is convex. t is 0 if a is not above 0, for then the
    logits say nothing about the classes, and between -2 and 2.
    """
    from scipy import special  # here, because these imports take a while
    from scipy.optimize import minimize

    weights = 1 / np.bincount(labels)[labels] / len(np.unique(labels))
    own = np.arange(len(labels)), labels

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        log_p = special.log_softmax(parameters[0] * logits - parameters[1] * log_priors, axis=1)
        error = np.exp(log_p)
        error[own] -= 1
        error *= weights[:, None]
        return float(-weights @ log_p[own]), np.array([(error * logits).sum(), -(error @ log_priors).sum()])

    a, b = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS").x
    return float(np.clip(b / a, -MAX_SHIFT, MAX_SHIFT)) if a > 0 else 0.0
