"""Print what `augment train` and `augment predict` found, as tables and sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.table import Table

from augment.dataset.partial_reads import skipped_note
from augment.words import counted, printable
from pipelines.cli.terminal import OUT
from pipelines.metric_specs import METRICS, default_metric
from pipelines.model.card import caution_on_suspects
from pipelines.model.prediction import Predictions, Scores
from pipelines.model.saved_model import ClassifierMetadata

MAX_CLASSES = 20  # in a confusion matrix that is printed
WORST = 5  # confusions that are listed
BROKEN = 10  # broken files that are named


def print_model(metadata: ClassifierMetadata) -> None:
    """Print the recipe, and what the images that were left out show."""
    OUT.print(f"recipe: {metadata.recipe.why}")
    validation = metadata.cross_validation
    if validation is None:
        OUT.print("no class has two images, so the model could not be cross-validated")
        return
    name = default_metric(metadata.train_per_class)
    before, after = (100 * s["expected_calibration_error"] for s in (validation.before, validation.after))
    OUT.print(
        f"cross-validated {METRICS[name].words} {100 * validation.after[name]:.1f} % "
        f"({counted(validation.images, 'image')}); calibration error {before:.1f} points as trained, "
        f"{after:.1f} points after calibration (temperature {metadata.temperature:.2f})",
        style="bold",
    )
    recognised = validation.recognised(metadata.classes)
    if 0 < len(recognised) <= MAX_CLASSES:
        OUT.print("recognised: " + ", ".join(f"{printable(name)} {text}" for name, text in recognised.items()))
    if after > before:
        OUT.print("calibration lowers the log loss, which it is fitted to, and not this error")
    if metadata.suspect_labels is None:
        OUT.print("labels were not checked; to check them: pip install 'augment-osgan[labels]'")
    elif metadata.suspect_labels:
        OUT.print(
            f"{counted(metadata.suspect_labels, 'label')} may be wrong: suspect-labels.csv in the model names them."
            f"{caution_on_suspects(metadata)}"
        )


def print_predictions(predictions: Predictions, classes: Sequence[str]) -> None:
    """Print how many pictures have which class, and the scores of labelled ones."""
    most = sorted(predictions.per_class.items(), key=lambda pair: -pair[1])[:10]
    most_common = ", ".join(f"{printable(name)} {count:,}" for name, count in most if count)
    OUT.print(f"{counted(predictions.pictures, 'picture')}: {most_common or 'none'}")
    if predictions.broken:
        OUT.print(skipped_note(predictions.broken, BROKEN))
    if predictions.scores is not None:
        _print_scores(predictions.scores, classes)


def _print_scores(scores: Scores, classes: Sequence[str]) -> None:
    if len(classes) <= MAX_CLASSES:
        table = Table("true \\ predicted", *(printable(name) for name in classes))
        for name, row in zip(classes, scores.confusion, strict=True):
            table.add_row(printable(name), *(str(count) for count in row))
        OUT.print(table)
    errors = scores.confusion * (1 - np.eye(len(classes), dtype=np.int64))
    worst = [np.unravel_index(index, errors.shape) for index in np.argsort(errors, axis=None)[::-1][:WORST]]
    for i, j in worst:
        if errors[i, j]:
            OUT.print(
                f"- {counted(int(errors[i, j]), 'picture')} of {printable(classes[i])} taken for "
                f"{printable(classes[j])}"
            )
    OUT.print(
        f"accuracy {100 * scores.accuracy:.1f} %, balanced accuracy {100 * scores.balanced_accuracy:.1f} %, "
        f"calibration error {100 * scores.calibration_error:.1f} points",
        style="bold",
    )
