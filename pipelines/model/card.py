"""The model card of a MODEL folder, README.md: what was trained, on what, how good it is, and what it is not for.

Its parts follow Mitchell et al., "Model Cards for Model Reporting", arXiv 1810.03993.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from augment.words import counted, printable
from pipelines.metric_specs import METRICS, default_metric
from pipelines.results.arm_words import describe_arm
from pipelines.results.wording import describe_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.model.recipe import Measured, Recipe
    from pipelines.model.saved_model import ClassifierMetadata

NOT_FOR = (
    "Pictures of other things than these classes: the model always names one of its classes, however little a picture "
    "looks like any of them.",
    "Pictures taken under other conditions than the training images (camera, light, distance, cropping): the figures "
    "above hold for pictures like those.",
    "Decisions about people, or decisions that nobody checks, without a test of your own.",
)


MAX_SUSPECTS = 0.1  # of the images; labels are rarely wrong more often


def model_card(metadata: ClassifierMetadata) -> str:
    """Return the card as Markdown."""
    kind = counted(metadata.members, "classifier")
    size = f"{metadata.image_size} x {metadata.image_size} px, {'grey' if metadata.channels == 1 else 'in colour'}"
    lines = [
        f"# A classifier of {len(metadata.classes)} classes",
        "",
        f"Trained by `augment train` on {sum(metadata.train_per_class.values()):,} images of "
        f"{printable(metadata.source)}. It reads pictures as {size} ({metadata.resize}).",
        "",
        "    augment predict MODEL PICTURES --out predictions.csv",
        "",
        "## How good it is",
        "",
        *_accuracy(metadata),
        "",
        "## What was trained",
        "",
        f"- {kind}{'; their probabilities are averaged' if metadata.members > 1 else ''}, with the temperature "
        f"{metadata.temperature:.2f}.",
        f"- The recipe: {metadata.recipe.why}.",
        f"- The arm: {_arm(metadata.recipe)}.",
        "",
        *_classes(metadata),
        "",
        f"The fingerprint of the images is {metadata.fingerprint}. Everything else is in model.json.",
        "",
        "## What it must not be used for",
        "",
        *(f"- {sentence}" for sentence in NOT_FOR),
        "",
    ]
    return "\n".join(lines)


def _accuracy(metadata: ClassifierMetadata) -> list[str]:
    lines = [*_measured(metadata.recipe.measured, metadata.differs_from_run), *_cross_validated(metadata)]
    if metadata.suspect_labels:
        lines.append(
            f"- {counted(metadata.suspect_labels, 'training image')} with a label that looks wrong: suspect-labels.csv."
            f"{caution_on_suspects(metadata)}"
        )
    return lines


def caution_on_suspects(metadata: ClassifierMetadata) -> str:
    """Return a sentence for suspects so many that most are errors of the classifier; empty if they are few."""
    validation, suspects = metadata.cross_validation, metadata.suspect_labels or 0
    if validation is None or suspects <= MAX_SUSPECTS * validation.images:
        return ""
    accuracy = 100 * validation.after["accuracy"]
    return (
        f" Most of these are probably errors of the classifier, which is right for {accuracy:.0f} % of the images that "
        "it has not seen."
    )


def _measured(measured: Measured | None, differs: Sequence[str]) -> list[str]:
    """Return what the run says of the recipe; nothing without a run. differs: from `differences_from_run`."""
    if measured is None:
        return []
    best = f" If it was chosen as the best of {counted(measured.arms, 'arm')}, the figure may be a little too good."
    mean = describe_mean(measured.metric, measured.mean, (measured.low, measured.high), measured.repeats)
    figure = f"for single classifiers: {mean}"
    first = f"**Measured by the run, {figure}**, on images that they had not seen."
    if differs:
        first = f"The run measured {' and '.join(differs)}, {figure}, so this figure is not that of this model."
    return [
        f"- {first} {measured.leaves_out}{best if measured.arms > 1 else ''}",
        f"- The answer of the run: {measured.answer}",
    ]


def _cross_validated(metadata: ClassifierMetadata) -> list[str]:
    validation = metadata.cross_validation
    if validation is None:
        return ["- No class has two images, so it could not be cross-validated: its accuracy on new images is unknown."]
    name, error = default_metric(metadata.train_per_class), "expected_calibration_error"
    before, after = (100 * scores[error] for scores in (validation.before, validation.after))
    shifted = metadata.recipe.arm.is_cross_fitted
    fitted = "the operating point and the temperature change" if shifted else "the temperature changes"
    worse = " It lowers the log loss, which it was fitted to." if after > before else ""
    return [
        f"- Cross-validated: ensembles that were trained on four fifths of the images have {METRICS[name].words} "
        f"{100 * validation.after[name]:.1f} % on the rest ({counted(validation.images, 'image')} in all). This model "
        f"has learnt from all of these images.{_seen_before(metadata.recipe)}",
        f"- Calibration: {fitted} the calibration error from {before:.1f} to {after:.1f} points, on the predictions "
        f"that it was fitted on.{worse}",
    ]


def _seen_before(recipe: Recipe) -> str:
    """Return a sentence on what had seen the images that were left out; empty if nothing had."""
    seen = ["the generator"] if recipe.generator is not None else []
    seen += ["the classifiers that score images or give soft labels"] if recipe.arm.needs_cross_fitting else []
    words = " and ".join(seen)
    return f" {words[0].upper()}{words[1:]} had seen the images left out, so this may be too good." if seen else ""


def _classes(metadata: ClassifierMetadata) -> list[str]:
    """Return a table of the classes, with the images that were recognised when they were left out, if it is known."""
    validation = metadata.cross_validation
    recognised = {} if validation is None else validation.recognised(metadata.classes)
    head = ["class", "training images", *(["recognised, cross-validated"] if recognised else [])]
    rows = [
        [printable(name), f"{count:,}", *([recognised[name]] if recognised else [])]
        for name, count in metadata.train_per_class.items()
    ]
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def _arm(recipe: Recipe) -> str:
    return f"{recipe.arm.name}, {describe_arm(recipe.arm, recipe.evaluate.ratio)}"
