"""Images a second of `augment generate`, sampling and PNG writing together: python benchmarks/generate_speed.py RUN"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from augment.sampling import generate, load_model
from augment.synthesis import write_images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a folder that augment fit has finished")
    parser.add_argument("--per-class", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    model = load_model(options.run)
    rates, shares = [], []
    for repeat in range(options.repeats + 1):  # the first one warms up
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            made = generate(model, dict.fromkeys(model.class_names, options.per_class), seed=repeat)
            sampled = time.perf_counter()
            write_images(made, Path(folder) / "images", "png")
            ended = time.perf_counter()
        rates.append(len(made.data) / (ended - began))
        shares.append((sampled - began) / (ended - began))
    rates, shares = rates[1:], shares[1:]
    size, cores = model.shape.image_size, os.cpu_count()
    print(f"{len(made.data)} images of {size} x {size} px, n = {len(rates)}, {cores} cores")
    print(f"images a second: median {statistics.median(rates):.0f}, {min(rates):.0f} to {max(rates):.0f}")
    print(f"share of the time that is sampling: {statistics.median(shares):.0%}")


if __name__ == "__main__":
    main()
