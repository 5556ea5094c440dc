"""What a process that computes asks of the C library, of OpenMP and of signals; `augment` does so at its start.

Elsewhere than under glibc the first two do nothing: what they cure is glibc's.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of mallopt(3)
NEVER = 2**31 - 1  # bytes at the top of the heap before they go back


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


@contextmanager
def stop_on_signal() -> Iterator[Any]:
    """A function that tells whether Ctrl-C was pressed; a second one interrupts at once."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _glibc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
