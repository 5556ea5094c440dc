"""Measure how much time classical augmentation adds to a training step of the classifier.

    python benchmarks/classifier_step.py

The steps of `fit` are timed on one thread, from one optimiser step to the next. Each round trains for a few steps on
the plain images and for a few on a bank of their views, so that a drift of the machine cancels in the ratio of the
pair. The same rounds also time the augmentation itself, to estimate the cost of augmenting inside the step.
"""

from __future__ import annotations

import argparse
import os
import platform
import time

import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from augment.dataset.images import LabelledImages, subset_per_class
from augment.dataset.policies import POLICIES, VIEWS, bank_of_views
from augment.dataset.sources import read_source
from augment.versions import versions
from classifiers.pools import Pool
from classifiers.training import ClassifierConfig, fit

WARM_UP = 3  # rounds


def step_ms(views: np.ndarray, data: LabelledImages, config: ClassifierConfig) -> float:
    """Train once on `views`; return the median time from one optimiser step to the next."""
    times: list[float] = []
    hook = register_optimizer_step_post_hook(lambda *_: times.append(time.perf_counter()))
    pool = Pool(torch.from_numpy(views), torch.from_numpy(data.labels))
    fit([pool], data.num_classes, config, seed=0, device=torch.device("cpu"))
    hook.remove()
    return 1000 * float(np.median(np.diff(times)))


def batch_ms(data: LabelledImages, policy: str, batch_size: int) -> float:
    """Return the time that it takes to make one view of each of `batch_size` images."""
    start = time.perf_counter()
    bank_of_views(data, policy, views=1, horizontal_flip=True, seed=0)
    return 1000 * (time.perf_counter() - start) * batch_size / len(data)


def format_quartiles(values: np.ndarray, digits: int) -> str:
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    return f"{median:.{digits}f} (quartiles {low:.{digits}f} to {high:.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="bundled:fashion", help="any source that `augment` can read")
    parser.add_argument("--per-class", type=int, default=100)
    parser.add_argument("--policy", choices=POLICIES, default="standard")
    parser.add_argument("--views", type=int, default=VIEWS)
    parser.add_argument("--rounds", type=int, default=60, help="rounds after the warm-up")
    parser.add_argument("--steps", type=int, default=8, help="steps of each training")
    options = parser.parse_args()
    torch.set_num_threads(1)

    data = subset_per_class(read_source(options.data).train, options.per_class, seed=0)
    config = ClassifierConfig(steps=options.steps)
    start = time.perf_counter()
    bank = bank_of_views(data, options.policy, views=options.views, horizontal_flip=True, seed=0)
    seconds = time.perf_counter() - start
    times = np.empty((WARM_UP + options.rounds, 3))  # ms: plain images, bank, one view of each image of a batch
    for r, row in enumerate(times):
        for arm in (0, 1) if r % 2 else (1, 0):  # alternate which arm is first
            row[arm] = step_ms((data.images[None], bank)[arm], data, config)
        row[2] = batch_ms(data, options.policy, config.batch_size)
    plain, with_bank, augmentation = times[WARM_UP:].T
    print(f"{config.network}, batch {config.batch_size}, {data.size} px, {len(data)} images, policy {options.policy}")
    print(f"{platform.machine()}, {os.cpu_count()} cores, 1 thread, n = {options.rounds} pairs; {versions()}")
    print(f"plain images:          {format_quartiles(plain, 1)} ms per step")
    print(f"bank of {options.views} views:      {format_quartiles(with_bank, 1)} ms per step")
    print(f"bank over plain:       {format_quartiles(with_bank / plain, 3)}, ratios of pairs")
    print(f"augmenting one batch:  {format_quartiles(augmentation, 1)} ms")
    print(
        f"inside the step:       {format_quartiles((plain + augmentation) / plain, 3)} times the plain step, of pairs"
    )
    ms_per_view = 1000 * seconds / bank[:, :, 0, 0, 0].size
    print(f"making the bank:       {seconds:.1f} s, {ms_per_view:.3f} ms per image and view")


if __name__ == "__main__":
    main()
