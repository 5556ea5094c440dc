"""Fidelity metrics of synthetic images, computed on features (n, D) of one network.

KID and precision measure whether synthetic images look real, recall and coverage whether they are as varied as real
ones, and memorisation whether they are copies of training images. KID and FID come from torchmetrics, which takes
seconds to import, so it is imported inside these two functions.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from torch import nn

from augment.errors import InputError

Features = NDArray[np.float64]  # n x D

KID_SUBSETS = 100
KID_MAX_SUBSET = 500  # images; larger subsets take longer and add no information
FID_IMAGES_PER_DIMENSION = 2
ROUNDING = 1e-9  # smaller distances count as 0
MEMORISATION_QUANTILE = 0.01  # fraction of held-out images below the threshold of memorisation


class Kid(NamedTuple):
    """Mean and standard deviation over subsets, and the number of real (and of synthetic) images in each subset."""

    mean: float
    std: float
    subset_size: int


def kid(
    real: Features, synthetic: Features, *, subset_size: int | None = None, subsets: int = KID_SUBSETS, seed: int = 0
) -> Kid:
    """Compute the kernel inception distance: unbiased squared MMD with the kernel (x.y / D + 1)^3, a mean over subsets.

    The expected value is 0 for equal distributions, so estimates can be slightly negative. It is unbiased for any size,
    but noisy for small sets. By default a random subset has half the size of the smaller set, at most 500 images, so
    that the subsets differ and their standard deviation shows the noise; the mean of 100 subsets lies within about
    std / 10 of the value over all images at once. Both sets need at least 2 images. The global random state is not
    changed. Source: Binkowski et al., Demystifying MMD GANs, arXiv 1801.01401, section 4.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    size = max(min(len(real), len(synthetic), 2 * KID_MAX_SUBSET) // 2, 2) if subset_size is None else subset_size
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        torch.default_generator.manual_seed(seed)
        warnings.filterwarnings("ignore", "Metric `Kernel Inception Distance` will save all", UserWarning)
        metric = KernelInceptionDistance(feature=nn.Identity(), subsets=subsets, subset_size=size)
        metric.update(torch.from_numpy(real), real=True)
        metric.update(torch.from_numpy(synthetic), real=False)
        mean, std = metric.compute()
    return Kid(float(mean), float(std), size)


def fid(real: Features, synthetic: Features) -> float:
    """Compute the Frechet inception distance: between Gaussians with the means and covariances of the sets, 0 or more.

    It is biased upwards, more so for smaller sets, so compare it only between sets of equal size. Raises `InputError`
    if either set has fewer than 2 D images: with up to D images a covariance does not have full rank, and with slightly
    more its smallest eigenvalues are mostly noise. Source: Heusel et al., GANs trained by a two time-scale update rule,
    arXiv 1706.08500, section 3.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    dimension = real.shape[1]
    minimum = FID_IMAGES_PER_DIMENSION * dimension
    if min(len(real), len(synthetic)) < minimum:
        raise InputError(
            f"FID needs {minimum:,} images of each kind, {FID_IMAGES_PER_DIMENSION} for each of the {dimension:,} "
            f"features, and got {len(real):,} real and {len(synthetic):,} synthetic ones"
        )
    identity = nn.Identity()
    identity.num_features = torch.tensor(dimension)  # otherwise torchmetrics passes an image through to count them
    metric = FrechetInceptionDistance(feature=identity)
    metric.update(torch.from_numpy(real), real=True)
    metric.update(torch.from_numpy(synthetic), real=False)
    return float(metric.compute())


def precision_recall(real: Features, synthetic: Features, *, k: int = 3) -> tuple[float, float]:
    """Compute (precision, recall), each from 0 to 1.

    Precision is the fraction of synthetic images within the real manifold, recall the fraction of real images within
    the synthetic manifold. A manifold is the union of closed balls around the images of a set; the radius of a ball is
    the distance to the k-th nearest neighbour, or to the farthest if there are fewer. Source: Kynkaanniemi et al.,
    Improved precision and recall, arXiv 1904.06991, section 2.
    """
    between = cdist(real, synthetic)
    precision = (between <= _radii(real, k)[:, None]).any(0).mean()
    recall = (between <= _radii(synthetic, k)[None, :]).any(1).mean()
    return float(precision), float(recall)


def density_coverage(real: Features, synthetic: Features, *, k: int = 5) -> tuple[float, float]:
    """Compute (density, coverage) with the balls that `precision_recall` places around real images.

    Density is the mean number of balls that contain a synthetic image, divided by k; it is about 1 for equal
    distributions and has no upper limit. Coverage is the fraction of balls that contain any synthetic image, from 0 to
    1. Both use only balls of real images, so one synthetic outlier, whose ball would be large, has little influence.
    Source: Naeem et al., Reliable fidelity and diversity metrics, arXiv 2002.09797, section 3.
    """
    inside = cdist(real, synthetic) <= _radii(real, k)[:, None]
    effective_k = max(min(k, len(real) - 1), 1)  # small sets have fewer than k neighbours
    return float(inside.sum(0).mean() / effective_k), float(inside.any(1).mean())


def spread(real: Features, synthetic: Features) -> float:
    """Return the ratio, synthetic over real, of the root mean squared distance from the mean of the first n images.

    n is the size of the smaller set. 1 means that both sets vary equally. Two sets of 20 real images of a class give
    0.78 to 1.3, and sets of 6 images 0.55 to 1.8 (in pixels, Fashion-MNIST and CIFAR-10, 600 draws each). The result is
    1 if all real images are equal. Needs at least two images of each kind.
    """
    n = min(len(real), len(synthetic))
    of_synthetic, of_real = (float(np.sqrt(part[:n].var(0).sum())) for part in (synthetic, real))
    return of_synthetic / of_real if of_real > ROUNDING else 1.0


def distinctness(real: Features, synthetic: Features) -> float:
    """Return the ratio, synthetic over real, of the median distance to the nearest neighbour among the first n images.

    n is the size of the smaller set. 0 means that synthetic images are copies of each other, 1 that they differ as much
    as real ones. Unlike `spread`, it also falls if a generator repeats a few different images. Two sets of 20 real
    images of a class give 0.73 to 1.4, and sets of 6 images 0.55 to 1.8. The result is 1 if the real images are copies
    of each other. Needs at least two images of each kind.
    """
    n = min(len(real), len(synthetic))
    of_synthetic, of_real = (float(np.median(_radii(part[:n], 1))) for part in (synthetic, real))
    return of_synthetic / of_real if of_real > ROUNDING else 1.0


def _radii(features: Features, k: int) -> NDArray[np.float64]:
    """Return the distance of each image to its k-th nearest neighbour, or to the farthest if there are fewer: n."""
    k = min(k, len(features) - 1)
    return np.partition(cdist(features, features), k, axis=1)[:, k]  # the 0-th nearest is the image itself


@dataclass(frozen=True)
class Memorisation:
    """The nearest training image of each synthetic image, and whether it is nearer than unseen real images are."""

    fraction: float  # of synthetic images whose distance is at most `threshold`
    by_chance: float  # the fraction expected for new real images
    threshold: float  # only 1 % of held-out real images are nearer to a training image
    nearest: NDArray[np.int64]  # index of the training image nearest to each synthetic image
    distance: NDArray[np.float64]  # of each synthetic image to that training image


def memorisation(train: Features, held_out: Features, synthetic: Features) -> Memorisation:
    """Compare the distances of synthetic and of held-out real images to their nearest training images.

    The threshold is the 1 % quantile of the distances of n held-out images, with linear interpolation. For small n it
    is only slightly above the smallest distance. A new real image has a distance below the j-th smallest of n with
    probability j / (n + 1), so a generator that does not memorise has a fraction near `by_chance`, which is 0.042 for
    n = 30 and 0.01 for n = 2000. Images that are more typical than real ones are nearer without being copies; looking
    at the closest pairs shows whether they are copies.
    """
    n = len(held_out)
    threshold = float(np.quantile(cdist(held_out, train).min(1), MEMORISATION_QUANTILE))
    to_train = cdist(synthetic, train)
    nearest, distance = to_train.argmin(1), to_train.min(1)
    by_chance = (1 + MEMORISATION_QUANTILE * (n - 1)) / (n + 1)
    return Memorisation(float((distance <= threshold).mean()), by_chance, threshold, nearest, distance)
