"""How often each interval covers the truth and each test rejects, in simulated experiments whose truth is known.

    python benchmarks/statistics_simulation.py --experiments 2000

Most worlds are a probit model of correctness: an arm recognises an image if a sum of normal effects is positive, those
of the image, of the image for this arm, of the repeat for both arms, of the repeat for this arm, and of chance. So the
truth is known exactly, for one fixed set of test images as for all images. A repeat trains both arms again.

- no difference: a fixed test set, the arms exchangeable. Whatever rejects is wrong.
- 2 points better: a fixed test set, each image with a gain of its own. The truth is the gain on this set.
- a tenth collapses: no difference, but in one repeat of ten one of the arms, either of them, fails.
- subsets of a pool: training images have normal influences on the gain, a repeat has the mean of 50 drawn from a pool
  of 200, no difference over pools. "and seeds" adds noise of its own to each repeat, with the same variance.
- other images: no difference over all images, but on the test images drawn, where each has a gain of its own: the
  spread of these gains is small, or large.

The table has a row for each world and method with a column for each number of repeats: coverage of 95 % intervals,
share of p < 0.05 (of intervals without 0, where the method has no p), mean half width in points. With 2,000
experiments the standard error of a coverage of 0.95 is 0.005. Not in the package: the pigeonhole bootstrap as it was
published, with Hesterberg's expanded percentiles, beside `two_way_interval`, which is made of the same draws.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.stats import norm, t

from pipelines.results.statistics import (
    FEWEST_BCA,
    bca_interval,
    corrected_t_interval,
    corrected_t_p,
    paired_t_interval,
    sign_flip_p,
    two_way_interval,
)

REPEATS = (6, 10, 20)
IMAGES = 500  # of a test set
IMAGE, REPEAT, ARM_REPEAT = 1.5, 0.1, 0.1  # standard deviations of the effects, in those of chance
LEVEL = 1.2  # of the probit model: an accuracy of 0.74
POOL, SUBSET, INFLUENCE = 200, 50, 0.2


class Experiment(NamedTuple):
    """What one simulated experiment measured."""

    gains: np.ndarray  # repeats
    table: np.ndarray  # repeats x images, -1, 0 or 1; empty if there are no images
    truth: float


def probit(
    rng: np.random.Generator, repeats: int, *, points: float = 0.0, of_image: float, fixed: bool, collapse: float = 0.0
) -> Experiment:
    """Two arms, the second `points` better over all images; `of_image` is the spread of the gains of single images."""
    spread = math.sqrt(1 + IMAGE**2 + REPEAT**2 + ARM_REPEAT**2 + of_image**2)
    accuracy = norm.cdf(LEVEL / spread)
    level = np.array([LEVEL, spread * norm.ppf(accuracy + points / 100)])[:, None, None]
    known = level + rng.normal(0, IMAGE, IMAGES) + rng.normal(0, of_image, (2, 1, IMAGES))  # 2 x 1 x images
    trained = rng.normal(0, REPEAT, (repeats, 1)) + rng.normal(0, ARM_REPEAT, (2, repeats, 1))
    trained[rng.integers(0, 2, repeats), np.arange(repeats), 0] -= 1.5 * (rng.random(repeats) < collapse)
    right = known + trained + rng.standard_normal((2, repeats, IMAGES)) > 0
    table = right[1].astype(np.float64) - right[0]
    on_these = norm.cdf(known / math.sqrt(1 + REPEAT**2 + ARM_REPEAT**2)).mean(2)[:, 0]
    return Experiment(table.mean(1), table, float(on_these[1] - on_these[0]) if fixed else points / 100)


def subsets(rng: np.random.Generator, repeats: int, *, seeds: bool) -> Experiment:
    """No difference over pools; each repeat draws its subset of this one."""
    pool = rng.normal(0, INFLUENCE, POOL)
    gains = np.array([rng.choice(pool, SUBSET, replace=False).mean() for _ in range(repeats)])
    noise = rng.normal(0, INFLUENCE / math.sqrt(SUBSET), repeats)
    return Experiment(gains + seeds * noise, np.empty((0, 0)), 0.0)


def pigeonhole(e: Experiment, draws: int = 2000) -> tuple[float, float]:
    """Expanded percentiles of the mean over resampled repeats and images."""
    repeats, images = e.table.shape
    rng = np.random.default_rng(0)
    of_repeats = rng.multinomial(repeats, np.full(repeats, 1 / repeats), draws) / repeats
    drawn = rng.integers(0, images, (draws, images))
    of_images = np.stack([np.bincount(row, minlength=images) for row in drawn]) / images
    means = ((of_images @ e.table.T) * of_repeats).sum(1)
    tail = norm.sf(math.sqrt(repeats / (repeats - 1)) * t.ppf(0.975, repeats - 1))
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


World = Callable[[np.random.Generator, int], Experiment]
WORLDS: dict[str, World] = {
    "no difference": lambda rng, n: probit(rng, n, of_image=0, fixed=True),
    "2 points better": lambda rng, n: probit(rng, n, points=2, of_image=0.3, fixed=True),
    "a tenth collapses": lambda rng, n: probit(rng, n, of_image=0, fixed=True, collapse=0.1),
    "subsets of a pool": lambda rng, n: subsets(rng, n, seeds=False),
    "subsets and seeds": lambda rng, n: subsets(rng, n, seeds=True),
    "other images, small": lambda rng, n: probit(rng, n, of_image=0.3, fixed=False),
    "other images, large": lambda rng, n: probit(rng, n, of_image=1.0, fixed=False),
}
Method = Callable[[Experiment], tuple[tuple[float, float] | None, float | None]]  # an interval, a p or both
METHODS: dict[str, Method] = {
    "paired t": lambda e: (paired_t_interval(e.gains), None),
    "sign flips": lambda e: (None, sign_flip_p(e.gains, seed=0)),
    "BCa": lambda e: (bca_interval(e.gains, seed=0), None),
    "corrected t": lambda e: (corrected_t_interval(e.gains, SUBSET / POOL), corrected_t_p(e.gains, SUBSET / POOL)),
    "two-way": lambda e: (two_way_interval(e.table, seed=0), None),
    "pigeonhole": lambda e: (pigeonhole(e), None),
}


def fits(method: str, world: str, repeats: int) -> bool:
    """Whether a method is meant for a world, and for so few repeats."""
    if method == "corrected t":
        return world.startswith("subsets")
    if method in ("two-way", "pigeonhole"):
        return world.startswith("other images")
    return method != "BCa" or repeats >= FEWEST_BCA


def simulate(world: str, repeats: int, experiments: int) -> dict[str, tuple[float, float, float]]:
    """Of each method: coverage, share of rejections and mean half width; not a number where it has none."""
    rng = np.random.default_rng([repeats, list(WORLDS).index(world)])
    found: dict[str, list[tuple[float, float, float]]] = {m: [] for m in METHODS if fits(m, world, repeats)}
    for _ in range(experiments):
        e = WORLDS[world](rng, repeats)
        for method, outcomes in found.items():
            interval, p = METHODS[method](e)
            low, high = interval or (math.nan, math.nan)
            covers = float(low <= e.truth <= high) if interval else math.nan
            rejects = p < 0.05 if p is not None else not low <= 0 <= high
            outcomes.append((covers, float(rejects), (high - low) / 2))
    return {method: tuple(np.mean(outcomes, 0)) for method, outcomes in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=2000)
    options = parser.parse_args()
    start = time.perf_counter()
    blocks = [f"{name} {n}" for name in ("covers", "rejects", "±") for n in REPEATS]
    print("| world | method | " + " | ".join(blocks) + " |")
    print("|---|---|" + "--:|" * len(blocks))
    for world in WORLDS:
        results = [simulate(world, n, options.experiments) for n in REPEATS]
        for method in results[-1]:
            of_n = [r.get(method, (math.nan,) * 3) for r in results]
            cells = [f"{x:.3f}" for k in (0, 1) for x in (o[k] for o in of_n)] + [f"{100 * o[2]:.2f}" for o in of_n]
            print(f"| {world} | {method} | " + " | ".join("" if c == "nan" else c for c in cells) + " |", flush=True)
    print(f"{options.experiments} experiments each, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
