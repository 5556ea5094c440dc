"""Compare generators trained in bfloat16 with ones trained in float32, at equal steps.

    python benchmarks/precision_quality.py --source fashion.npz --out DIR --kinds cgan anchored --seeds 0 1 2 3 4

A seed draws the images for the generators, 20 of each class, and 200 unseen ones of each class to compare with. The
figures are those of `generator_metrics.py`. Every result is a line of DIR/metrics.jsonl, so an interrupted measurement
is continued; give two processes different DIRs. At the end the means, and the mean differences of equal seeds with
their 95 % t intervals, are printed. It takes a processor with instructions for bfloat16.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from generator_metrics import COMPARED, METRICS, measure_generator, measure_missing

from augment.dataset.images import LabelledImages, split_per_class, subset_per_class
from augment.dataset.sources import read_source
from augment.generators.base import TrainingData
from augment.generators.registry import GENERATORS
from pipelines.results.statistics import corrected_t_interval

PER_CLASS = 20  # images
DTYPES = ("float32", "bfloat16")


def measure(source: LabelledImages, out: Path, *, kind: str, dtype: str, seed: int) -> dict[str, float]:
    """Return the metrics of one generator, and write its picture."""
    train, rest = split_per_class(source, 0.5, seed)
    train, test = subset_per_class(train, PER_CLASS, seed), subset_per_class(rest, COMPARED, 0)
    config = GENERATORS[kind].config.model_validate({"precision": dtype, "seed": seed})
    return measure_generator(config, TrainingData(train), test, out / f"{kind}-{dtype}-{seed}.png")


def table(rows: list[dict[str, Any]], kind: str) -> str:
    """Return a Markdown table of the rows of one kind: the mean of each figure, and bfloat16 minus float32."""
    lines = [f"| {kind} | float32 | bfloat16 | difference (95 % interval) |", "|---|---|---|---|"]
    by_dtype = [{r["seed"]: r for r in rows if (r["kind"], r["dtype"]) == (kind, dtype)} for dtype in DTYPES]
    seeds = sorted(by_dtype[0].keys() & by_dtype[1].keys())
    for figure in (*METRICS, "gan_train_accuracy"):
        single, half = (np.array([of[seed][figure] for seed in seeds]) for of in by_dtype)
        low, high = corrected_t_interval(half - single)
        difference = f"{(half - single).mean():+.4f} ({low:+.4f} to {high:+.4f})"
        lines.append(f"| {figure} | {single.mean():.4f} | {half.mean():.4f} | {difference} |")
    return "\n".join([*lines, f"{len(seeds)} seeds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", choices=list(GENERATORS), default=["cgan", "anchored"])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    source = read_source(options.source, largest=32).train
    keys = [
        {"kind": kind, "dtype": dtype, "seed": seed}
        for seed in options.seeds
        for kind in options.kinds
        for dtype in DTYPES
    ]
    rows = measure_missing(options.out / "metrics.jsonl", keys, partial(measure, source, options.out))
    print("\n\n".join(table(rows, kind) for kind in options.kinds))


if __name__ == "__main__":
    main()
