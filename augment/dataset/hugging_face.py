"""Read data sets of Hugging Face: `datasets:DIR` as `save_to_disk` wrote it, or `datasets:NAME` from the hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augment.dataset.listing import Listing
from augment.dataset.parquet import INSTALL, list_tables, split_of
from augment.errors import SourceError
from augment.words import shortened

SAVED = ("dataset_dict.json", "state.json")  # one of these is in each folder that `save_to_disk` wrote


def is_saved(folder: Path) -> bool:
    """Return whether a folder was written by `save_to_disk` of `datasets`."""
    return any((folder / name).is_file() for name in SAVED)


def read_dataset(name: str, columns: Mapping[str, str] | None = None) -> Listing:
    """List the pictures of a data set by its folder or its name on the hub; columns: as for `read_parquet`.

    A name is looked up by `datasets`, which downloads what it does not have. Raises `SourceError` if `datasets` is
    missing or reads nothing.
    """
    try:
        import datasets
    except ImportError as error:
        raise SourceError(f"datasets:{name} needs Hugging Face's datasets; run: {INSTALL}") from error
    try:
        found: Any = datasets.load_from_disk(name) if is_saved(Path(name)) else datasets.load_dataset(name)
    except Exception as error:  # the network, the hub and the files raise many types of errors
        raise SourceError(f"datasets:{name} cannot be read: {shortened(str(error))}") from error
    splits = found if isinstance(found, datasets.DatasetDict) else {"train": found}
    tables = [(f"{name}/{split}", split_of(split), _table(part)) for split, part in splits.items()]
    return list_tables(f"datasets:{name}", tables, columns or {}, Path(name))


def _table(part: Any) -> Any:
    return part.with_format("arrow")[:].replace_schema_metadata(part.features.arrow_schema.metadata)
