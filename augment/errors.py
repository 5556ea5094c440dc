"""The exception tree. The library raises from it; only the command line catches it, prints one sentence and exits.

    AugmentError
    ├── InputError         the user's input is wrong             exit status 2
    │   ├── SourceError    a source cannot be read as labelled images
    │   ├── ConfigError    a setting is unknown, of the wrong type or out of range
    │   ├── OutputError    the output folder holds something else
    │   └── DeviceError    the device is not there
    └── RunError           not the input's fault                 exit status 1
        └── DivergedError  a loss stopped being finite

A message says what was expected, what was found and what to do, in one sentence that names the file or the key.
"""

from __future__ import annotations


class AugmentError(Exception):
    """Base of everything that this project raises on purpose."""


class InputError(AugmentError):
    """The user's input is wrong; the message says how to mend it."""


class SourceError(InputError):
    """A source cannot be read as labelled images."""


class ConfigError(InputError):
    """A setting is unknown, of the wrong type or out of range."""


class OutputError(InputError):
    """The output folder holds something that would be lost."""


class DeviceError(InputError):
    """The requested device is not there."""


class RunError(AugmentError):
    """Something failed that is not the input's fault."""


class DivergedError(RunError):
    """A loss or a weight stopped being finite; the last good checkpoint is kept."""
