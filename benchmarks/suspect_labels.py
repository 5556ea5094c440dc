"""Measure how many wrong labels `augment train` finds, and how many of those that it names are wrong.

    python benchmarks/suspect_labels.py --out DIR --set fashion=fashion.npz --per-class 50 --wrong 0.05

In a set of `--per-class` images of each class, the fraction `--wrong` gets the label of another class at random. A
model is trained on them, without test images, and its suspect-labels.csv is compared with what was changed.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np

from augment.dataset.images import subset_per_class
from augment.dataset.sources import read_source
from augment.runtime import Runtime
from pipelines.config.sections import DataConfig
from pipelines.model.recipe import choose_recipe
from pipelines.model.suspect_labels import SUSPECTS
from pipelines.model.training import train


def measure(name: str, source: Path, options: argparse.Namespace) -> str:
    """Return the row of a set."""
    data = subset_per_class(read_source(source, largest=32).train, options.per_class, seed=0)
    rng = np.random.default_rng(1)
    changed = rng.permutation(len(data))[: round(options.wrong * len(data))]
    labels = data.labels.copy()
    labels[changed] = (labels[changed] + rng.integers(1, data.num_classes, len(changed))) % data.num_classes
    folder = options.out / name
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {"train_images": data.images.transpose(0, 2, 3, 1), "train_labels": labels}
    np.savez(folder / "wrong.npz", **arrays)
    recipe = choose_recipe(None, horizontal_flip=options.flip or None)
    config = DataConfig(source=str(folder / "wrong.npz"))
    train(config, recipe, folder / "model", Runtime(jobs=options.jobs), members=1)
    with (folder / "model" / SUSPECTS).open(newline="", encoding="utf-8") as file:
        named = {int(row["path"].rsplit(" ", 1)[1]) for row in csv.DictReader(file)}
    right = len(named & set(changed.tolist()))
    return f"| {name} | {len(data)} | {len(changed)} | {len(named)} | {right} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder for all results")
    parser.add_argument("--set", action="append", required=True, metavar="NAME=FILE", dest="sets")
    parser.add_argument("--per-class", type=int, default=50)
    parser.add_argument("--wrong", type=float, default=0.05, help="fraction of the labels that are changed")
    parser.add_argument("--flip", action="store_true", help="the classes look the same when mirrored")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    print("| set | images | wrong labels | named | of these wrong |\n|---|---|---|---|---|")
    for name, path in (pair.split("=", 1) for pair in options.sets):
        print(measure(name, Path(path), options), flush=True)


if __name__ == "__main__":
    main()
