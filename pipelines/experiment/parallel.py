"""Work spread over processes of one torch thread each: two of them do more than one with two."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import joblib
import torch
from joblib.externals.loky import get_reusable_executor

from pipelines.process import follow_parent, return_freed_memory, signals_held_back

T = TypeVar("T")
Call = tuple[Callable[..., T], tuple[Any, ...]]  # a function and its arguments


def run_in_processes(calls: Sequence[Call[T]], jobs: int) -> Iterator[tuple[int, T]]:
    """Each call's index and what it returns, as they end; with one job in this process, one after the other."""
    backend = "serial" if jobs == 1 or len(calls) <= 1 else "processes"
    yield from BACKENDS[backend](calls, jobs)


def _serial(calls: Sequence[Call[T]], jobs: int) -> Iterator[tuple[int, T]]:
    if jobs > 1 and calls:
        get_reusable_executor().shutdown(wait=True)  # the memory that idle processes hold may be needed here
    yield from ((index, _run_alone(call)) for index, call in enumerate(calls))


def _processes(calls: Sequence[Call[T]], jobs: int) -> Iterator[tuple[int, T]]:
    """By joblib's own processes.

    They stay for the next calls, since importing torch takes them seconds: `end_processes` ends them. They never see
    signals, and end by themselves if this process is killed.
    """
    return_freed_memory()  # which training a generator in this process has left
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*have been cancelled")  # as they should be where the work is stopped
        parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
        with signals_held_back():  # the processes begin here, and so does the thread that would replace them
            results = parallel(joblib.delayed(_run_in_worker)(os.getpid(), *numbered) for numbered in enumerate(calls))
        yield from results


BACKENDS: dict[str, Callable[[Sequence[Call[Any]], int], Iterator[tuple[int, Any]]]] = {
    "serial": _serial,
    "processes": _processes,
}


@contextmanager
def end_processes() -> Iterator[None]:
    """Around all that a command does: idle processes would keep 0.5 GB each for five minutes."""
    try:
        yield
    finally:
        get_reusable_executor().shutdown(wait=True)


def _run_in_worker(parent: int, index: int, call: Call[T]) -> tuple[int, T]:
    follow_parent(parent)
    return index, _run_alone(call)


def _run_alone(call: Call[T]) -> T:
    function, arguments = call
    with one_thread(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # joblib's shared memory
        return function(*arguments)


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread: processes would fight for the cores, and rounding depends on how many threads there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
