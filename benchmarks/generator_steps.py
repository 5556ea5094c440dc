"""Time a training step of each generator, and of `anchored` with two-stage training, as ratios within one run.

    python benchmarks/generator_steps.py --source fashion.npz --per-class 20 --rounds 60

The generators have their default settings. Their steps are taken in turn, so that what slows the machine down slows all
of them. The ratios are of medians; behind them is the median of the ratios of single rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from augment.dataset.images import subset_per_class
from augment.dataset.sources import read_source
from augment.generators import anchored, cgan
from augment.generators.adversarial import step_of
from augment.generators.anchored import AnchoredConfig
from augment.generators.base import TrainingData
from augment.generators.cgan import CganConfig

Step = Callable[[bool], None]
CPU = torch.device("cpu")


def steps(data: TrainingData) -> dict[str, Step]:
    """Return a step of each generator, by its name; the first one is what the others are compared with."""
    noise, two_stage = CganConfig(), AnchoredConfig(trainer="two-stage")
    return {
        "cgan, one-stage": step_of(cgan._prepare(data, noise, CPU), data, noise),
        "anchored, one-stage": step_of(anchored._prepare(data, AnchoredConfig(), CPU), data, AnchoredConfig()),
        "anchored, two-stage": step_of(anchored._prepare(data, two_stage, CPU), data, two_stage),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--per-class", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = TrainingData(subset_per_class(read_source(options.source).train, options.per_class, seed=0))
    compared = steps(data)
    seconds: dict[str, list[float]] = {name: [] for name in compared}
    for number in range(options.rounds + 3):
        for name, step in compared.items():
            began = time.perf_counter()
            step(False)
            if number >= 3:  # the first steps warm up
                seconds[name].append(time.perf_counter() - began)
    first = next(iter(seconds))
    print(f"| generator | ms | of {first} | of single rounds |\n|---|---|---|---|")
    for name, values in seconds.items():
        median = statistics.median(values)
        ratio = median / statistics.median(seconds[first])
        single = statistics.median(a / b for a, b in zip(values, seconds[first], strict=True))
        print(f"| {name} | {1000 * median:.1f} | {ratio:.2f} | {single:.2f} |")


if __name__ == "__main__":
    main()
