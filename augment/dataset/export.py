"""Write labelled images as a folder of PNG files with a manifest, or as one MedMNIST-style `.npz`.

`read_source` reads both forms. Class names that are not valid or not distinct on some file system are escaped in the
names of folders; the manifest contains the real names. The manifest is written last, so a folder with a manifest is
complete.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from augment.dataset.images import SPLITS, LabelledImages
from augment.dataset.npz import read_arrays
from augment.dataset.sources import MANIFEST
from augment.dataset.tables import read_rows
from augment.errors import SourceError
from augment.files import write_atomically
from augment.output_folders import OutputFolder
from augment.words import quoted

# Unsafe on Windows, macOS or Linux: separators, wildcards, control characters, lone surrogates, and a dot or a space at
# the start or end. The percent sign is included because it introduces an escape.
UNSAFE = re.compile(r'[<>:"/\\|?*%\x00-\x1f\x7f\ud800-\udfff]|^[. ]|[. ]$')
WINDOWS_DEVICES = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³]) *(\..*)?", re.IGNORECASE)
MAX_NAME_BYTES = 200  # of a folder name; file systems allow 255
CHUNK = 256  # images per task
COLUMN_NAMES = {"seed": "train_seeds"}  # in an .npz, where they differ from train_<name>


def write_folder(data: LabelledImages, output: OutputFolder, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write <class>/<number>.png and manifest.csv, whose names the caller has reserved.

    The manifest has the columns path and label, and `columns`: by name, a value or a row of values per image. A row is
    written as its values with semicolons between them. Raises `OSError` if writing fails.
    """
    folder = output.path
    *pictures, manifest = folder_files(data.class_names, data.labels)
    text = io.StringIO()
    has_return = "\r" in "".join(data.class_names)  # QUOTE_MINIMAL would not quote these names
    rows = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC if has_return else csv.QUOTE_MINIMAL)
    names = [data.class_names[label] for label in data.labels]
    table = {"path": pictures, "label": names, **{name: _cells(values) for name, values in columns.items()}}
    rows.writerow(table)
    rows.writerows(zip(*table.values(), strict=True))
    for inner in {Path(file).parent for file in pictures}:
        (folder / inner).mkdir(exist_ok=True)
    starts = range(0, len(data), CHUNK)
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(lambda i: _write_pngs(data.images[i : i + CHUNK], folder, pictures[i : i + CHUNK]), starts):
            pass
    output.write(manifest, text.getvalue())


def _cells(values: NDArray[Any]) -> list[Any]:
    return values.tolist() if values.ndim == 1 else [";".join(map(str, row)) for row in values.tolist()]


def _write_pngs(images: NDArray[np.uint8], folder: Path, files: Sequence[str]) -> None:
    for image, file in zip(images, files, strict=True):
        pixels = image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, format="PNG", compress_level=1)
        write_atomically(f"{folder}/{file}", content.getvalue())


def folder_files(class_names: Sequence[str], labels: NDArray[np.int64]) -> list[str]:
    """Return the paths that `write_folder` writes, relative to its folder: a PNG file per image, then the manifest."""
    folders, counts, files = folder_names(class_names), Counter[int](), []
    for label in labels.tolist():
        files.append(f"{folders[label]}/{counts[label]:06d}.png")
        counts[label] += 1
    return [*files, MANIFEST]


def folder_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """Return a folder name for each class, distinct even if case and Unicode composition are ignored."""
    folders: list[str] = []
    taken: set[str] = set()
    for name in class_names:
        escaped = escape_name(name)
        for folder in (escaped, *(f"{escaped}%~{n}" for n in range(2, len(class_names) + 2))):
            if (key := unicodedata.normalize("NFC", folder.casefold())) not in taken:
                break
        taken.add(key)
        folders.append(folder)
    return tuple(folders)


def escape_name(name: str) -> str:
    """Return `name` as a safe folder name on Windows, macOS and Linux, with unsafe characters escaped as %XX."""
    escaped = UNSAFE.sub(lambda match: f"%{ord(match[0]):02X}", name)
    if WINDOWS_DEVICES.fullmatch(escaped) or escaped.lower() in (*SPLITS, MANIFEST):
        escaped = f"%{ord(escaped[0]):02X}{escaped[1:]}"
    if len(escaped.encode()) > MAX_NAME_BYTES:
        escaped = f"{escaped[: MAX_NAME_BYTES // 5]}%~{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:12]}"
    return escaped or "%"


def dump_npz(data: LabelledImages, columns: Mapping[str, NDArray[Any]]) -> bytes:
    """Serialise as compressed .npz: train_images, train_labels, class_names, and `columns`, one row per image.

    The names of the columns get `train_` in front; the column `seed` becomes train_seeds.
    """
    images = data.images[:, 0] if data.channels == 1 else data.images.transpose(0, 2, 3, 1)
    arrays = {
        "train_images": images,
        "train_labels": data.labels[:, None],
        "class_names": np.array(data.class_names),
        **{COLUMN_NAMES.get(name, f"train_{name}"): values for name, values in columns.items()},
    }
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    return content.getvalue()


def read_scores(folder: Path) -> NDArray[np.float64] | None:
    """Return the scores of the generated images in `folder`, in the order of the images, or None if there are none.

    Reads the output of `write_folder` or `dump_npz`. If a table has splits, only training images are used. Raises
    `SourceError` unless the scores are finite numbers, one per image.
    """
    archives = list(folder.glob("*.npz"))
    if (folder / MANIFEST).is_file():
        return _scores_in_table(folder / MANIFEST)
    return _scores_in_archive(archives[0]) if len(archives) == 1 else None


def _scores_in_table(path: Path) -> NDArray[np.float64] | None:
    rows = [row for row in read_rows(path, used=("scores", "split")) if row[1].get("split") in (None, "", "train")]
    texts = [row.get("scores") for _, row in rows]
    if not all(texts):
        return None
    scores = np.empty(len(rows), np.float64)
    for i, (where, text) in enumerate(zip((where for where, _ in rows), texts, strict=True)):
        try:
            scores[i] = float(text or "")
        except ValueError:
            scores[i] = np.nan
        if not np.isfinite(scores[i]):
            raise SourceError(f"{where}: expected a finite number as the score, got {quoted(text)}")
    return scores if len(scores) else None


def _scores_in_archive(path: Path) -> NDArray[np.float64] | None:
    content = read_arrays(path, ("train_scores", "train_labels"))
    if not {"train_scores", "train_labels"} <= set(content):
        return None
    scores, count = content["train_scores"], content["train_labels"].size
    if scores.shape != (count,) or scores.dtype.kind not in "iuf" or not np.isfinite(scores).all():
        raise SourceError(
            f"{path}: train_scores: expected {count} finite numbers, one per image, got {scores.dtype} of shape "
            f"{scores.shape}"
        )
    return scores.astype(np.float64) if count else None
