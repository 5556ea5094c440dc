"""Read tables that hold pictures and their labels in columns: parquet files, also as Hugging Face stores them.

Hugging Face's `datasets` writes a picture as a struct of `bytes` and `path`, and the names of the classes into the
metadata of the table (https://huggingface.co/docs/datasets/image_dataset). A column of plain bytes is read as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from augment.dataset.images import SPLIT_NAMES
from augment.dataset.listing import Listing, PictureFile, Row, StoredPicture, make_listing, numeric_order
from augment.errors import SourceError
from augment.words import quoted, shortened

INSTALL = "pip install 'augment-osgan[datasets]'"
USUAL_NAMES = {  # of columns, most usual first
    "image": ("image", "img", "picture", "photo"),
    "label": ("label", "labels", "class", "category", "target", "fine_label"),
}


class _Columns(NamedTuple):
    """The columns that are read. class_names: of the numbers in the column `label`; empty if it holds other values."""

    image: str
    label: str | None
    class_names: tuple[str, ...]


def split_columns(spec: str) -> tuple[Path, dict[str, str]]:
    """Split "FILE?image=COLUMN&label=COLUMN" into the file and its columns. Raises `SourceError` for other names."""
    file, _, query = spec.partition("?")
    columns = dict(parse_qsl(query))
    if unknown := sorted(set(columns) - set(USUAL_NAMES)):
        raise SourceError(f"{quoted(spec)}: expected FILE?image=COLUMN&label=COLUMN, got {quoted(unknown[0])}")
    return Path(file), columns


def parquet_files(folder: Path) -> list[Path]:
    """Return the parquet files directly in a folder or, if there are none, in its folder `data/`."""
    return sorted(folder.glob("*.parquet")) or sorted(folder.glob("data/*.parquet"))


def read_parquet(path: Path, columns: Mapping[str, str] | None = None) -> Listing:
    """List the pictures of a parquet file, or of a folder of files whose names begin with that of their split.

    columns: the names of the columns "image" and "label", where they are not the usual ones. A column `split` is used
    if there is one. A table without a column of labels lists pictures without labels. Raises `SourceError` if a folder
    has no parquet files, if a named column is not found, if there are no pictures, or if a row has none.
    """
    files = parquet_files(path) if path.is_dir() else [path]
    if not files:
        raise SourceError(f"{path} has no parquet files, directly or in data/, so no columns can be chosen in it")
    tables = [(str(file), split_of(file.stem) if len(files) > 1 else "train", _read_table(file)) for file in files]
    return list_tables(path, tables, columns or {}, path if path.is_dir() else path.parent)


def split_of(name: str) -> str:
    """Return the split that the first word of `name` means, such as "val" for "validation-00000-of-00001".

    Raises `SourceError` if it means none.
    """
    word = re.split(r"[-_.\[]", name)[0].lower()
    if word not in SPLIT_NAMES:
        raise SourceError(f"{name}: expected a name that begins with train, validation or test")
    return SPLIT_NAMES[word]


def list_tables(
    origin: object, tables: Sequence[tuple[str, str, Any]], columns: Mapping[str, str], folder: Path
) -> Listing:
    """List the pictures of (name, split, pyarrow table), which share their columns; see `read_parquet`.

    folder: where pictures are that the tables hold as paths.
    """
    first, unlabelled = tables[0][2], ""
    image, label = _find_column(origin, first, "image", columns.get("image")), None
    try:
        label = _find_column(origin, first, "label", columns.get("label"))
    except SourceError as error:
        if "label" in columns:
            raise
        unlabelled = str(error)
    used = _Columns(image, label, _class_names(first, label) if label else ())
    rows = [row for name, split, table in tables for row in _rows(name, split, table, used, folder)]
    return make_listing(origin, rows, used.class_names or numeric_order(rows), unlabelled)


def _read_table(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise SourceError(f"{path}: reading parquet needs pyarrow; run: {INSTALL}") from error
    try:
        return pyarrow.parquet.read_table(path)
    except pyarrow.ArrowException as error:
        raise SourceError(f"{path} is not a readable parquet file ({shortened(str(error))})") from error


def _find_column(origin: object, table: Any, kind: str, named: str | None) -> str:
    """Return the column `named`, or that of pictures or labels: the only one, or the one with a usual name."""
    fits = _holds_pictures if kind == "image" else _holds_labels
    found = [field.name for field in table.schema if fits(field.type)]
    if named is not None:
        candidates = [named] if named in found else []
    else:
        candidates = [name for name in USUAL_NAMES[kind] if name in found][:1] or found
    if len(candidates) == 1:
        return candidates[0]
    found_instead = f"no column {quoted(named)}" if named else "several columns" if candidates else "no column"
    content = "pictures (bytes, or a struct with bytes)" if kind == "image" else "labels (text or whole numbers)"
    present = ", ".join(f"{field.name} ({shortened(str(field.type))})" for field in table.schema)
    raise SourceError(
        f"{origin} has {found_instead} of {content}; name one as {origin}?{kind}=COLUMN. It has: {present}"
    )


def _holds_pictures(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_struct(kind):
        return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def _holds_labels(kind: Any) -> bool:
    import pyarrow.types as types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    text = types.is_string, types.is_large_string, types.is_string_view
    return any(fits(kind) for fits in (types.is_integer, types.is_boolean, *text))


def _class_names(table: Any, label: str) -> tuple[str, ...]:
    """Return the names that Hugging Face's metadata give the numbers of a column, or () if there are none."""
    import pyarrow.types as types

    if not types.is_integer(table.schema.field(label).type):
        return ()
    try:
        found = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    except ValueError:
        return ()
    for key in ("info", "features", label, "names"):
        found = found.get(key) if isinstance(found, dict) else None
    return tuple(map(str, found)) if isinstance(found, list) else ()


def _rows(origin: str, split: str, table: Any, columns: _Columns, folder: Path) -> Iterator[Row]:
    image, label, names = columns
    if missing := [column for column in (image, label) if column and column not in table.column_names]:
        raise SourceError(f"{origin} has no column {quoted(missing[0])}, unlike the files before it")
    files = _picture_files(origin, table[image], folder)
    splits = table["split"].to_pylist() if "split" in table.column_names else [split] * len(table)
    values = table[label].to_pylist() if label else [None] * len(table)
    for file, value, part in zip(files, values, splits, strict=True):
        missing_value = value is None or (names and not 0 <= value < len(names))  # Hugging Face writes -1 for none
        yield split_of(str(part)), file, None if missing_value else names[value] if names else str(value)


def _picture_files(origin: str, column: Any, folder: Path) -> Iterator[PictureFile]:
    import pyarrow.compute as compute
    import pyarrow.types as types

    paths: list[object] = [None] * len(column)
    if types.is_struct(column.type):
        if "path" in {column.type.field(i).name for i in range(column.type.num_fields)}:
            paths = compute.struct_field(column, "path").to_pylist()
        column = compute.struct_field(column, "bytes")
    for row, (empty, path) in enumerate(zip(column.is_null().to_pylist(), paths, strict=True)):
        if not empty:
            yield StoredPicture(f"{origin}[{row}]", partial(_cell, column, row))
        elif isinstance(path, str) and path:
            yield folder / path
        else:
            raise SourceError(f"{origin}[{row}] has no picture")


def _cell(column: Any, row: int) -> bytes:
    content: bytes = column[row].as_py()
    return content
