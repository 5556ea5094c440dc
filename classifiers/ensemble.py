"""Several classifiers as one: the mean of their probabilities, corrected by a shift for each class and a temperature.

The probabilities are averaged first and calibrated afterwards, since the mean is less confident than its members
(Rahaman and Thiery, "Uncertainty Quantification and Deep Ensembles", arXiv 2007.08792, section 4).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import log_softmax

MAX_TEMPERATURE = 20.0  # its inverse is the smallest one


class Ensemble(nn.Module):
    """The mean of the probabilities of M >= 1 classifiers of the same K classes, shifted and at a temperature.

    shift: (K,); subtracted from the log probabilities, so that classes with a small value are favoured.
    """

    temperature: Tensor
    shift: Tensor

    def __init__(self, members: Sequence[nn.Module], num_classes: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.register_buffer("temperature", torch.tensor(1.0))
        self.register_buffer("shift", torch.zeros(num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Map images, float (N, C, size, size) in [-1, 1], to log probabilities (N, K)."""
        averaged = mean_log_probabilities(torch.stack([member(x) for member in self.members]))
        return log_softmax((averaged - self.shift) / self.temperature, 1)


def mean_log_probabilities(logits: Tensor) -> Tensor:
    """Return the logarithm of the mean probabilities of M classifiers: (M, N, K) to (N, K)."""
    return log_softmax(logits, 2).logsumexp(0) - float(np.log(len(logits)))


def fit_temperature(
    log_probabilities: NDArray[np.floating], labels: NDArray[np.integer], weights: NDArray[np.floating]
) -> float:
    """Return the temperature T, from 1/20 to 20, at which the log probabilities / T fit the labels best.

    log_probabilities: N x K, of images that the classifiers have not learnt from. labels, weights: N, of these images.
    It minimises the weighted cross entropy, which is convex in 1 / T, and changes no predicted class. Source: Guo et
    al., "On Calibration of Modern Neural Networks", arXiv 1706.04599, section 4.2.
    """
    from scipy import special  # here, because these imports take a while
    from scipy.optimize import minimize_scalar

    z, own = np.asarray(log_probabilities, np.float64), (np.arange(len(labels)), np.asarray(labels))

    def cross_entropy(log_temperature: float) -> float:
        return float(-weights @ special.log_softmax(z / np.exp(log_temperature), axis=1)[own])

    limit = float(np.log(MAX_TEMPERATURE))
    return float(np.exp(minimize_scalar(cross_entropy, bounds=(-limit, limit), method="bounded").x))
