"""Measure images per second of `augment generate`, including the writing of PNG files.

python benchmarks/generate_speed.py RUN
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from augment.generators.generated_folder import generate_folder
from augment.generators.registry import load_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a folder that augment fit has finished")
    parser.add_argument("--per-class", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    model = load_model(options.run)
    rates, counts = [], dict.fromkeys(model.metadata.classes, options.per_class)
    for repeat in range(options.repeats + 1):  # the first one warms up
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            generate_folder(model, counts, Path(folder) / "images", "png", seed=repeat)
            rates.append(sum(counts.values()) / (time.perf_counter() - start))
    rates = rates[1:]
    print(f"{sum(counts.values())} images, n = {len(rates)}, {os.cpu_count()} cores")
    print(f"images per second: median {statistics.median(rates):.0f}, {min(rates):.0f} to {max(rates):.0f}")


if __name__ == "__main__":
    main()
