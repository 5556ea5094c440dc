"""Memory that a step frees is reused by the next step, and can be returned to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

STEP = """
import resource
import torch
torch.set_num_threads(1)
from pipelines.process import return_freed_memory, tune_allocator
def faults(function):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    function()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20
def step():
    for _ in range(3):
        torch.ones(20_000_000), torch.ones(3_000_000)  # 80 and 12 MB
def answer():
    for _ in range(3):
        step()  # until the heap is large enough
    again = faults(step)
    held = resident()
    return_freed_memory()
    print(again, held - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator is glibc's")
@pytest.mark.parametrize("tuned", [True, False])
def test_a_step_meets_no_new_pages_once_the_allocator_is_tuned(tuned: bool) -> None:
    code = STEP + ("tune_allocator()\n" if tuned else "") + "answer()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    faults, returned = (float(number) for number in done.stdout.split())
    assert (faults < 100) == tuned  # 80 MB are 20,000 pages
    assert returned > 60 or not tuned  # MB
