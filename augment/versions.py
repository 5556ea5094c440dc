"""Which versions of Python and of the libraries computed a result: it depends on them as well as on the settings."""

from __future__ import annotations

import platform
from importlib.metadata import version

PACKAGES = ("augment-osgan", "torch", "torchvision", "numpy", "scikit-learn", "albumentations")


def versions() -> dict[str, str]:
    """The version of Python and of each of `PACKAGES`, by name."""
    return {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}}
