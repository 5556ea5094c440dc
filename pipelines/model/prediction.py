"""`augment predict`: classify pictures by a model, write a table, and measure the accuracy if they are labelled.

The table is written while the pictures are read, so their number does not matter. It takes its name when it is
complete. Columns: path, class, entropy (in nats), label if a picture has one, and the probability of each class under
its name, or with `top` the most probable classes with their probabilities. The column of a class that is called like
one of the first columns is called `probability of` this name.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from augment.dataset.images import image_hashes
from augment.dataset.partial_reads import NONE_PARTIAL
from augment.dataset.pictures import Format, Picture, decoded, find_pictures
from augment.errors import ConfigError
from augment.files import errors_naming, replacing
from augment.runtime import Runtime, Task
from augment.words import counted, quoted
from classifiers.metrics import calibration_error
from classifiers.training import predict as predict_logits
from pipelines.model.saved_model import SavedModel

COLUMNS = ("path", "class", "entropy")  # the first ones
HEADER = ",".join(COLUMNS).encode()  # that the table begins with


class _StoppedError(Exception):
    """The work was stopped, and the table is not complete."""


@dataclass(frozen=True)
class Scores:
    """How many of N labelled pictures the model classifies correctly. confusion: K x K; rows are labels."""

    accuracy: float
    balanced_accuracy: float
    calibration_error: float
    confusion: NDArray[np.int64]


@dataclass(frozen=True)
class Predictions:
    """What was predicted. scores: None if the pictures have no labels, or others than the classes of the model."""

    pictures: int
    per_class: dict[str, int]
    scores: Scores | None
    broken: list[str]


@dataclass
class _Labelled:
    """The labels of pictures with what was predicted of them, so far."""

    labels: list[int] = field(default_factory=list)
    predicted: list[int] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)

    def add(self, labels: list[int], probabilities: NDArray[np.float64]) -> None:
        """Add n pictures. probabilities: n x K."""
        self.labels += labels
        self.predicted += probabilities.argmax(1).tolist()
        self.confidence += probabilities.max(1).tolist()

    def scores(self, num_classes: int) -> Scores:
        """Return the scores of all pictures so far."""
        labels, predicted = np.array(self.labels), np.array(self.predicted)
        matrix: NDArray[np.int64] = confusion_matrix(labels, predicted, labels=range(num_classes))
        recalls = np.diag(matrix)[matrix.any(1)] / matrix.sum(1)[matrix.any(1)]
        correct = labels == predicted
        return Scores(
            accuracy=float(correct.mean()),
            balanced_accuracy=float(recalls.mean()),
            calibration_error=calibration_error(np.array(self.confidence), correct),
            confusion=matrix,
        )


def predict(
    model: SavedModel,
    inputs: Sequence[str],
    out: Path,
    runtime: Runtime,
    *,
    top: int | None = None,
    skip_broken: bool = False,
) -> Predictions | None:
    """Classify the pictures of `inputs` and write the table `out`. Returns None if it was stopped.

    inputs: picture files, folders and sources; see `find_pictures`. top: how many of the most probable classes are
    written; None: the probabilities of all. Raises `SourceError` if a picture cannot be read, unless broken files are
    skipped, and `ConfigError` if `top` is not from 1 to the number of classes.
    """
    classes = model.metadata.classes
    if top is not None and not 1 <= top <= len(classes):
        raise ConfigError(f"--top {top}: expected 1 to {len(classes)}, the number of classes of the model")
    pictures = _find(inputs, runtime)
    labelled = _Labelled() if _are_labelled(pictures, classes, runtime) else None
    with errors_naming(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            replacing(str(out)) as descriptor,
            os.fdopen(os.dup(descriptor), "w", newline="", encoding="utf-8", errors="backslashreplace") as file,
        ):
            table = _Table(file, classes, top, with_labels=any(picture.class_name for picture in pictures))
            classified = _classify(model, pictures, table, labelled, runtime, skip_broken=skip_broken)
            if classified is None:
                raise _StoppedError
    except _StoppedError:
        return None
    except OSError as error:
        error.filename = error.filename or str(out)  # an error of writing does not name its file
        raise
    counts, broken = classified
    scores = labelled.scores(len(classes)) if labelled and labelled.labels else None
    return Predictions(int(counts.sum()), dict(zip(classes, counts.tolist(), strict=True)), scores, broken)


def _classify(
    model: SavedModel,
    pictures: Sequence[Picture],
    table: _Table,
    labelled: _Labelled | None,
    runtime: Runtime,
    *,
    skip_broken: bool,
) -> tuple[NDArray[np.int64], list[str]] | None:
    """Return how many pictures have which class, int64, K, and the broken files; None if it was stopped."""
    metadata, broken, done, seen, task = model.metadata, list[str](), 0, 0, Task("predict", len(pictures))
    partial = NONE_PARTIAL
    counts = np.zeros(len(metadata.classes), np.int64)
    runtime.observer.on_start(task)
    known, form = metadata.training_hashes(), Format(metadata.image_size, metadata.resize, metadata.channels)
    for batch in decoded(pictures, form, runtime.jobs, skip_broken=skip_broken):
        p = _probabilities(model, batch.images)
        table.write(batch.pictures, p)
        counts += np.bincount(p.argmax(1), minlength=len(counts))
        if labelled is not None:
            labelled.add([metadata.classes.index(str(picture.class_name)) for picture in batch.pictures], p)
        seen += sum(digest in known for digest in image_hashes(batch.images))
        broken += batch.broken
        partial = partial.plus([batch.partial_reads])
        done += len(batch.pictures) + len(batch.broken)
        runtime.observer.on_progress(task, done, {})
        if runtime.stopped():
            return None
    runtime.observer.on_end(task, {})
    for sentence in partial.sentences():
        runtime.observer.on_note(sentence)
    if seen:
        harm = "these scores are too optimistic for" if labelled else "it is more confident of them than of"
        runtime.observer.on_note(
            f"the model was trained on {seen:,} of these {counted(int(counts.sum()), 'picture')}, so {harm} new ones; "
            "`augment train --keep-test` leaves test images out"
        )
    return counts, broken


def _find(inputs: Sequence[str], runtime: Runtime) -> list[Picture]:
    pictures: list[Picture] = []
    for spec in inputs:
        found, notes = find_pictures(spec)
        pictures += found
        for note in notes:
            runtime.observer.on_note(note)
    return pictures


def _are_labelled(pictures: Iterable[Picture], classes: Sequence[str], runtime: Runtime) -> bool:
    """Return whether all pictures have labels that the model knows, and note an unknown one."""
    names = {picture.class_name for picture in pictures}
    if None in names:
        if len(names) > 1:
            runtime.observer.on_note("no accuracy: some of the pictures have no label")
        return False
    if unknown := sorted(str(name) for name in names if name not in classes):
        known = ", ".join(map(quoted, classes))
        runtime.observer.on_note(f"no accuracy: the model has no class {quoted(unknown[0])}; its classes are {known}")
    return not unknown


def _probabilities(model: SavedModel, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the probabilities of the classes: float64, n x K."""
    if not len(images):
        return np.empty((0, len(model.metadata.classes)))
    p: NDArray[np.float64] = predict_logits(model.network, images).double().exp().numpy()
    return p


class _Table:
    """The table of predictions, with a line for each picture."""

    def __init__(self, file: IO[str], classes: Sequence[str], top: int | None, *, with_labels: bool) -> None:
        self.writer, self.classes, self.top, self.with_labels = csv.writer(file), classes, top, with_labels
        first = [*COLUMNS, *(["label"] if with_labels else [])]
        if top is None:
            columns = [f"probability of {name}" if name in first else name for name in classes]
        else:
            columns = [f"{name}_{rank}" for rank in range(1, top + 1) for name in ("class", "probability")]
        self.writer.writerow([*first, *columns])

    def write(self, pictures: Sequence[Picture], probabilities: NDArray[np.float64]) -> None:
        """Write the lines of n pictures. probabilities: n x K."""
        entropies = -(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(1)
        for picture, p, entropy in zip(pictures, probabilities, entropies, strict=True):
            order = (-p).argsort(kind="stable")[: self.top or 1]  # of equal ones the first, as for `class`
            ranked = [value for k in order for value in (self.classes[k], f"{p[k]:.6f}")]
            values = [f"{value:.6f}" for value in p] if self.top is None else ranked
            label = [picture.class_name or ""] if self.with_labels else []
            self.writer.writerow([picture.name, self.classes[int(p.argmax())], f"{entropy:.6f}", *label, *values])
