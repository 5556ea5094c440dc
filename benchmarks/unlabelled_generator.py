"""Measure what unlabelled images in D give the generators, at several shares of D's images.

    python benchmarks/unlabelled_generator.py --source fashion.npz --out DIR --seeds 0 1

Half of the training images lose their labels. From the others, a seed draws the images for the generator, by default 20
of each class and with `--setting LARGE:SMALL` many of every second class and few of the others, and 200 unseen ones of
each class to compare with. The figures are those of the report, on the features of a classifier of the drawn images.
GAN-train is the accuracy on the unseen images of a classifier of 200 synthetic images of each class.

Every result is a line of DIR/metrics.jsonl, so an interrupted measurement is continued. A picture beside it shows 10
images of each class.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from generator_metrics import COMPARED, measure_generator, measure_missing

from augment.dataset.images import LabelledImages, concatenate, split_per_class, subset_per_class
from augment.dataset.sources import read_source
from augment.generators.base import TrainingData
from augment.generators.registry import GENERATORS

KINDS: dict[str, dict[str, Any]] = {
    "cgan": {"kind": "cgan"},
    "cgan with codes": {"kind": "cgan", "code_pull": 5.0},
    "anchored": {"kind": "anchored"},
}


def draw(data: LabelledImages, setting: str, seed: int) -> LabelledImages:
    """Draw the images of a setting, N or LARGE:SMALL."""
    large, _, small = setting.partition(":")
    drawn = subset_per_class(data, int(large), seed)
    few = subset_per_class(data, int(small or large), seed)
    even = drawn.take(np.flatnonzero(drawn.labels % 2 == 0))
    return concatenate([even, few.take(np.flatnonzero(few.labels % 2 == 1))])


def measure(source: LabelledImages, out: Path, *, kind: str, setting: str, share: float, seed: int) -> dict[str, float]:
    """Return the figures of one generator, and write its pictures."""
    labelled, unlabelled = split_per_class(source, 0.5, 0)
    train, rest = split_per_class(labelled, 0.5, seed)
    train, test = draw(train, setting, seed), subset_per_class(rest, COMPARED, 0)
    settings = KINDS[kind]
    config = GENERATORS[settings["kind"]].config.model_validate({**settings, "unlabelled": share, "seed": seed})
    picture = out / f"{kind}-{setting}-{share}-{seed}.png".replace(" ", "-").replace(":", "-")
    return measure_generator(config, TrainingData(train, unlabelled=unlabelled), test, picture)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.25, 0.5, 0.75])
    parser.add_argument("--setting", default="20", metavar="LARGE:SMALL or N")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    source = read_source(options.source, largest=32).train
    keys = [
        {"kind": kind, "setting": options.setting, "share": share, "seed": seed}
        for seed in options.seeds
        for kind in options.kinds
        for share in options.shares
    ]
    measure_missing(options.out / "metrics.jsonl", keys, partial(measure, source, options.out))


if __name__ == "__main__":
    main()
