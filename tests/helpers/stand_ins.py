"""Real images that stand in for synthetic ones, and the fidelity figures of them, for the tests of such figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import toy

from augment.dataset.images import LabelledImages
from augment.generators.sampling import SyntheticImages
from pipelines.config.reading import parse
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.folds import Fold
from pipelines.experiment.records import Record
from pipelines.results.fidelity_evaluation import mean_fidelity, measure_fidelity, measured_folds

CPU = torch.device("cpu")
SMALL = {"views": 4, "classifier": {"width": 8, "steps": 80, "batch_size": 32}}
CONFIG = parse(EvaluateConfig, SMALL, "the test")
NAMES = ("t-shirt", "trouser", "sandal", "bag")
OF_CLASSES = ("kid", "precision", "recall", "density", "coverage")


def record(accuracy: float, recall: list[float | None], arm: str = "gan-train", fold: str = "") -> Record:
    return toy.record(0, arm, accuracy, per_class_recall=recall, fold=fold)


RECORDS = [
    record(0.5, [0.1, 0.2, None, 0.4]),
    record(0.7, [0.3, 0.6, None, 0.6]),
    record(0.9, [1.0, 1.0, 1.0, 1.0], arm="synthetic"),
]


def part(source: LabelledImages, first: int, last: int) -> LabelledImages:
    """Images `first` to `last` of each class of a set of four classes."""
    places = [np.flatnonzero(source.labels == k)[first:last] for k in range(4)]
    return source.take(np.concatenate(places))


def fold_of(train: LabelledImages, test: LabelledImages, synthetic: LabelledImages, **others: Any) -> Fold:
    return Fold(train, test, synthetic=SyntheticImages(synthetic), **others)


def measure(fold: Fold, records: list[Record] = RECORDS) -> dict[str, Any]:
    return measure_all([fold], CONFIG, records)


def measure_all(folds: list[Fold], config: EvaluateConfig, records: list[Record]) -> dict[str, Any]:
    return mean_fidelity([measure_fidelity(fold, config, CPU) for fold in measured_folds(folds)], records)
