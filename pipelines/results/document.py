"""results.json as a document that programs may rely on: its form, from which its JSON Schema comes, and its reading.

Numbers of a metric are in the metric's own scale: accuracies are 0 to 1, the log loss is in nats. More keys may follow
in later versions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from augment.files import read_json

Interval = tuple[float, float]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow")


class Dataset(_Part):
    """The images."""

    name: str = Field(description="Of the source.")
    classes: list[str] = Field(description="K names, in the order of the labels.")
    train_per_class: dict[str, int] = Field(description="Training images of each class.")
    test_size: int = Field(description="Test images; of several folds those of the first one.")
    image_size: int = Field(description="Height and width in px.")


class ProtocolSummary(_Part):
    """How the repeats were drawn."""

    kind: str = Field(description="holdout, subsample or kfold.")
    repeats: int
    classifier_steps: int = Field(description="Optimiser steps of each classifier.")
    batch_size: int = Field(description="Images a step.")
    note: str = Field(description="What the interval leaves out, in a sentence.")
    why: str = Field(description="Why this protocol was taken.")
    correlation: float = Field(description="Of the repeats' gains, where their training sets overlap.")
    mix: str = Field(description="How synthetic images are mixed in, and how that was chosen.")
    sizes: list[int] | None = Field(None, description="Of a learning curve: training images of each class.")
    folds: int | None = Field(None, description="Of kfold.")
    rounds: int | None = Field(None, description="Of kfold: how often all images are tested.")


class Summary(_Part):
    """A metric of an arm over its repeats."""

    mean: float
    std: float | None = Field(description="Standard deviation (ddof 1); null with one repeat.")
    values: list[float] = Field(description="By repeat.")


class Comparison(_Part):
    """An arm against its baseline: gains are positive where the arm is better."""

    arm: str
    baseline: str
    metric: str
    mean_gain: float
    std_gain: float = Field(description="Of single repeats' gains.")
    correlation: float = Field(description="Of the repeats' gains.")
    ci95: Interval = Field(description="95 % interval of the mean gain, over the repeats.")
    ci95_bca: Interval | None = Field(description="The same by a BCa bootstrap; null with few repeats.")
    ci95_two_way: Interval | None = Field(description="Over repeats and test images; null where it is not defined.")
    p_value: float
    p_holm: float | None = Field(description="Adjusted by Holm; null for the headline, which is declared beforehand.")
    wins: int = Field(description="Repeats in which the arm is better.")
    repeats: int
    per_class_gain: list[float | None] = Field(description="In recall, by class; null without test images.")
    per_class_ci95: list[Interval | None]


class Recommendation(_Part):
    """What to train with, and why."""

    augment: bool
    arm: str | None = Field(description="Null if nothing was compared.")
    ratio: float = Field(description="Synthetic images per real image; 0 for none.")
    mix: dict[str, Any] | None = Field(None, description="Of the recommended arm.")
    verdict: str = Field("", description="helps, harms, inconclusive, too few repeats or nothing to compare.")
    largest_gain_not_excluded: float | None = None
    repeats_for_one_point: int | None = None
    sentence: str


class CurvePoint(_Part):
    """The results at one size of a learning curve."""

    per_class: int | None = Field(description="Training images of each class.")
    arms: dict[str, dict[str, Summary]]
    comparisons: list[Comparison]


class Results(_Part):
    """The content of results.json of `augment evaluate` and `augment run`."""

    dataset: Dataset
    protocol: ProtocolSummary
    arms: dict[str, dict[str, Summary]] = Field(description="By arm, by metric.")
    comparisons: list[Comparison] = Field(description="The first one is the headline.")
    fidelity: dict[str, Any] = Field(description="How the synthetic images compare with real ones; empty without any.")
    choice: dict[str, Any] | None = Field(None, description="How the mix was chosen on validation images.")
    recommendation: Recommendation
    confusion: dict[str, list[list[int]]] = Field({}, description="By arm, K x K counts; rows are true classes.")
    learning_curve: list[CurvePoint] = Field([], description="By size, where there are several.")
    seeds: list[int] = Field([], description="By repeat.")
    warnings: list[str] = Field([], description="What a reader should know of the images.")
    versions: dict[str, str] = Field({}, description="Of Python and of the libraries.")


def read_results(path: Path) -> dict[str, Any]:
    """The content of results.json. Raises `OutputError` if it is damaged."""
    return read_json(path, Results).model_dump(mode="json", exclude_unset=True)
