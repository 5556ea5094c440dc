"""Measure the gain of the small classifier from classical augmentation: the arms `none` and `classical`, in pairs.

    python benchmarks/classical_baseline.py --data fashion.npz --per-class 20 --subsets 10
    python benchmarks/classical_baseline.py --data fashion.npz --per-class 200 --config runs/tuned/best.yaml

Both arms use the same training recipe. Repeat r draws the training images from the training split with seed r and
trains both arms with seed r. All test images of the file are used. The intervals are Student's t intervals over the
repeats, corrected for the overlap of the subsets; they do not include the variation between test sets.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages, subset_per_class
from augment.dataset.policies import bank_of_views
from augment.dataset.sources import read_source
from classifiers.metrics import score
from classifiers.pools import Pool
from classifiers.training import ClassifierConfig, fit, predict
from pipelines.config.reading import load_evaluate_config
from pipelines.results.statistics import corrected_t_interval


def trial(
    train: LabelledImages, views: NDArray[np.uint8], test: LabelledImages, config: ClassifierConfig, seed: int
) -> tuple[float, float]:
    """Train once; return the accuracy on `test` and the seconds of training."""
    pool = Pool(torch.from_numpy(views), torch.from_numpy(train.labels))
    start = time.perf_counter()
    model = fit([pool], train.num_classes, config, seed=seed, device=torch.device("cpu"))
    seconds = time.perf_counter() - start
    return score(predict(model, test.images), test.labels, test.num_classes)["accuracy"], seconds


def print_accuracies(arms: list[str], accuracies: NDArray[np.float64], correlation: float) -> None:
    """Print the mean of each arm and, with two arms, the gain of the second. accuracies: subsets x arms."""
    for name, values in zip(arms, accuracies.T, strict=True):
        low, high = corrected_t_interval(values, correlation)
        print(
            f"{name:10s} mean accuracy {values.mean():.4f} (95 % corrected t interval {low:.4f} to {high:.4f}), "
            f"std {values.std(ddof=1):.4f}, n = {len(values)}"
        )
    if len(arms) == 2:
        gain = accuracies[:, 1] - accuracies[:, 0]
        low, high = corrected_t_interval(gain, correlation)
        print(f"classical - none: {gain.mean():+.4f}, 95 % corrected t interval [{low:+.4f}, {high:+.4f}]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="an npz with train_*, test_* and class_names")
    parser.add_argument("--per-class", type=int, default=20)
    parser.add_argument("--subsets", type=int, default=10)
    parser.add_argument("--config", type=Path, help="fields of EvaluateConfig, as `augment tune` writes them")
    parser.add_argument("--steps", type=int, help="steps of each classifier, instead of those in the file")
    parser.add_argument("--classical-only", action="store_true", help="leave out the arm `none`")
    options = parser.parse_args()
    flip = True if options.config is None else None  # None: the value in the file
    config = load_evaluate_config(
        options.config, arms=None, has_synthetic=False, steps=options.steps, horizontal_flip=flip
    )
    torch.set_num_threads(1)

    source = read_source(options.data)
    pool, test = source.train, source.splits["test"]
    accuracies, training_seconds, bank_seconds = [], [], []
    for r in range(options.subsets):
        train = subset_per_class(pool, options.per_class, seed=r)
        start = time.perf_counter()
        bank = bank_of_views(train, config.policy, views=config.views, horizontal_flip=config.horizontal_flip, seed=r)
        bank_seconds.append(time.perf_counter() - start)
        images = {"none": train.images[None], "classical": bank}
        if options.classical_only:
            del images["none"]
        arms = [trial(train, views, test, config.classifier, seed=r) for views in images.values()]
        accuracies.append([accuracy for accuracy, _ in arms])
        training_seconds.append([seconds for _, seconds in arms])
        print(f"subset {r}: {dict(zip(images, accuracies[-1], strict=True))}", flush=True)

    print_accuracies(list(images), np.array(accuracies), options.per_class * pool.num_classes / len(pool))
    print(f"{np.mean(training_seconds):.1f} s per training on one thread")
    print(f"{1e3 * np.mean(bank_seconds) / (config.views * len(train)):.3f} ms per image and view")
    print(config.policy, config.classifier)


if __name__ == "__main__":
    main()
