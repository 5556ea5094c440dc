"""Measure which fraction of a processor's peak a one-stage step of the quickstart's networks reaches, and why.

    python benchmarks/cpu_peak.py

The peak is the rate of the fastest float32 matrix product on the same threads. FLOPs are counted for convolutions
(including the zero padding) and matrix products, forward and backward; a multiplication and an addition count as two.
`--plain` leaves out the settings of the C library's allocator that the `augment` command makes at its start.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

from pipelines.process import tune_allocator, tune_threads

WARM_UP = 3
SIDES = (512, 1024, 2048, 3072)  # of the square matrices
KINDS = {  # kind -> parts of names; an operator belongs to the first kind with a part that its name contains
    "convolution, backward": ("convolution_backward",),
    "convolution, forward": ("convolution",),
    "matrix products": ("mm", "aten::mv"),
    "normalisation": ("norm", "addcmul", "aten::mul"),  # most products are gradients of conditional batch norm
    "activations": ("relu", "tanh", "threshold", "clamp_min"),
    "optimiser": ("adam",),
    "copies, zeros": ("copy_", "fill_", "zero_", "aten::cat"),
}


def kind_of(operator: str) -> str:
    return next((kind for kind, parts in KINDS.items() if any(part in operator for part in parts)), "other operators")


def milliseconds(function: Callable[[], Any], repeats: int) -> list[float]:
    times = []
    for _ in range(WARM_UP + repeats):
        start = time.perf_counter()
        function()
        times.append(1000 * (time.perf_counter() - start))
    return times[WARM_UP:]


def matrix_product_rates() -> dict[int, float]:
    """Return GFLOP/s by the side of the matrices, for the fastest of 10 products."""
    import torch

    rates = {}
    for side in SIDES:
        a, b, out = torch.rand(side, side), torch.rand(side, side), torch.empty(side, side)
        product = partial(torch.mm, a, b, out=out)
        rates[side] = 2 * side**3 / 1e6 / min(milliseconds(product, 10))
    return rates


def gigaflops_by_kind(step: Callable[[], Any]) -> dict[str, float]:
    """Return the GFLOP of one step; torch's counter has formulas for both gradients of a convolution.

    It does not count a gradient that is not computed.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        step()
    flops: dict[str, float] = defaultdict(float)
    for operator, count in counter.get_flop_counts()["Global"].items():
        flops[kind_of(str(operator))] += count / 1e9
    return flops


def milliseconds_by_kind(step: Callable[[], Any], steps: int) -> dict[str, float]:
    """Return the time per step of each kind of operator, without the time of operators that it calls.

    The rest of the step is reported as "Python and autograd".
    """
    from torch.profiler import ProfilerActivity, profile

    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # hides a warning on a machine without a GPU driver
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiler:
        start = time.perf_counter()
        for _ in range(steps):
            step()
        total = 1000 * (time.perf_counter() - start) / steps
    times: dict[str, float] = defaultdict(float)
    for event in profiler.key_averages():
        if event.key.startswith("aten::"):
            times[kind_of(event.key)] += event.self_cpu_time_total / 1000 / steps
    return {**times, "Python and autograd": total - sum(times.values())}


def print_profile(times: dict[str, float], flops: dict[str, float], peak: float) -> None:
    total = sum(times.values())
    print(f"in a separate profile, {total:.1f} ms per step (mean):")
    for kind, ms in sorted(times.items(), key=lambda item: -item[1]):
        line = f"  {kind:22} {ms:6.1f} ms {ms / total:4.0%}"
        if kind in flops:
            rate = 1000 * flops[kind] / ms
            line += f", {flops[kind]:.2f} GFLOP, {rate:.0f} GFLOP/s, {rate / peak:.0%} of the peak"
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args()
    tune_threads()  # OpenMP reads the setting when torch is imported, so all imports of torch are inside functions
    if not options.plain:
        tune_allocator()
    import numpy as np
    import torch

    from augment.gan.step_benchmark import find_preset, set_up
    from augment.gan.steps import one_stage
    from augment.versions import versions

    torch.set_num_threads(options.threads)
    _, setup, real, y = set_up(find_preset("quickstart"), torch.device("cpu"))

    def step() -> None:
        one_stage(setup, real, y, y)

    milliseconds(step, 0)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    times = milliseconds(step, options.steps)
    faults = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults) / (options.steps + WARM_UP)
    rates = matrix_product_rates()  # after the step, because freeing large blocks makes glibc keep more memory
    peak = max(rates.values())
    low, median, high = np.quantile(times, (0.25, 0.5, 0.75))
    flops, times_by_kind = gigaflops_by_kind(step), milliseconds_by_kind(step, options.steps)
    total = sum(flops.values())
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {options.threads} thread(s), n = {options.steps}; {versions()}"
    )
    print("matrix products, GFLOP/s by side:", ", ".join(f"{side}: {rate:.0f}" for side, rate in rates.items()))
    print(f"one step: median {median:.1f} ms, quartiles {low:.1f} to {high:.1f}; {faults:.0f} minor page faults")
    rate = 1000 * total / median
    print(f"{total:.2f} GFLOP per step: {rate:.0f} GFLOP/s, {rate / peak:.0%} of the peak")
    print_profile(times_by_kind, flops, peak)


if __name__ == "__main__":
    main()
