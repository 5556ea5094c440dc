"""How good generated images are, on features (n, D) of one network for all of them.

KID and precision ask whether synthetic images look real, recall and coverage whether they are as varied, memorisation
whether they are copies of training images. torchmetrics does KID and FID; its import takes seconds, so that it happens
inside the two functions.
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
KID_LARGEST_SUBSET = 500  # images: more take longer and tell no more
FID_IMAGES_A_DIMENSION = 2
ROUNDING = 1e-9  # distances below it are 0
NEAREST = 0.01  # share of held-out images that lies below the threshold of memorisation


class Kid(NamedTuple):
    """The mean over subsets, their standard deviation, and how many images of each kind one holds."""

    mean: float
    std: float
    subset_size: int


def kid(
    real: Features, synthetic: Features, *, subset_size: int | None = None, subsets: int = KID_SUBSETS, seed: int = 0
) -> Kid:
    """Kernel inception distance: unbiased squared MMD with the kernel (x.y / D + 1)^3, averaged over random subsets.

    0 for equal distributions, and it may come out slightly below; unbiased for any size, and noisy for small ones. By
    default a subset is half of the smaller set, at most 500 images, so that the subsets differ and their spread tells
    of the noise; the mean of 100 lies within about std / 10 of the value over all images at once. Both sets need 2
    images. The global random state is left as it was. Source: Binkowski et al., Demystifying MMD GANs, arXiv
    1801.01401, section 4.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    size = max(min(len(real), len(synthetic), 2 * KID_LARGEST_SUBSET) // 2, 2) if subset_size is None else subset_size
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        torch.default_generator.manual_seed(seed)
        warnings.filterwarnings("ignore", "Metric `Kernel Inception Distance` will save all", UserWarning)
        metric = KernelInceptionDistance(feature=nn.Identity(), subsets=subsets, subset_size=size)
        metric.update(torch.from_numpy(real), real=True)
        metric.update(torch.from_numpy(synthetic), real=False)
        mean, std = metric.compute()
    return Kid(float(mean), float(std), size)


def fid(real: Features, synthetic: Features) -> float:
    """Frechet inception distance between the Gaussians that have the means and covariances of the two sets; from 0 up.

    Biased upwards, the more so the smaller the sets: compare it at equal sizes only. Raises `InputError` if either set
    has fewer than 2 D images: up to D a covariance lacks rank, and with few more its smallest eigenvalues mean nothing.
    Source: Heusel et al., GANs trained by a two time-scale update rule, arXiv 1706.08500, section 3.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    dimension = real.shape[1]
    fewest = FID_IMAGES_A_DIMENSION * dimension
    if min(len(real), len(synthetic)) < fewest:
        raise InputError(
            f"FID needs {fewest:,} images of each kind, {FID_IMAGES_A_DIMENSION} for each of the {dimension:,} "
            f"features, and got {len(real):,} real and {len(synthetic):,} synthetic ones"
        )
    given = nn.Identity()
    given.num_features = torch.tensor(dimension)  # without it torchmetrics sends a picture through to count them
    metric = FrechetInceptionDistance(feature=given)
    metric.update(torch.from_numpy(real), real=True)
    metric.update(torch.from_numpy(synthetic), real=False)
    return float(metric.compute())


def precision_recall(real: Features, synthetic: Features, *, k: int = 3) -> tuple[float, float]:
    """(share of synthetic images within the real manifold, share of real images within the synthetic one), 0 to 1.

    A manifold is the union of closed balls around its images that reach to the k-th nearest neighbour, or to the
    farthest where there are fewer. Source: Kynkaanniemi et al., Improved precision and recall, arXiv 1904.06991,
    section 2.
    """
    between = cdist(real, synthetic)
    precision = (between <= _radii(real, k)[:, None]).any(0).mean()
    recall = (between <= _radii(synthetic, k)[None, :]).any(1).mean()
    return float(precision), float(recall)


def density_coverage(real: Features, synthetic: Features, *, k: int = 5) -> tuple[float, float]:
    """(real balls that hold a synthetic image, on average and divided by k, share of real balls that hold any).

    The balls are those of `precision_recall`. Density is about 1 for equal distributions and has no upper limit;
    coverage is 0 to 1. Both ask of real balls alone, so that one stray synthetic image, whose ball is large, does not
    count for much. Source: Naeem et al., Reliable fidelity and diversity metrics, arXiv 2002.09797, section 3.
    """
    inside = cdist(real, synthetic) <= _radii(real, k)[:, None]
    reached = max(min(k, len(real) - 1), 1)  # the neighbour that the balls do reach
    return float(inside.sum(0).mean() / reached), float(inside.any(1).mean())


def spread(real: Features, synthetic: Features) -> float:
    """Root mean squared distance of synthetic images from their mean, over that of as many real ones: 1 is as varied.

    Two sets of 20 real images of a class have 0.78 to 1.3, of 6 images 0.55 to 1.8 (in pixels, Fashion-MNIST and
    CIFAR-10, 600 draws each). 1 where the real images are copies. Needs two of each.
    """
    n = min(len(real), len(synthetic))
    ours, theirs = (float(np.sqrt(part[:n].var(0).sum())) for part in (synthetic, real))
    return ours / theirs if theirs > ROUNDING else 1.0


def distinctness(real: Features, synthetic: Features) -> float:
    """How far synthetic images lie from their nearest other one, against as many real images: 0 is copies, 1 as real.

    The ratio of the medians. It falls too where a generator makes a few different images again and again, which leave
    the spread as it is. Two sets of 20 real images of a class have 0.73 to 1.4, of 6 images 0.55 to 1.8. 1 where the
    real images are copies. Needs two of each.
    """
    n = min(len(real), len(synthetic))
    ours, theirs = (float(np.median(_radii(part[:n], 1))) for part in (synthetic, real))
    return ours / theirs if theirs > ROUNDING else 1.0


def _radii(features: Features, k: int) -> NDArray[np.float64]:
    k = min(k, len(features) - 1)  # a set of k images or fewer has no k-th neighbour
    return np.partition(cdist(features, features), k, axis=1)[:, k]  # the 0-th nearest is the image itself


@dataclass(frozen=True)
class Memorisation:
    """Nearest training image of every synthetic image, and how its distance compares with unseen real images'."""

    fraction: float  # of synthetic images nearer to training than all but 1 % of held-out real images are
    by_chance: float  # the fraction to expect of further unseen real images
    threshold: float  # the distance that only 1 % of held-out real images fall below
    nearest: NDArray[np.int64]  # index of the nearest training image, one a synthetic image
    distance: NDArray[np.float64]  # to it


def memorisation(train: Features, held_out: Features, synthetic: Features) -> Memorisation:
    """Distances of synthetic images to their nearest training image, against those of held-out real images.

    The threshold is the 1 % quantile of n held-out images, interpolated between the two nearest in rank. Where n is
    small it is not far above the smallest of them, and a new real image lies below the j-th smallest of n with
    probability j / (n + 1): so an honest generator's fraction is near `by_chance`, 0.042 at n = 30 and 0.01 at 2000.
    Images that are more typical than real ones come nearer without being copies: the closest pairs show which it is.
    """
    n = len(held_out)
    threshold = float(np.quantile(cdist(held_out, train).min(1), NEAREST))
    to_train = cdist(synthetic, train)
    nearest, distance = to_train.argmin(1), to_train.min(1)
    by_chance = (1 + NEAREST * (n - 1)) / (n + 1)
    return Memorisation(float((distance <= threshold).mean()), by_chance, threshold, nearest, distance)
