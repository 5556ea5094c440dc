"""The versions of Python and of the libraries, which are stored with each result because results depend on them."""

from __future__ import annotations

import platform
from importlib.metadata import version

PACKAGES = ("augment-osgan", "torch", "torchvision", "numpy", "scikit-learn", "albumentations")


def versions() -> dict[str, str]:
    """Return the version of Python and of each of `PACKAGES`, by name."""
    return {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}}
