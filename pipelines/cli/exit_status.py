"""Convert an error into what the command line reports: one sentence and an exit status."""

from __future__ import annotations

import errno

from augment.errors import DISK_FULL, AugmentError, InputError

# Parts of the messages with which torch (on CUDA, the CPU and other devices), oneDNN and numpy report that an array
# does not fit into memory, or that its size cannot even be represented.
MEMORY_MESSAGES = (
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
    """Return one sentence and the exit status.

    Raises `error` again if it is of an unexpected kind: that is a bug, and its traceback helps to find it.
    """
    if isinstance(error, InputError):
        return str(error), 2
    if isinstance(error, AugmentError):
        return str(error), 1
    if usage := _usage_message(error):
        return usage, 2
    if isinstance(error, OSError):
        target = f" for {error.filename}" if error.filename else ""
        if error.errno in DISK_FULL:
            target = target or " for standard output"  # errors of all other writes name their file
            return f"no room on the disk{target}: free some space and run the same command again", 1
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and error.filename:
            return f"{error.filename} cannot be used: {(error.strerror or str(error)).lower()}; choose another path", 2
        return f"{error.strerror or error}{target}", 1
    if isinstance(error, MemoryError) or any(message in str(error) for message in MEMORY_MESSAGES):
        return (
            "not enough memory; lower the batch size, the width, the latent size, or the number or size of the images",
            1,
        )
    raise error


def _usage_message(error: Exception) -> str | None:
    """Return Typer's own sentence if `error` is about wrong options, otherwise None.

    Such an error is recognised by its method, because its class differs between versions of Typer.
    """
    if not hasattr(error, "format_message"):
        return None
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "augment"
    message = " ".join(error.format_message().split()).rstrip(".")
    return f"{message}; see `{command} --help`"
