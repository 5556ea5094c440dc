"""What both trackers need: flat settings, and errors as sentences."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from augment.errors import ConfigError, OutputError
from augment.words import printable, shortened


def flatten(settings: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Nested settings as one level of text: `{"a": {"b": 1}}` becomes `{"a.b": "1"}`; lists become JSON."""
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{above}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            flat[f"{above}{name}"] = text
    return flat


@contextmanager
def needing(package: str) -> Iterator[None]:
    """Imports within raise `ConfigError` that says what to install."""
    try:
        yield
    except ImportError as error:
        missing = (error.name or "a package").partition(".")[0]
        raise ConfigError(f"the tracker {package} needs {missing}; run: pip install {package}") from error


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """What the disk refuses within raises `OutputError`."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{folder} cannot be written ({error.strerror}); choose another folder") from error


def reason_of(error: Exception) -> str:
    """What went wrong first, in one line, without the password that an address in it may hold."""
    first: BaseException = error
    while earlier := first.__cause__ or first.__context__:  # MLflow's own words come last and say less
        first = earlier
    text = re.sub(r"//[^/@\s]+@", "//", f"{type(first).__name__}: {first}")
    return printable(shortened(text.partition("\n")[0], 200))
