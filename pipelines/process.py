"""Configure the process: memory allocation, OpenMP threads and signals. The command `augment` does this at its start.

A signal ends the command. Files are written such that a kill at any moment does not change the final result, so outside
of `stop_on_signal` the process prints one sentence and exits at once. Inside of it, the work has a few seconds to save
its state. Worker processes ignore signals and exit when their parent has exited.

The functions on memory work around properties of glibc, and do nothing with other C libraries.
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
NEVER_TRIM = 2**31 - 1  # bytes: glibc returns memory at the top of the heap only when more than this is free
SECONDS_TO_SAVE = 5.0  # between a signal and the forced exit
POLL_SECONDS = 0.2  # between two checks of a worker process whether its parent is alive
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
STOPPED = "augment: stopped; run the same command again to continue\n"
STOPPED_OVERWRITING = "augment: stopped; run the same command without --overwrite to continue\n"
SHOW_CURSOR = "\x1b[?25h\r\x1b[K"  # shows the cursor, which a progress bar hides, and clears the line

_saving = False  # whether the running work checks `stop_on_signal` and saves its state
_began = False  # whether work that checks `stop_on_signal` has begun
_received = 0  # the number of the signal that has arrived during such work


def tune_threads() -> None:
    """Let waiting threads sleep after a short time.

    By default threads of GNU OpenMP spin for long while they wait, which is 10 times slower on a shared core.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def tune_allocator() -> None:
    """Keep freed memory for the next training step instead of returning it to the kernel.

    By default glibc maps new pages for every large tensor, which the kernel fills with zeros. At 7,600 page faults a
    step, that took a tenth of the time of the quickstart and a third of that of dcgan-64.
    """
    mallopt = _glibc("mallopt")
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, NEVER_TRIM)


def return_freed_memory() -> None:
    """Return freed memory to the kernel, for example before starting processes that need it."""
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(0)


def handle_signals() -> None:
    """End the command on Ctrl-C, SIGTERM or a closed terminal with one sentence and the exit status 128 + signal."""
    # Python's resource tracker would otherwise warn that killed workers have left resources to clean up.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(number, _on_signal)


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether a signal has arrived, so that the caller can save its work and return.

    The caller has 5 seconds for that. A second signal ends the process at once. So does any signal before the first
    call of the function, since until then there is nothing to save.
    """
    global _saving

    def stopped() -> bool:
        global _saving, _began
        _saving = _began = True
        return bool(_received)

    try:
        yield stopped
    finally:
        _saving = False


def stopped_sentence() -> str:
    """Return the line that says how a stopped command is continued; another --overwrite would discard its work."""
    resumes = _began and sys.argv[1:2] != ["predict"]
    return STOPPED_OVERWRITING if resumes and "--overwrite" in sys.argv else STOPPED


def received_signal() -> int:
    """Return the number of the signal that has arrived within `stop_on_signal`, or 0 if there was none."""
    return _received


@contextmanager
def block_signals() -> Iterator[None]:
    """Delay signals until the end of this block. Processes and threads that start in it never receive them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def exit_with_parent(parent: int) -> None:
    """In a worker process, exit as soon as the process `parent` has ended for whatever reason."""
    if os.name != "nt" and parent not in _watched_parents:
        _watched_parents.add(parent)
        threading.Thread(target=_wait_for_parent, args=(parent,), daemon=True).start()


_watched_parents: set[int] = set()


def _wait_for_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os._exit(1)


def _on_signal(number: int, frame: FrameType | None) -> None:
    global _received
    if not _saving or _received:
        _exit(number)
    _received = number
    timer = threading.Timer(SECONDS_TO_SAVE, _exit, (number,))
    timer.daemon = True
    timer.start()


def _exit(number: int) -> None:
    """Exit without unwinding the stack: a library could catch an exception, and would print more than one sentence."""
    cursor = SHOW_CURSOR if sys.stderr is not None and os.isatty(2) else ""
    try:
        os.write(2, f"{cursor}{stopped_sentence()}".encode())
    finally:
        os._exit(128 + number)


def _glibc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
