"""Helpers that both trackers share: they flatten settings and convert errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from augment.errors import ConfigError, OutputError
from augment.words import printable, shortened


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings as one level of strings: `{"a": {"b": 1}}` becomes `{"a.b": "1"}`; lists become JSON."""
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            flat[f"{prefix}{name}"] = text
    return flat


@contextmanager
def converting_import_errors(package: str) -> Iterator[None]:
    """Convert an `ImportError` in the block into a `ConfigError` that says which package to install."""
    try:
        yield
    except ImportError as error:
        missing = (error.name or "a package").partition(".")[0]
        raise ConfigError(f"the tracker {package} needs {missing}; run: pip install {package}") from error


@contextmanager
def converting_os_errors(folder: Path) -> Iterator[None]:
    """Convert an `OSError` in the block into an `OutputError` that says that `folder` cannot be written."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{folder} cannot be written ({error.strerror}); choose another folder") from error


def root_cause(error: Exception) -> str:
    """Return the first error of the chain that led to `error`, in one line; passwords in addresses are removed."""
    first: BaseException = error
    while earlier := first.__cause__ or first.__context__:  # MLflow raises its own error last, and that one says less
        first = earlier
    text = re.sub(r"//[^/@\s]+@", "//", f"{type(first).__name__}: {first}")
    return printable(shortened(text.partition("\n")[0], 200))
