"""Records of invented classifiers, with accuracies that can be checked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.config.arm_section import Arm
from pipelines.experiment.records import Record, encode_labels
from pipelines.results.comparisons import compare
from pipelines.results.document import Choice, Comparison, Dataset
from pipelines.results.wording import describe_mix

NONE, CLASSICAL = Arm(name="none"), Arm(name="classical", policy="light")
ALONE = Arm(name="synthetic", real=False, synthetic=True)
NONE_MORE = Arm(name="none+synthetic", synthetic=True)
CLASSICAL_MORE = Arm(name="classical+synthetic", policy="light", synthetic=True)
ARMS = [NONE, CLASSICAL, ALONE, NONE_MORE, CLASSICAL_MORE]
BASE = [0.71, 0.74, 0.69, 0.73, 0.72, 0.70]
GAIN = [0.02, 0.04, 0.01, 0.03, 0.05, 0.03]
UNCLEAR = [0.03, -0.04, 0.01, -0.02, 0.015, -0.013]  # mean -0.003, half width 2.5706 * (668e-6 / 6) ** 0.5 = 0.0271
DATASET = Dataset(name="toy", classes=["a", "b"], train_per_class={"a": 9, "b": 8}, test_size=30, image_size=28)


def record(repeat: int, arm: str, accuracy: float, **other: Any) -> Record:
    return Record.model_validate(
        {
            "repeat": repeat,
            "arm": arm,
            "fold": "",
            "size": None,
            "metrics": {
                "accuracy": accuracy,
                "balanced_accuracy": accuracy - 0.1,
                "macro_f1": accuracy - 0.2,
                "pairwise_auc": 0.9,
                "log_loss": 2 - accuracy,
                "expected_calibration_error": 0.1,
            },
            "per_class_recall": [accuracy, 0.5],
            "confusion": [[7, 3], [8, 12 + repeat]],
            "predicted": encode_labels(np.arange(30) % 2),
            "seed": 40 + repeat,
            "steps": 300,
            "batch_size": 32,
            "seconds": 1.5,
            "mix": {},
            **other,
        }
    )


def records_of(**accuracies: Sequence[float]) -> list[Record]:
    """Records of arms by name, in an order in which a grid run in parallel may end."""
    done = [record(r, arm, values[r]) for arm, values in accuracies.items() for r in range(len(values))]
    return done[::-1]


def two_arms(gain: Sequence[float] = GAIN) -> list[Record]:
    more = [b + g for b, g in zip(BASE, gain, strict=False)]
    return records_of(none=BASE[: len(gain)], **{"none+synthetic": more})


def chosen(arm: str, mix: dict[str, Any], **other: Any) -> Choice:
    """A mix that was chosen for an arm on validation images, where it showed a gain."""
    figures = {"mean_gain": 0.012, "lower_bound": 0.001, "confidence": 0.975, "gain_shown": True}
    names = {"words": describe_mix(mix), "candidates": {}, "candidates_tried": 1, "by_fold": {}}
    return Choice.model_validate({"arm": arm, "mix": mix, **figures, **names, **other})


def headline(gain: Sequence[float], metric: str = "accuracy", **options: Any) -> Comparison:
    return compare(two_arms(gain), [("none+synthetic", "none")], metric, **options)[0]
