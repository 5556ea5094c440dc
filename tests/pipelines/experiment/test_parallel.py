"""Calls spread over processes return what they would alone, whatever order they end in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from augment.errors import RunError
from pipelines.experiment.parallel import end_processes, run_in_processes
from pipelines.process import SIGNALS


def work(number: int, images: np.ndarray) -> tuple[int, int, int, float]:
    return number, os.getpid(), torch.get_num_threads(), float(images[number].sum())


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_call_runs_once_in_one_thread(jobs: int) -> None:
    images = np.arange(2_000_000, dtype=np.float64).reshape(5, -1)  # large enough for joblib's shared memory
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with end_processes():
            placed = sorted(run_in_processes([(work, (i, images)) for i in range(5)], jobs))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    done = [made for _, made in placed]
    assert [place for place, _ in placed] == [number for number, *_ in done] == [0, 1, 2, 3, 4]
    assert {threads for _, _, threads, _ in done} == {1}
    assert [total for *_, total in done] == [images[i].sum() for i in range(5)]
    assert (os.getpid() in {process for _, process, _, _ in done}) == (jobs == 1)


def fail() -> None:
    raise ValueError("so it is")


def test_an_error_in_a_process_is_raised_here() -> None:
    with end_processes(), pytest.raises(ValueError, match="so it is"):
        list(run_in_processes([(fail, ()), (fail, ())], 2))


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(sys.platform == "win32", reason="its signals are others")
def test_a_killed_process_is_an_error_with_advice() -> None:
    with end_processes(), pytest.raises(RunError, match=r"want of memory.* smaller --jobs than 2"):
        list(run_in_processes([(be_killed, ()), (be_killed, ())], 2))
    with end_processes():  # new processes take the place of the killed ones
        assert len(list(run_in_processes([(blocked, ())] * 3, 2))) == 3


def blocked() -> set[int]:
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, []))


@pytest.mark.skipif(sys.platform == "win32", reason="its signals are others")
def test_processes_block_signals_from_their_start() -> None:
    code = (
        "from pipelines.experiment.parallel import *; from tests.pipelines.experiment.test_parallel import blocked\n"
        "with end_processes(): print([sorted(map(int, s)) for _, s in run_in_processes([(blocked, ())] * 4, 2)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{[sorted(map(int, SIGNALS))] * 4}\n"
