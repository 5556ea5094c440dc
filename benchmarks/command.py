"""Measure wall time and peak memory of a whole command: python benchmarks/command.py [--repeats N] -- make demo

Memory is the proportional set size (PSS), summed over the process tree and sampled twice per second. PSS counts memory
that several processes share only once. Linux only.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import subprocess
import time
from pathlib import Path

import psutil


def run_once(command: list[str]) -> tuple[float, float]:
    """Run the command once; return (seconds, peak PSS in MB). Raises `CalledProcessError` if it fails."""
    start, peak = time.perf_counter(), 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, tree_pss(process.pid))
            try:
                process.wait(0.5)
            except subprocess.TimeoutExpired:
                continue
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return time.perf_counter() - start, peak


def tree_pss(pid: int) -> float:
    """Return the PSS in MB of a process and its descendants; a process that ends during the reading counts as 0."""
    try:
        pids = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return 0.0
    return sum(map(pss, pids))


def pss(pid: int) -> float:
    try:
        match = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0.0
    return int(match[1]) * 1024 / 1e6 if match else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    runs = [run_once(options.command) for _ in range(options.repeats)]
    seconds, peaks = zip(*runs, strict=True)
    print(f"{' '.join(options.command)}: n = {len(runs)}, {platform.machine()}, {os.cpu_count()} cores")
    print(f"seconds: median {statistics.median(seconds):.2f}, {min(seconds):.2f} to {max(seconds):.2f}")
    print(f"peak PSS of the process tree: {max(peaks):.0f} MB")


if __name__ == "__main__":
    main()
