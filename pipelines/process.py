"""What a process that computes asks of the C library, of OpenMP and of signals; `augment` does so at its start.

A signal ends the command. Every file is written so that a kill at any moment is followed by the same result, so outside
of `stop_on_signal` the process prints its sentence and ends at once; inside, the work has some seconds to save what it
has. Worker processes ignore signals and end when their parent has.

Elsewhere than under glibc the functions on memory do nothing: what they cure is glibc's.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of mallopt(3)
NEVER = 2**31 - 1  # bytes at the top of the heap before they go back
SECONDS_TO_SAVE = 5.0  # after a signal, before the process is ended all the same
SECONDS_BETWEEN_LOOKS = 0.2  # of a worker process at its parent
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
STOPPED = "augment: stopped; the same command goes on where it stopped\n"
SHOW_CURSOR = "\x1b[?25h\r\x1b[K"  # a progress bar hides it

_saving = False  # whether what runs now asks `stop_on_signal` and saves
_received = 0  # the signal that came while it did


def tune_threads() -> None:
    """Let waiting threads sleep soon: endless spinning, GNU OpenMP's default, costs a factor of 10 on a shared core."""
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def tune_allocator() -> None:
    """Keep freed memory for the next step: by default every large tensor is new pages, which the kernel fills with 0.

    At 7,600 page faults a step that was a tenth of the quickstart's time and a third of dcgan-64's.
    """
    mallopt = _glibc("mallopt")
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, NEVER)


def return_freed_memory() -> None:
    """Give back what has been freed, for instance before processes begin that need it."""
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(0)


def handle_signals() -> None:
    """Let Ctrl-C, a closed terminal and a polite kill end the command with one sentence and 128 + the signal."""
    # the process that clears up after killed workers would otherwise warn that there is something to clear up
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _on_signal)


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """A function that says whether a signal has come; the code that calls it then saves its work and returns.

    It has 5 seconds for that; a second signal ends the process at once. Until the function is called for the first
    time, nothing needs saving, and a signal ends the process at once too.
    """
    global _saving

    def stopped() -> bool:
        global _saving
        _saving = True
        return bool(_received)

    try:
        yield stopped
    finally:
        _saving = False


def received_signal() -> int:
    """The number of the signal that came within `stop_on_signal`, 0 if none did."""
    return _received


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Signals come after this block. Processes and threads that begin in it never see them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def follow_parent(parent: int) -> None:
    """In a worker process: end when the process `parent` has ended, however it did."""
    if os.name != "nt" and parent not in _followed:
        _followed.add(parent)
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


_followed: set[int] = set()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os._exit(1)


def _on_signal(number: int, frame: FrameType | None) -> None:
    global _received
    if not _saving or _received:
        _end(number)
    _received = number
    timer = threading.Timer(SECONDS_TO_SAVE, _end, (number,))
    timer.daemon = True
    timer.start()


def _end(number: int) -> None:
    """Leave without unwinding: no exception that a library could swallow, no message but the sentence."""
    cursor = SHOW_CURSOR if sys.stderr is not None and os.isatty(2) else ""
    try:
        os.write(2, f"{cursor}{STOPPED}".encode())
    finally:
        os._exit(128 + number)


def _glibc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
