"""What classical augmentation adds to a training step of the classifier: python benchmarks/classifier_step.py

One thread, the step as `fit` takes it, timed from one optimiser step to the next. Each round trains for a few steps on
the plain images and then on a bank of their views, so that a drift of the machine cancels in the ratio of the pair. The
same rounds time the policy on the images, for what it would cost to augment inside the step.
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
from classifiers.batches import Pool
from classifiers.training import FitConfig, fit

WARM_UP = 3  # rounds


def step_ms(views: np.ndarray, data: LabelledImages, config: FitConfig) -> float:
    """The median time from one optimiser step to the next in one training on `views`."""
    stamps: list[float] = []
    hook = register_optimizer_step_post_hook(lambda *_: stamps.append(time.perf_counter()))
    pool = Pool(torch.from_numpy(views), torch.from_numpy(data.labels))
    fit([pool], data.num_classes, config, seed=0, device=torch.device("cpu"))
    hook.remove()
    return 1000 * float(np.median(np.diff(stamps)))


def batch_ms(data: LabelledImages, policy: str, batch_size: int) -> float:
    """The time of one view of each of `batch_size` images."""
    began = time.perf_counter()
    bank_of_views(data, policy, views=1, horizontal_flip=True, seed=0)
    return 1000 * (time.perf_counter() - began) * batch_size / len(data)


def told(values: np.ndarray, digits: int) -> str:
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    return f"{median:.{digits}f} (quartiles {low:.{digits}f} to {high:.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="bundled:fashion", help="a source that `augment` reads")
    parser.add_argument("--per-class", type=int, default=100)
    parser.add_argument("--policy", choices=POLICIES, default="standard")
    parser.add_argument("--views", type=int, default=VIEWS)
    parser.add_argument("--rounds", type=int, default=60, help="after the warm-up")
    parser.add_argument("--steps", type=int, default=8, help="of each training")
    options = parser.parse_args()
    torch.set_num_threads(1)

    data = subset_per_class(read_source(options.data).train, options.per_class, seed=0)
    config = FitConfig(steps=options.steps)
    began = time.perf_counter()
    bank = bank_of_views(data, options.policy, views=options.views, horizontal_flip=True, seed=0)
    making = time.perf_counter() - began
    times = np.empty((WARM_UP + options.rounds, 3))  # ms: plain images, bank, one view of each image of a batch
    for r, row in enumerate(times):
        for arm in (0, 1) if r % 2 else (1, 0):  # each goes first as often
            row[arm] = step_ms((data.images[None], bank)[arm], data, config)
        row[2] = batch_ms(data, options.policy, config.batch_size)
    plain, with_bank, inside = times[WARM_UP:].T
    print(f"{config.network}, batch {config.batch_size}, {data.size} px, {len(data)} images, policy {options.policy}")
    print(f"{platform.machine()}, {os.cpu_count()} cores, 1 thread, n = {options.rounds} pairs; {versions()}")
    print(f"plain images:          {told(plain, 1)} ms a step")
    print(f"bank of {options.views} views:      {told(with_bank, 1)} ms a step")
    print(f"bank over plain:       {told(with_bank / plain, 3)}, of pairs")
    print(f"augmenting one batch:  {told(inside, 1)} ms")
    print(f"inside the step:       {told((plain + inside) / plain, 3)} of the plain step, of pairs")
    print(f"making the bank:       {making:.1f} s, {1000 * making / bank[:, :, 0, 0, 0].size:.3f} ms an image and view")


if __name__ == "__main__":
    main()
