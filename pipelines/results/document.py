"""The format of results.json, which other programs may rely on, and the function that reads it.

The JSON Schema is derived from these models. Metrics are in their own scale: accuracies lie between 0 and 1, the log
loss is in nats. Later versions may add keys.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from augment.files import read_json
from pipelines.metric_specs import MIN_REPEATS_FOR_CLAIM

Interval = tuple[float, float]

RESULTS, REPORT = "results.json", "report.html"
EVALUATION = "evaluation"  # the folder of the evaluation, in the folder of an `augment run`


class Part(BaseModel):
    """The base of all parts of results.json. Parts do not change, and later versions may add keys."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Dataset(Part):
    """The images."""

    name: str = Field(description="Name of the source.")
    classes: list[str] = Field(description="K class names, in the order of the labels.")
    train_per_class: dict[str, int] = Field(description="Number of training images of each class.")
    test_size: int = Field(description="Number of test images; with several folds, of the first fold.")
    image_size: int = Field(description="Height and width in pixels.")
    fingerprint: str | None = Field(None, description="Hash of all images of the source with their labels.")


class ProtocolSummary(Part):
    """How the repeats were drawn."""

    kind: str = Field(description="holdout, subsample, imbalance or kfold.")
    repeats: int
    classifier_steps: int = Field(
        description="Optimiser steps of each network trained from random weights, or else of each fine-tuned one."
    )
    fine_tuned: bool = Field(False, description="Whether these are the steps of fine-tuned networks.")
    batch_size: int = Field(description="Images per step.")
    note: str = Field(description="A sentence on the sources of variance that the interval leaves out.")
    why: str = Field(description="Why this protocol was used.")
    correlation: float = Field(
        description="Between the gains of two repeats; above 0 if each drew its training images from one pool."
    )
    mix: str = Field(description="How synthetic images were mixed in, and how this mix was chosen.")
    sizes: list[int] | None = Field(None, description="Learning curve: the numbers of training images per class.")
    folds: int | None = Field(None, description="kfold: number of folds.")
    rounds: int | None = Field(None, description="kfold: how many times every image is tested.")
    large: int | None = Field(None, description="imbalance: training images of a large class.")
    small: int | None = Field(None, description="imbalance: training images of a small class.")
    large_classes: int | None = Field(None, description="imbalance: number of large classes.")


class Summary(Part):
    """One metric of one arm, over its repeats."""

    mean: float
    std: float | None = Field(description="Standard deviation (ddof 1); null with one repeat.")
    values: list[float] = Field(description="One value per repeat.")


class Comparison(Part):
    """An arm compared with its baseline; gains are positive where the arm is better."""

    arm: str
    baseline: str
    metric: str
    mean_gain: float
    std_gain: float = Field(description="Standard deviation of the gains of single repeats.")
    correlation: float = Field(description="Between the gains of two repeats.")
    ci95: Interval = Field(
        description="95 % interval of the mean gain over repeats, or over test images if `over_images`."
    )
    over_images: bool = Field(
        False,
        description="Whether all repeats were the same, so that they count as one, and ci95 and p_value are over test "
        "images.",
    )
    ci95_bca: Interval | None = Field(
        description="BCa bootstrap interval; null with fewer than 20 repeats, or if their training sets overlap."
    )
    ci95_two_way: Interval | None = Field(description="Interval over repeats and test images; null if undefined.")
    p_value: float
    p_holm: float | None = Field(description="Adjusted by Holm; null for the headline.")
    wins: int = Field(description="Number of repeats in which the arm is better.")
    repeats: int
    per_class_gain: list[float | None] = Field(description="Gain in recall per class; null without test images.")
    per_class_ci95: list[Interval | None]

    @property
    def allows_claim(self) -> bool:
        """Whether there are enough repeats for a claim, or the interval is over test images."""
        return self.over_images or self.repeats >= MIN_REPEATS_FOR_CLAIM

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies above or below 0."""
        low, high = self.ci95
        return not low <= 0 <= high


class Recommendation(Part):
    """Whether and how to train with synthetic images, and why."""

    augment: bool
    arm: str | None = Field(
        description="Arm to train with; null if there was nothing to compare, or if only arms without synthetic images "
        "were compared and none is shown to be better."
    )
    ratio: float = Field(description="Synthetic images per real image that are drawn; 0 for none.")
    mix: dict[str, Any] | None = Field(None, description="Mix of the recommended arm.")
    verdict: str = Field(
        "",
        description="helps, no better than a control, harms, another recipe is better, the recipes differ, "
        "inconclusive, too few repeats, or nothing to compare.",
    )
    largest_gain_not_excluded: float | None = Field(
        None, description="Upper end of the interval, at least 0, in the metric's own scale."
    )
    repeats_for_one_point: int | None = Field(
        None,
        description="Repeats that would show a gain of 0.01, in the scale of the metric, with 80 % power; null if no "
        "number would.",
    )
    repeats_for_two_points: int | None = Field(None, description="The same for a gain of 0.02.")
    limits: str = Field(
        "", description="Part of the sentence: which gain is still possible, if no change is shown; otherwise empty."
    )
    sentence: str


class Forecast(Part):
    """What twice as many training images would give an arm, estimated by what the second half of them gave."""

    arm: str
    metric: str
    at_half: float = Field(description="Mean of the metric with half of the training images of each class.")
    at_all: float = Field(description="Mean of the metric with all of them.")
    at_double: float = Field(description="Estimate of the metric with twice as many images of each class.")
    at_double_ci95: Interval = Field(description="95 % interval of this estimate, over the repeats.")
    times_for_one_point: float | None = Field(
        description="How many times as many images would raise the metric by 0.01; null if more than twice as many."
    )


class CurvePoint(Part):
    """The results at one size of a learning curve."""

    per_class: int = Field(description="Number of training images of each class.")
    arms: dict[str, dict[str, Summary]]
    comparisons: list[Comparison]


class Choice(Part):
    """How a mix was chosen on validation images: `choice` in results.json, and the content of choice.json."""

    arm: str = Field(description="Arm that the mix was chosen for.")
    mix: dict[str, Any] = Field(description="The mix with the largest mean gain over all folds.")
    words: str = Field(description="The mix in words.")
    mean_gain: float = Field(description="Mean gain of this mix on the validation images.")
    lower_bound: float = Field(description="Lower end of the interval of this gain.")
    confidence: float = Field(description="Confidence level of the interval: 1 - 0.05 / candidates.")
    gain_shown: bool = Field(description="Whether the lower bound is above 0.")
    candidates_tried: int
    candidates: dict[str, float] = Field(description="Mean gain of each candidate, by its description.")
    by_fold: dict[str, dict[str, Any]] = Field(description="The mix that was chosen in each fold.")


class Results(Part):
    """The content of results.json, which `augment evaluate` and `augment run` write."""

    dataset: Dataset
    protocol: ProtocolSummary
    arms: dict[str, dict[str, Summary]] = Field(description="Summary per arm and metric.")
    comparisons: list[Comparison] = Field(description="The first comparison is the headline.")
    fidelity: dict[str, Any] = Field(description="Synthetic images compared with real ones; empty without any.")
    choice: Choice | None = Field(None, description="How the mix was chosen on validation images.")
    recommendation: Recommendation
    unlabelled: str = Field("", description="What unlabelled images change; empty if no arm learns from them.")
    forecast: list[Forecast] = Field([], description="What more training images would give.")
    recipes: dict[str, str] = Field({}, description="What each arm is, in words.")
    keep: str = Field("", description="The arm to keep, with its metric; empty if no arm of real images was tested.")
    confusion: dict[str, list[list[int]]] = Field({}, description="K x K counts per arm; rows are true classes.")
    learning_curve: list[CurvePoint] = Field([], description="One point per size; empty with a single size.")
    seeds: list[int] = Field([], description="One seed per repeat.")
    warnings: list[str] = Field([], description="Warnings about the images.")
    versions: dict[str, str] = Field({}, description="Versions of Python and of the libraries.")


def to_json(part: Part) -> str:
    """Return the JSON text of a part or of all results, without the optional keys that were not set."""
    return json.dumps(part.model_dump(mode="json", exclude_unset=True), indent=1)


def read_results(path: Path) -> Results:
    """Return the content of results.json. Raises `OutputError` if the file is damaged."""
    return read_json(path, Results)
