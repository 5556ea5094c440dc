"""Add differences of two images of large classes to the pretrained features of small classes, without any images.

    python benchmarks/feature_differences.py --set fashion=fashion.npz --setting 100:5
    python benchmarks/feature_differences.py --set cifar10=cifar10.npz --setting 100:5 --flip

The generator `anchored` lends a small class the differences between images of a large one in the features of its
encoder. Here they are added to pretrained features, x_a + s (x_c - x_d), from which a linear classifier learns. So no
decoder can spoil them. In every repeat the large classes and the images are new, and all test images are classified.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor

from augment.runtime import Runtime
from augment.seeds import derive_seed
from classifiers.features import FeatureConfig, features_of, load_extractor
from classifiers.linear_head import fit_linear_head
from classifiers.long_tail import log_prior
from pipelines.config.reading import parse
from pipelines.config.sections import Pipeline
from pipelines.experiment.feature_learning import with_features
from pipelines.experiment.folds import Fold
from pipelines.experiment.loading import load
from pipelines.experiment.protocols import make_protocol
from pipelines.results.statistics import corrected_t_interval

COPIES, FEWEST = 4, 20  # new vectors of each image; images of a class that lends
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Variant:
    """How new vectors are made and weighed.

    share: of the weight of each class that is learnt from new vectors. scale: s. even: whether the new vectors of all
    classes weigh the same. rare: whether only classes with fewer than 20 images get new ones.
    """

    share: float = 0.0
    scale: float = 1.0
    even: bool = False
    rare: bool = False


VARIANTS = {
    "real images alone": Variant(),
    "a quarter": Variant(0.25),
    "half": Variant(0.5),
    "half, s = 0.5": Variant(0.5, 0.5),
    "half, of small classes": Variant(0.5, rare=True),
    "a quarter, even classes": Variant(0.25, even=True),
    "a quarter, even classes, s = 0": Variant(0.25, 0.0, even=True),
}


def new_vectors(x: Tensor, labels: NDArray[np.int64], scale: float, rng: np.random.Generator) -> Tensor:
    """Return `COPIES` vectors for each of N images, with differences of a class that lends. x: views x N x D."""
    counts = np.bincount(labels)
    lenders = np.flatnonzero(counts >= FEWEST)
    pairs = np.array(
        [rng.choice(np.flatnonzero(labels == k), 2, replace=False) for k in rng.choice(lenders, COPIES * len(labels))]
    )
    view = rng.integers(len(x), size=len(pairs))  # both images of a pair are mirrored alike
    anchors = x[view, np.tile(np.arange(len(labels)), COPIES)]
    vectors = anchors + scale * (x[view, pairs[:, 0]] - x[view, pairs[:, 1]])
    return torch.nn.functional.normalize(vectors)


def training_set(
    x: Tensor, labels: Tensor, num_classes: int, variant: Variant, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return features, weighted targets and logit offsets, as `fit_linear_head` takes them. x: views x N x D."""
    counts = torch.bincount(labels, minlength=num_classes).double()
    one_hot, prior = torch.eye(num_classes, dtype=torch.float64), log_prior(counts)
    real = torch.where((counts < FEWEST) | (not variant.rare), 1 - variant.share, 1.0)
    new, new_prior = (1 - real) / COPIES, prior
    if variant.even:  # they come on top of the real images, as in a batch
        total = variant.share / (1 - variant.share) * len(labels)
        real, new = torch.ones_like(counts), total / (num_classes * COPIES * counts)
        new_prior = torch.zeros_like(counts)
    rng = np.random.default_rng(seed)
    copied, several = labels.repeat(COPIES), labels.repeat(len(x))
    return (
        torch.cat([*x, new_vectors(x, labels.numpy(), variant.scale, rng)]),
        torch.cat([(one_hot * real[:, None] / len(x))[several], (one_hot * new[:, None])[copied]]),
        torch.cat([prior.expand(len(several), -1), new_prior.expand(len(copied), -1)]),
    )


def accuracies(fold: Fold, flip: bool) -> list[float]:
    """Return the balanced accuracy of the classifier of each variant on the test images of a fold."""
    extractor = load_extractor(FeatureConfig())  # for images that the fold has no features of: there are none
    train, test, classes = fold.train, fold.test, fold.train.num_classes
    views = [train.images, train.images[..., ::-1]] if flip else [train.images]
    x = torch.stack([torch.from_numpy(features_of(view, extractor, fold.features, CPU)) for view in views])
    seen = torch.from_numpy(features_of(test.images, extractor, fold.features, CPU))
    found = []
    for variant in VARIANTS.values():
        seed = derive_seed(0, "differences", *fold.numbers)
        learnt = training_set(x, torch.from_numpy(train.labels), classes, variant, seed)
        head = fit_linear_head(*learnt, FeatureConfig().C).requires_grad_(False)
        found.append(float(balanced_accuracy_score(test.labels, head(seen).argmax(1).numpy())))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", action="append", required=True, metavar="NAME=FILE", dest="sets")
    parser.add_argument("--setting", default="100:5", metavar="LARGE:SMALL")
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument("--flip", action="store_true", help="the classes look the same when mirrored")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    large, small = map(int, options.setting.split(":"))
    for name, source in (pair.split("=", 1) for pair in options.sets):
        pipeline = parse(
            Pipeline,
            {
                "data": {"source": source, "largest_size": 32},
                "protocol": {"kind": "imbalance", "large": large, "small": small},
                "evaluate": {"arms": ["features"], "horizontal_flip": options.flip},
            },
            "the benchmark",
        )
        drawn = make_protocol(load(pipeline.data), pipeline.data, pipeline.protocol, options.repeats)
        folds = with_features(drawn.folds, pipeline.evaluate.arms, pipeline.evaluate, Runtime(jobs=options.jobs))
        assert folds is not None
        measured = 100 * np.array([accuracies(fold, options.flip) for fold in folds])  # repeats x variants
        print(f"{name} {options.setting}, {options.repeats} repeats")
        print("| variant | balanced accuracy | gain (95 % interval) | wins |")
        print("|---|---|---|---|")
        for variant, values in zip(VARIANTS, measured.T, strict=True):
            gains = values - measured[:, 0]
            low, high = corrected_t_interval(gains, drawn.design.correlation[None])
            gain = f"{gains.mean():+.1f} ({low:+.1f} to {high:+.1f}) | {(gains > 0).sum()}"
            print(f"| {variant} | {values.mean():.1f} | {gain} |", flush=True)


if __name__ == "__main__":
    main()
