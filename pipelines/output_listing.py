"""`augment runs`: what the outputs of `augment` below a folder are, whether they are finished, and what they say."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from augment.errors import AugmentError
from augment.generators.runs import MODEL, GeneratorMetadata
from augment.markers import MARKER, read_marker
from augment.tensor_files import load_metadata
from augment.words import counted
from pipelines.metric_specs import METRICS, default_metric
from pipelines.model.saved_model import WEIGHTS, ClassifierMetadata
from pipelines.results.document import EVALUATION, RESULTS, read_results


@dataclass(frozen=True)
class Output:
    """An output folder. state: finished, unfinished or damaged. changed: when its marker was written last."""

    path: Path
    command: str
    state: str
    headline: str
    changed: datetime


def list_outputs(folder: Path) -> list[Output]:
    """Return the outputs in a folder and below it, by their paths; those inside of other outputs are left out."""
    return [_describe(path) for path in _outputs(folder)]


def _outputs(folder: Path) -> Iterator[Path]:
    for path, folders, files in os.walk(folder):
        if MARKER in files:
            folders.clear()
            yield Path(path)
        folders.sort()


def _describe(path: Path) -> Output:
    changed = datetime.fromtimestamp((path / MARKER).stat().st_mtime)
    try:
        marker = read_marker(path)
        assert marker is not None
        headline = HEADLINES.get(marker.command, _no_headline)(path) if marker.finished else ""
    except (AugmentError, OSError) as error:
        reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
        return Output(path, "?", "damaged", reason, changed)
    return Output(path, marker.command, "finished" if marker.finished else "unfinished", headline, changed)


def _run_headline(path: Path) -> str:
    return read_results(path / EVALUATION / RESULTS).recommendation.sentence


def _evaluation_headline(path: Path) -> str:
    return read_results(path / RESULTS).recommendation.sentence


def _generator_headline(path: Path) -> str:
    metadata = load_metadata(path / MODEL, GeneratorMetadata)
    images = counted(sum(metadata.train_per_class.values()), "image")
    return f"{metadata.kind} of {counted(len(metadata.classes), 'class')}, {images} of {metadata.name}"


def _classifier_headline(path: Path) -> str:
    metadata = load_metadata(path / WEIGHTS, ClassifierMetadata)
    kind = f"classifier of {counted(len(metadata.classes), 'class')}"
    if metadata.cross_validation is None:
        return kind
    name = default_metric(metadata.train_per_class)
    return f"{kind}, cross-validated {METRICS[name].words} {100 * metadata.cross_validation.after[name]:.1f} %"


def _no_headline(path: Path) -> str:
    return ""


HEADLINES: dict[str, Callable[[Path], str]] = {  # by the command that wrote the folder
    "run": _run_headline,
    "evaluate": _evaluation_headline,
    "fit": _generator_headline,
    "train": _classifier_headline,
}
