"""Labelled images on their way out: a folder of PNG files with a manifest, or one MedMNIST-style `.npz`.

`read_source` reads both back. Class names that some file system refuses, or takes for another one's, are escaped as
folder names; the manifest keeps the real names. The manifest is written last, so that a folder that has one is whole.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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

# For Windows, macOS and Linux at once: separators and wildcards, control characters and lone surrogates, a dot or a
# space at either end, and the percent sign itself
UNSAFE = re.compile(r'[<>:"/\\|?*%\x00-\x1f\x7f\ud800-\udfff]|^[. ]|[. ]$')
DEVICES = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³]) *(\..*)?", re.IGNORECASE)
LONGEST = 200  # bytes of a folder name; file systems take 255
CHUNK = 256  # images a task


def write_folder(
    data: LabelledImages, output: OutputFolder, *, seeds: Sequence[int], scores: Sequence[float] | None
) -> None:
    """<class>/<number>.png and manifest.csv with the columns path, label, seed, scores, all of them reserved before.

    One seed and one score an image; without scores there is no such column. Raises `OSError` if the disk refuses.
    """
    folder = output.path
    *pictures, manifest = folder_files(data.class_names, data.labels)
    text = io.StringIO()
    returns = "\r" in "".join(data.class_names)  # which QUOTE_MINIMAL would leave unquoted
    rows = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL)
    names = [data.class_names[label] for label in data.labels]
    columns = {"path": pictures, "label": names, "seed": seeds} | ({} if scores is None else {"scores": scores})
    rows.writerow(columns)
    rows.writerows(zip(*columns.values(), strict=True))
    for inner in {Path(file).parent for file in pictures}:
        (folder / inner).mkdir(exist_ok=True)
    starts = range(0, len(data), CHUNK)
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(lambda i: _write_pngs(data.images[i : i + CHUNK], folder, pictures[i : i + CHUNK]), starts):
            pass
    output.write(manifest, text.getvalue())


def _write_pngs(images: NDArray[np.uint8], folder: Path, files: Sequence[str]) -> None:
    for image, file in zip(images, files, strict=True):
        pixels = image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, format="PNG", compress_level=1)
        write_atomically(f"{folder}/{file}", content.getvalue())


def folder_files(class_names: Sequence[str], labels: NDArray[np.int64]) -> list[str]:
    """What `write_folder` writes, relative to its folder, with /: a picture for each image, then the manifest."""
    folders, seen, files = folder_names(class_names), Counter[int](), []
    for label in labels.tolist():
        files.append(f"{folders[label]}/{seen[label]:06d}.png")
        seen[label] += 1
    return [*files, MANIFEST]


def folder_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """A folder name for each class, distinct also where case and Unicode composition do not count."""
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
    """`name` where it is a safe folder name on Windows, macOS and Linux, else with %XX for what is not."""
    escaped = UNSAFE.sub(lambda match: f"%{ord(match[0]):02X}", name)
    if DEVICES.fullmatch(escaped) or escaped.lower() in (*SPLITS, MANIFEST):
        escaped = f"%{ord(escaped[0]):02X}{escaped[1:]}"
    if len(escaped.encode()) > LONGEST:
        escaped = f"{escaped[: LONGEST // 5]}%~{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:12]}"
    return escaped or "%"


def dump_npz(data: LabelledImages, *, seeds: Sequence[int], scores: Sequence[float] | None) -> bytes:
    """A compressed .npz of train_images, train_labels, class_names, train_seeds and, if given, train_scores."""
    images = data.images[:, 0] if data.channels == 1 else data.images.transpose(0, 2, 3, 1)
    arrays = {
        "train_images": images,
        "train_labels": data.labels[:, None],
        "class_names": np.array(data.class_names),
        "train_seeds": np.asarray(seeds, np.int64),
    }
    if scores is not None:
        arrays["train_scores"] = np.asarray(scores, np.float64)
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    return content.getvalue()


def read_scores(folder: Path) -> NDArray[np.float64] | None:
    """The scores beside the images that `write_folder` or `write_npz` left in `folder`, in their order, or None.

    Of a table with splits those of the training images. Raises `SourceError` if they are no finite numbers, one an
    image.
    """
    archives = list(folder.glob("*.npz"))
    if (folder / MANIFEST).is_file():
        return _scores_of_table(folder / MANIFEST)
    return _scores_of_archive(archives[0]) if len(archives) == 1 else None


def _scores_of_table(path: Path) -> NDArray[np.float64] | None:
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


def _scores_of_archive(path: Path) -> NDArray[np.float64] | None:
    content = read_arrays(path, ("train_scores", "train_labels"))
    if not {"train_scores", "train_labels"} <= set(content):
        return None
    scores, count = content["train_scores"], content["train_labels"].size
    if scores.shape != (count,) or scores.dtype.kind not in "iuf" or not np.isfinite(scores).all():
        raise SourceError(
            f"{path}: train_scores: expected {count} finite numbers, one an image, got {scores.dtype} of shape "
            f"{scores.shape}"
        )
    return scores.astype(np.float64) if count else None
