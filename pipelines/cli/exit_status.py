"""Errors as the command line tells them: one sentence and an exit status."""

from __future__ import annotations

import errno

from augment.errors import AugmentError, InputError

# How torch (for CUDA, the CPU and several systems), oneDNN and numpy say that something does not fit, or never could
NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "DefaultCPUAllocator",
    "invalid buffer size",
    "Invalid buffer size",
    "Storage size calculation overflowed",
    "integer multiplication overflow",
    "could not create a memory",
    "Unable to allocate",
    "array is too big",
    "Maximum allowed size exceeded",
    "Maximum allowed dimension exceeded",
    "cannot fit 'int' into an index-sized integer",
    "Python int too large to convert to C",
    "Overflow when unpacking long",
)


def explain(error: Exception) -> tuple[str, int]:
    """One sentence and the exit status. Raises `error` again if it is a bug of ours, whose traceback is of use."""
    if isinstance(error, InputError):
        return str(error), 2
    if isinstance(error, AugmentError):
        return str(error), 1
    if usage := _usage(error):
        return usage, 2
    if isinstance(error, OSError):
        where = f" for {error.filename}" if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            where = where or " for standard output"  # all other writes name their file
            return f"no room on the disk{where}: free some space and run the same command again", 1
        return f"{error.strerror or error}{where}", 1
    if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
        return (
            "the memory is not enough; lower the batch size, the width, the latent size, or the images' number or size",
            1,
        )
    raise error


def _usage(error: Exception) -> str | None:
    """Typer's own sentence about wrong options, if it is one; its versions disagree on the class."""
    if not hasattr(error, "format_message"):
        return None
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "augment"
    return f"{error.format_message().rstrip('.')}; see `{command} --help`"
