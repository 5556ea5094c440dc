"""What classical augmentation is worth to the small classifier: `none` against `classical`, the same recipe, in pairs.

    python benchmarks/classical_baseline.py --data fashion.npz --per-class 20 --subsets 10

Repeat r draws the training images from the training split with seed r and trains both arms with seed r; the test
images are all those of the file. The interval is Student's t over the repeats: they share a pool and a test set, so
it leaves out what another pool or test set would change.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from augment.classical import POLICIES, VIEWS, bank_of_views
from augment.images import LabelledImages, subset_per_class
from augment.sources import read_source
from classifiers.batches import Pool
from classifiers.metrics import score
from classifiers.training import FitConfig, fit, predict
from pipelines.statistics import paired_t_interval


def trial(
    train: LabelledImages, views: np.ndarray, test: LabelledImages, config: FitConfig, seed: int
) -> tuple[float, float]:
    """Accuracy on `test`, and the seconds of training."""
    pool = Pool(torch.from_numpy(views), torch.from_numpy(train.labels))
    start = time.perf_counter()
    model = fit([pool], train.num_classes, config, seed=seed, device=torch.device("cpu"))
    seconds = time.perf_counter() - start
    return score(predict(model, torch.from_numpy(test.images)), test.labels, test.num_classes)["accuracy"], seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="an npz with train_*, test_* and class_names")
    parser.add_argument("--per-class", type=int, default=20)
    parser.add_argument("--subsets", type=int, default=10)
    parser.add_argument("--policy", choices=POLICIES, default="standard")
    parser.add_argument("--views", type=int, default=VIEWS)
    parser.add_argument("--no-flip", action="store_true", help="where mirrored images mean something else")
    for name in ("steps", "lr", "mixup", "cutmix"):
        default = getattr(FitConfig(), name)
        parser.add_argument(f"--{name}", type=type(default), default=default, help="of both arms, as in FitConfig")
    options = parser.parse_args()
    config = FitConfig(steps=options.steps, lr=options.lr, mixup=options.mixup, cutmix=options.cutmix)
    torch.set_num_threads(1)

    source = read_source(options.data)
    pool, test = source.train, source.splits["test"]
    accuracies, training, making = [], [], []
    for r in range(options.subsets):
        train = subset_per_class(pool, options.per_class, seed=r)
        start = time.perf_counter()
        bank = bank_of_views(train, options.policy, views=options.views, horizontal_flip=not options.no_flip, seed=r)
        making.append(time.perf_counter() - start)
        arms = [trial(train, views, test, config, seed=r) for views in (train.images[None], bank)]
        accuracies.append([accuracy for accuracy, _ in arms])
        training.append([seconds for _, seconds in arms])
        print(f"subset {r}: none {accuracies[-1][0]:.4f}, classical {accuracies[-1][1]:.4f}", flush=True)

    a = np.array(accuracies)  # subsets x (none, classical)
    low, high = paired_t_interval(a[:, 1] - a[:, 0])
    for name, values in zip(("none", "classical"), a.T, strict=True):
        print(f"{name:10s} mean accuracy {values.mean():.4f}, std {values.std(ddof=1):.4f}, n = {len(values)}")
    print(f"classical - none: {(a[:, 1] - a[:, 0]).mean():+.4f}, 95 % paired t interval [{low:+.4f}, {high:+.4f}]")
    print(f"{np.mean(training):.1f} s a training on one thread")
    print(f"{1e3 * np.mean(making) / (options.views * len(train)):.3f} ms an image and view")
    print(config)


if __name__ == "__main__":
    main()
