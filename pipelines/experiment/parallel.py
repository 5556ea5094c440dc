"""Run function calls in parallel processes of one torch thread each.

Two processes of one thread get more done than one process of two threads.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, TypeVar

import joblib
import torch
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from augment.errors import RunError
from pipelines.process import block_signals, exit_with_parent, return_freed_memory

T = TypeVar("T")
Call = tuple[Callable[..., T], tuple[Any, ...]]  # a function and its arguments


def run_in_processes(calls: Sequence[Call[T]], jobs: int) -> Iterator[tuple[int, T]]:
    """Yield the index and the result of each call, in the order in which they finish.

    With one job or one call, the calls run in this process, one after the other.
    """
    yield from (_serial if jobs == 1 or len(calls) <= 1 else _processes)(calls, jobs)


def _serial(calls: Sequence[Call[T]], jobs: int) -> Iterator[tuple[int, T]]:
    if jobs > 1 and calls:
        get_reusable_executor().shutdown(wait=True)  # frees the memory of idle processes, which may be needed here
    yield from ((index, _run_on_one_thread(call)) for index, call in enumerate(calls))


def _processes(calls: Sequence[Call[T]], jobs: int) -> Iterator[tuple[int, T]]:
    """Run the calls in joblib's process pool.

    The processes stay alive for the next calls, since importing torch takes them seconds; `end_processes` ends them.
    They ignore signals, and exit by themselves if this process is killed. Raises `RunError` if one of them is killed.
    """
    return_freed_memory()  # such as the memory of a generator that was trained in this process
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*have been cancelled")  # this is intended when the work is stopped
        warnings.filterwarnings("ignore", "A worker stopped")  # it had grown, and another takes its place
        parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
        if os.name != "nt":
            resource_tracker.ensure_running()  # before joblib does: it unblocks SIGINT and SIGTERM
        with block_signals():  # the processes start here, and so does the thread that replaces broken ones
            results = parallel(joblib.delayed(_run_in_worker)(os.getpid(), *numbered) for numbered in enumerate(calls))
        try:
            yield from results
        except TerminatedWorkerError as error:
            raise RunError(
                "a process was ended by the system, most often for want of memory: run the same command again with a "
                f"smaller --jobs than {jobs}"
            ) from error


@contextmanager
def end_processes() -> Iterator[None]:
    """Shut down the process pool at the end of a command; otherwise idle processes keep 0.5 GB each for 5 minutes."""
    try:
        yield
    finally:
        get_reusable_executor().shutdown(wait=True)


def _run_in_worker(parent: int, index: int, call: Call[T]) -> tuple[int, T]:
    exit_with_parent(parent)
    return index, _run_on_one_thread(call)


def _run_on_one_thread(call: Call[T]) -> T:
    function, arguments = call
    with one_thread(), warnings.catch_warnings():
        # joblib passes large arrays as read-only shared memory
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return function(*arguments)


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread.

    More threads would compete with the other processes for the cores, and rounding depends on the number of threads.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
