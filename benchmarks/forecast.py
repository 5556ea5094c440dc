"""Compare the forecast of what twice as many images would give with what they gave.

    python benchmarks/forecast.py --out DIR --set fashion=fashion.npz --set cifar10=cifar10.npz --size 10 --size 20

For each set and each number n of images of a class, classifiers are trained on n / 2 and n images, and on 2n. In
every repeat the images are drawn anew; those of 2n images are others than those of n. DIR holds an evaluation for each,
with its records: an interrupted measurement is continued.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from augment.runtime import Runtime
from pipelines.config.arm_section import ARMS
from pipelines.config.reading import parse
from pipelines.config.sections import Pipeline
from pipelines.evaluation import ReportContext, evaluate_folds
from pipelines.experiment.loading import load
from pipelines.experiment.protocols import make_protocol


def measure(source: Path, size: int, folder: Path, options: argparse.Namespace) -> str:
    """Return a row of the table, in points."""
    tree = {
        "data": {"source": str(source), "largest_size": 32},
        "protocol": {"kind": "subsample", "sizes": [size, 2 * size]},
        "evaluate": {
            "arms": [{**ARMS[options.arm], "name": options.arm, "forecast": True}],
            "repeats": options.repeats,
            "horizontal_flip": options.flip,
            "classifier": {"steps": options.steps},
        },
    }
    pipeline = parse(Pipeline, tree, "the benchmark")
    loaded = load(pipeline.data)
    protocol = make_protocol(loaded, pipeline.data, pipeline.protocol, options.repeats)
    context = ReportContext(loaded.name, protocol.design)
    results = evaluate_folds(protocol.folds, pipeline.evaluate, folder, context, Runtime(jobs=options.jobs))
    assert results is not None
    (forecast,) = results.forecast
    half, whole = 100 * forecast.at_half, 100 * forecast.at_all
    low, high = (100 * end for end in forecast.at_double_ci95)
    double = 100 * results.learning_curve[1].arms[options.arm][forecast.metric].mean
    return (
        f"| {half:.1f} | {whole:.1f} | {100 * forecast.at_double:.1f} ({low:.1f} to {high:.1f}) "
        f"| {double:.1f} | {double - 100 * forecast.at_double:+.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder for all results")
    parser.add_argument("--set", action="append", required=True, metavar="NAME=FILE", dest="sets")
    parser.add_argument("--size", action="append", type=int, required=True, metavar="N", dest="sizes")
    parser.add_argument("--arm", default="classical", help="the arm: classical, or features")
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--steps", type=int, default=600, help="of each classifier")
    parser.add_argument("--flip", action="store_true", help="the classes look the same when mirrored")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    print("| set, n | n / 2 | n | forecast of 2n (95 % interval) | 2n | difference |")
    print("|---|---|---|---|---|---|")
    for name, path in (pair.split("=", 1) for pair in options.sets):
        for size in options.sizes:
            row = measure(Path(path), size, options.out / f"{name}-{size}-{options.arm}", options)
            print(f"| {name} {size} {row}", flush=True)


if __name__ == "__main__":
    main()
