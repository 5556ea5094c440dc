"""Read data sets of torchvision that are on the disk: `torchvision:NAME:DIR`. Nothing is downloaded."""

from __future__ import annotations

import inspect
import io
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from augment.dataset.listing import Listing, Row, StoredPicture, make_listing, numeric_order
from augment.errors import SourceError
from augment.words import quoted, shortened

SPLIT_ARGUMENTS: dict[str, dict[str, dict[str, Any]]] = {  # by a parameter of the data set: its arguments, by split
    "train": {"train": {"train": True}, "test": {"train": False}},
    "split": {"train": {"split": "train"}, "val": {"split": "val"}, "test": {"split": "test"}},
}


def read_torchvision(spec: str) -> Listing:
    """List the images of NAME:DIR, with the splits that the data set has.

    Raises `SourceError` if torchvision has no such data set, if its files are not in DIR, if it needs other arguments,
    or if its items are not images with one class.
    """
    name, _, root = spec.partition(":")
    from torchvision import datasets

    if name not in datasets.__all__ or not root:
        raise SourceError(f"torchvision:{spec}: expected torchvision:NAME:DIR, for example torchvision:CIFAR10:data")
    make = getattr(datasets, name)
    parameter = next((p for p in SPLIT_ARGUMENTS if p in inspect.signature(make).parameters), None)
    arguments = SPLIT_ARGUMENTS[parameter] if parameter else {"train": {}}
    parts = {}
    for split, options in arguments.items():
        try:
            parts[split] = make(root, **options)
        except Exception as error:  # each data set has its own, for files that are missing and for unknown splits
            if split == "train":
                raise SourceError(
                    f"torchvision:{spec} cannot be read ({shortened(str(error))}); download it with torchvision first, "
                    "or save it as class folders if it needs more arguments than its folder and split"
                ) from error
    try:
        names = _class_names(parts["train"])
        origin = f"torchvision:{name}"
        rows = [row for split, part in parts.items() for row in _rows(f"{origin}/{split}", split, part, names)]
    except SourceError:
        raise
    except Exception as error:  # the data set is of another kind, or its files are damaged
        raise SourceError(
            f"torchvision:{spec} cannot be read ({shortened(str(error))}): expected images with one class each"
        ) from error
    return make_listing(f"torchvision:{spec}", rows, names or numeric_order(rows))


def _class_names(dataset: Any) -> list[str]:
    names = list(getattr(dataset, "classes", ()))
    return names if all(isinstance(name, str) for name in names) and len(set(names)) == len(names) else []


def _rows(origin: str, split: str, dataset: Any, names: list[str]) -> Iterator[Row]:
    for index, label in enumerate(_labels(dataset)):
        if not isinstance(label, int | np.integer) or (names and not 0 <= label < len(names)):
            raise SourceError(f"{origin}[{index}] has the label {quoted(label)}: expected the number of a class")
        file = StoredPicture(f"{origin}[{index}]", partial(_as_png, dataset, index))
        yield split, file, names[label] if names else str(label)


def _as_png(dataset: Any, index: int) -> bytes:
    content = io.BytesIO()
    dataset[index][0].save(content, format="PNG", compress_level=1)
    return content.getvalue()


def _labels(dataset: Any) -> list[Any]:
    """Return the labels of all items: those that the data set lists, or else those of the items one by one."""
    for attribute in ("targets", "labels", "_labels"):
        listed = getattr(dataset, attribute, None)
        if listed is not None and len(listed) == len(dataset):
            return list(np.asarray(listed).tolist())
    items = [dataset[index] for index in range(len(dataset))]
    if items and not isinstance(items[0][0], Image.Image):
        raise SourceError(f"{type(dataset).__name__} has no images with one class each")
    return [label for _, label in items]
