"""What share of a processor's peak a one-stage step of the quickstart's networks reaches, and where the rest goes.

    python benchmarks/cpu_peak.py

The peak is that of the fastest float32 matrix product on the same threads. FLOPs are those of convolutions (the zeros
around an image included) and matrix products, forward and backward; a multiplication and an addition are two. `--plain`
leaves out what the `augment` command asks of the C library's allocator at its start.
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
SIDES = (512, 1024, 2048, 3072)  # of the matrices
KINDS = {  # an operator is of the first kind of which a part is in its name
    "convolution, backward": ("convolution_backward",),
    "convolution, forward": ("convolution",),
    "matrix products": ("mm", "aten::mv"),
    "normalisation": ("norm", "addcmul", "aten::mul"),  # products are mostly conditional batch norm's gradients
    "activations": ("relu", "tanh", "threshold", "clamp_min"),
    "optimiser": ("adam",),
    "copies, zeros": ("copy_", "fill_", "zero_", "aten::cat"),
}


def kind_of(operator: str) -> str:
    return next((kind for kind, parts in KINDS.items() if any(part in operator for part in parts)), "other operators")


def milliseconds(function: Callable[[], Any], repeats: int) -> list[float]:
    times = []
    for _ in range(WARM_UP + repeats):
        began = time.perf_counter()
        function()
        times.append(1000 * (time.perf_counter() - began))
    return times[WARM_UP:]


def matrix_product_rates() -> dict[int, float]:
    """GFLOP/s by the side of the matrices, of the fastest of 10."""
    import torch

    rates = {}
    for side in SIDES:
        a, b, out = torch.rand(side, side), torch.rand(side, side), torch.empty(side, side)
        product = partial(torch.mm, a, b, out=out)
        rates[side] = 2 * side**3 / 1e6 / min(milliseconds(product, 10))
    return rates


def gigaflops_by_kind(step: Callable[[], Any]) -> dict[str, float]:
    """Of one step; the counter has formulas for both gradients of a convolution, and leaves out one not asked for."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        step()
    flops: dict[str, float] = defaultdict(float)
    for operator, count in counter.get_flop_counts()["Global"].items():
        flops[kind_of(str(operator))] += count / 1e9
    return flops


def milliseconds_by_kind(step: Callable[[], Any], steps: int) -> dict[str, float]:
    """Per step, the operators' own time without that of operators they call; Python and autograd are what is left."""
    from torch.profiler import ProfilerActivity, profile

    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # silence on a machine without a GPU's driver
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiler:
        began = time.perf_counter()
        for _ in range(steps):
            step()
        left = 1000 * (time.perf_counter() - began) / steps
    times: dict[str, float] = defaultdict(float)
    for event in profiler.key_averages():
        if event.key.startswith("aten::"):
            times[kind_of(event.key)] += event.self_cpu_time_total / 1000 / steps
    return {**times, "Python and autograd": left - sum(times.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args()
    tune_threads()  # OpenMP reads it when torch is imported, so every import of it is inside a function
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
    rates = matrix_product_rates()  # after the step: large blocks, once freed, make glibc keep more of them
    peak = max(rates.values())
    low, median, high = np.quantile(times, (0.25, 0.5, 0.75))
    flops, spent = gigaflops_by_kind(step), milliseconds_by_kind(step, options.steps)
    total = sum(flops.values())
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {options.threads} thread(s), n = {options.steps}; {versions()}"
    )
    print("matrix products, GFLOP/s by side:", ", ".join(f"{side}: {rate:.0f}" for side, rate in rates.items()))
    print(f"a step: median {median:.1f} ms, quartiles {low:.1f} to {high:.1f}; {faults:.0f} minor page faults")
    print(
        f"{total:.2f} GFLOP a step: {1000 * total / median:.0f} GFLOP/s, {1000 * total / median / peak:.0%} of the peak"
    )
    print(f"profiled apart, {sum(spent.values()):.1f} ms a step (mean):")
    for kind, ms in sorted(spent.items(), key=lambda item: -item[1]):
        rate = 1000 * flops[kind] / ms if kind in flops else None
        share = f", {flops[kind]:.2f} GFLOP, {rate:.0f} GFLOP/s, {rate / peak:.0%} of the peak" if rate else ""
        print(f"  {kind:22} {ms:6.1f} ms {ms / sum(spent.values()):4.0%}{share}")


if __name__ == "__main__":
    main()
