"""Print what `augment train` and `augment predict` found, as tables and sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.table import Table

from augment.words import counted, printable
from pipelines.cli.terminal import OUT
from pipelines.metric_specs import METRICS, default_metric
from pipelines.model.prediction import Figures, Predictions
from pipelines.model.saved_model import ModelAbout

MOST_CLASSES = 20  # in a confusion matrix that is printed
WORST = 5  # confusions that are listed


def print_model(about: ModelAbout) -> None:
    """Print the recipe, and what the images that were left out show."""
    OUT.print(f"recipe: {about.recipe.why}")
    validation = about.cross_validation
    if validation is None:
        OUT.print("no class has two images, so nothing is known about images that the model has not seen")
        return
    name = default_metric(about.train_per_class)
    before, after = (100 * s["expected_calibration_error"] for s in (validation.before, validation.after))
    OUT.print(
        f"cross-validated {METRICS[name].words} {100 * validation.after[name]:.1f} % "
        f"({counted(validation.images, 'image')}); calibration error {before:.1f} points as trained, "
        f"{after:.1f} points after calibration (temperature {about.temperature:.2f})",
        style="bold",
    )
    if about.suspect_labels is None:
        OUT.print("labels were not checked; to check them: pip install 'augment-osgan[labels]'")
    elif about.suspect_labels:
        OUT.print(f"{counted(about.suspect_labels, 'label')} may be wrong: suspect-labels.csv in the model names them")


def print_predictions(predictions: Predictions, classes: Sequence[str]) -> None:
    """Print how many pictures have which class, and the figures of labelled ones."""
    most = sorted(predictions.per_class.items(), key=lambda pair: -pair[1])[:10]
    listed = ", ".join(f"{printable(name)} {count:,}" for name, count in most if count)
    OUT.print(f"{counted(predictions.pictures, 'picture')}: {listed or 'none'}")
    if predictions.broken:
        first, others = predictions.broken[0], len(predictions.broken) - 1
        OUT.print(f"{counted(1 + others, 'broken file')} skipped: {printable(first)}" + (" ..." if others else ""))
    if predictions.figures is not None:
        _print_figures(predictions.figures, classes)


def _print_figures(figures: Figures, classes: Sequence[str]) -> None:
    if len(classes) <= MOST_CLASSES:
        table = Table("true \\ predicted", *(printable(name) for name in classes))
        for name, row in zip(classes, figures.confusion, strict=True):
            table.add_row(printable(name), *(str(count) for count in row))
        OUT.print(table)
    errors = figures.confusion * (1 - np.eye(len(classes), dtype=np.int64))
    worst = [np.unravel_index(place, errors.shape) for place in np.argsort(errors, axis=None)[::-1][:WORST]]
    for i, j in worst:
        if errors[i, j]:
            OUT.print(
                f"- {counted(int(errors[i, j]), 'picture')} of {printable(classes[i])} taken for "
                f"{printable(classes[j])}"
            )
    OUT.print(
        f"accuracy {100 * figures.accuracy:.1f} %, balanced accuracy {100 * figures.balanced_accuracy:.1f} %, "
        f"calibration error {100 * figures.calibration_error:.1f} points",
        style="bold",
    )
