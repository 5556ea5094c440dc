"""How good generated images are, on features (n, D) of a network that has seen the training images only.

KID needs no minimum to be unbiased but is noisy on small sets, so its subset size is always told. Precision asks
whether synthetic images look real, and memorisation whether they are copies of training images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

Features = NDArray[np.float64]  # n x D


def kid(real: Features, synthetic: Features) -> float:
    """Kernel inception distance: unbiased squared MMD with the kernel (x.y / D + 1)^3, over all images at once.

    0 for equal distributions, and it may come out slightly below. Source: Binkowski et al., Demystifying MMD GANs,
    arXiv 1801.01401, section 4 (there averaged over subsets; with one subset of everything the variance is least).
    """
    n, m = len(real), len(synthetic)
    k_rr, k_ss, k_rs = (_cubic(a, b) for a, b in ((real, real), (synthetic, synthetic), (real, synthetic)))
    within_real = (k_rr.sum() - np.trace(k_rr)) / (n * (n - 1))
    within_synthetic = (k_ss.sum() - np.trace(k_ss)) / (m * (m - 1))
    return float(within_real + within_synthetic - 2 * k_rs.mean())


def _cubic(a: Features, b: Features) -> NDArray[np.float64]:
    kernel: NDArray[np.float64] = (a @ b.T / a.shape[1] + 1) ** 3
    return kernel


def precision_recall(real: Features, synthetic: Features, *, k: int = 3) -> tuple[float, float]:
    """(share of synthetic images within the real manifold, share of real images within the synthetic one), 0 to 1.

    A manifold is the union of balls around its images that reach to the k-th nearest neighbour. Source:
    Kynkaanniemi et al., Improved precision and recall, arXiv 1904.06991, section 2.
    """
    between = cdist(real, synthetic)
    precision = (between <= _radii(real, k)[:, None]).any(0).mean()
    recall = (between <= _radii(synthetic, k)[None, :]).any(1).mean()
    return float(precision), float(recall)


def _radii(features: Features, k: int) -> NDArray[np.float64]:
    k = min(k, len(features) - 1)  # a set of k images or fewer has no k-th neighbour
    return np.partition(cdist(features, features), k, axis=1)[:, k]  # the 0-th nearest is the image itself


@dataclass(frozen=True)
class Memorisation:
    """Nearest training image of every synthetic image, and how its distance compares with unseen real images'."""

    fraction: float  # of synthetic images nearer to training than all but 1 % of held-out real images are
    threshold: float  # the distance that only 1 % of held-out real images fall below
    nearest: NDArray[np.int64]  # index of the nearest training image, one a synthetic image
    distance: NDArray[np.float64]  # to it


def memorisation(train: Features, held_out: Features, synthetic: Features) -> Memorisation:
    """Distances of synthetic images to their nearest training image, against those of held-out real images.

    A generator that copies nothing has a fraction near 0.01, by construction of the threshold.
    """
    threshold = float(np.quantile(cdist(held_out, train).min(1), 0.01))
    to_train = cdist(synthetic, train)
    nearest, distance = to_train.argmin(1), to_train.min(1)
    return Memorisation(float((distance <= threshold).mean()), threshold, nearest, distance)
