"""Measure what unlabelled images give a classifier of few labelled ones.

    python benchmarks/unlabelled.py --out DIR --set fashion=fashion.npz --setting 20 --unlabelled 5000

Of the training images of a set, `--unlabelled` random ones lose their labels. From the others, every repeat draws its
labelled images anew: a number of each class, or LARGE:SMALL, many of half of the classes and few of the others. An arm
of `--arms` is compared with the same arm that learns from the unlabelled images too. DIR holds the images and a run for
each set, setting and choice of arms; an interrupted measurement is continued.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from augment.dataset.sources import read_source
from pipelines.config.arm_section import ARMS
from pipelines.results.document import Results, read_results


def split(source: Path, count: int, folder: Path) -> tuple[Path, Path]:
    """Write the labelled and the unlabelled images of a set, and return their files."""
    read = read_source(source, largest=32)
    assert read.test is not None
    order = np.random.default_rng(0).permutation(len(read.train))
    labelled, unlabelled = read.train.take(order[count:]), read.train.take(order[:count])
    files = folder / "labelled.npz", folder / "unlabelled.npz"
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in zip(files, (labelled, unlabelled), strict=True):
        arrays: dict[str, Any] = {"train_images": _channels_last(data.images), "train_labels": data.labels}
        if data is labelled:
            arrays |= {"test_images": _channels_last(read.test.images), "test_labels": read.test.labels}
        np.savez(file, **arrays, class_names=np.array(data.class_names))
    return files


def _channels_last(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))


def measure(source: Path, folder: Path, options: argparse.Namespace) -> list[str]:
    """Return the row of each arm on a set."""
    labelled, unlabelled = split(source, options.unlabelled, folder)
    pairs = {name: {"name": f"{name}+unlabelled", **ARMS[name], "unlabelled": options.share} for name in options.arms}
    large, _, small = options.setting.partition(":")
    definition = {
        "description": f"{options.setting} labelled images, {options.unlabelled} unlabelled ones",
        "data": {"source": str(labelled), "unlabelled": str(unlabelled)},
        "protocol": {"kind": "imbalance", "large": int(large), "small": int(small)}
        if small
        else {"kind": "subsample", "sizes": [int(large)]},
        "generator": {"kind": "resample"},
        "generate": {"per_class": 2},
        "evaluate": {
            "arms": [*pairs, *pairs.values()],
            "repeats": options.repeats,
            "horizontal_flip": options.flip,
            "classifier": {"steps": options.steps},
        },
    }
    file = folder / "pipeline.yaml"
    file.write_text(yaml.safe_dump(definition, sort_keys=False))
    command = [sys.executable, "-m", "pipelines", "run", str(file), "--out", str(folder / "run")]
    if status := subprocess.run([*command, "--jobs", str(options.jobs)]).returncode:
        sys.exit(status)
    results = read_results(folder / "run" / "evaluation" / "results.json")
    return [_row(results, name) for name in pairs]


def _row(results: Results, name: str) -> str:
    gain = next(c for c in results.comparisons if (c.arm, c.baseline) == (f"{name}+unlabelled", name))
    means = [results.arms[arm][gain.metric].mean for arm in (gain.baseline, gain.arm)]
    low, high = gain.ci95
    return (
        f"{name} | {means[0]:.3f} | {means[1]:.3f} | {100 * gain.mean_gain:+.1f} ({100 * low:+.1f} to "
        f"{100 * high:+.1f}) | {gain.wins} of {gain.repeats} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder for all results")
    parser.add_argument("--set", action="append", required=True, metavar="NAME=FILE", dest="sets")
    parser.add_argument("--setting", default="20", metavar="LARGE:SMALL or N")
    parser.add_argument("--arms", nargs="+", default=["classical"], choices=["classical", "features", "finetune"])
    parser.add_argument("--unlabelled", type=int, default=5000)
    parser.add_argument("--share", type=float, default=0.5, help="of unlabelled images in each batch")
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument("--steps", type=int, default=600, help="of each classifier")
    parser.add_argument("--flip", action="store_true", help="the classes look the same when mirrored")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    rows = []
    for name, path in (pair.split("=", 1) for pair in options.sets):
        arms = "-".join(options.arms)
        folder = options.out / f"{name}-{options.setting.replace(':', '-')}-{options.unlabelled}-{arms}"
        rows += [f"| {name} {options.setting} | {row}" for row in measure(Path(path), folder, options)]
    print("| set | arm | alone | with unlabelled images | gain (95 % interval) | wins |\n|---|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
