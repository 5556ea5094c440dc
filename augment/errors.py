"""The exception tree of the library. Only the command line catches these errors, prints one sentence and exits.

    AugmentError
    ├── InputError         the user's input is wrong             exit status 2
    │   ├── SourceError    a source, a model or a checkpoint cannot be read
    │   ├── ConfigError    a setting is unknown, of the wrong type or out of range
    │   ├── OutputError    the output folder holds something else
    │   └── DeviceError    the requested device is not available
    └── RunError           the input is not the cause            exit status 1
        └── DivergedError  a loss or a weight is no longer finite

A message is one sentence that names the file or the key and says what was expected, what was found and what to do.
"""

from __future__ import annotations

import errno

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)  # of an `OSError`: the disk is full, and the input is not the cause


class AugmentError(Exception):
    """Base class of all errors that this project raises deliberately."""


class InputError(AugmentError):
    """The user's input is wrong; the message says how to correct it."""


class SourceError(InputError):
    """A source, a model or a checkpoint cannot be read."""


class ConfigError(InputError):
    """A setting is unknown, of the wrong type or out of range."""


class OutputError(InputError):
    """The output folder holds something that would be lost."""


class DeviceError(InputError):
    """The requested device is not available."""


class RunError(AugmentError):
    """Something failed for a reason other than the input."""


class DivergedError(RunError):
    """A loss or a weight is no longer finite; the last good checkpoint is kept."""
