"""`augment compare`: several evaluations on the same test images, side by side, as a table and as an HTML page.

Figures of different test images say nothing about each other, so such evaluations are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from augment.errors import ConfigError
from augment.files import write_text
from augment.markers import read_marker
from augment.words import counted
from pipelines.metric_specs import METRICS
from pipelines.results.document import EVALUATION, RESULTS, Results, read_results
from pipelines.results.keeping import metric_of
from pipelines.results.report import page_template
from pipelines.results.wording import format_metrics

MARK = b'<meta name="generator" content="augment compare">'  # near the beginning of the page
TEST_IMAGES = "test images"  # how the fingerprints of test images end in the identity of an evaluation


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation. name: of its folder. test_images: the fingerprint of each different test set."""

    name: str
    results: Results
    test_images: frozenset[str]


@dataclass(frozen=True)
class Row:
    """An arm of an evaluation.

    metrics: mean ± standard deviation of each metric, in its unit. best: whether its mean of the headline's metric
    is the best of all rows.
    """

    evaluation: str
    arm: str
    metrics: dict[str, str]
    repeats: int
    best: bool


def read_evaluations(folders: Sequence[Path]) -> list[Evaluation]:
    """Read the evaluations of folders that `augment evaluate` or `augment run` wrote.

    Raises `ConfigError` if a folder is none, or if two were tested on different images or sizes of images.
    """
    unique = len({folder.name for folder in folders}) == len(folders)
    evaluations = [_read(folder, folder.name if unique else str(folder)) for folder in folders]
    first = evaluations[0]
    for other in evaluations[1:]:
        sizes = [one.results.dataset.image_size for one in (first, other)]
        if sizes[0] != sizes[1]:
            raise ConfigError(
                f"{first.name} was tested at {sizes[0]} px and {other.name} at {sizes[1]} px, so their metrics cannot "
                "be compared: evaluate with the same --image-size"
            )
        if other.test_images != first.test_images or other.results.dataset.classes != first.results.dataset.classes:
            raise ConfigError(
                f"{first.name} and {other.name} were tested on different images, so their metrics cannot be compared: "
                "give evaluations of one source with the same test images"
            )
    return evaluations


def _read(folder: Path, name: str) -> Evaluation:
    for path in (folder / EVALUATION, folder):
        marker = read_marker(path)
        if marker is not None and marker.command == "evaluate" and marker.finished:
            data = marker.identity.get("data") or {}
            fingerprints = frozenset(str(value) for key, value in data.items() if key.endswith(TEST_IMAGES))
            return Evaluation(name, read_results(path / RESULTS), fingerprints)
    raise ConfigError(
        f"{folder} holds no finished evaluation: expected the folder of `augment evaluate` or `augment run`"
    )


def rows(evaluations: Sequence[Evaluation]) -> list[Row]:
    """Return a row for each arm of each evaluation."""
    metric = metric_of(evaluations[0].results)
    means = [arm[metric].mean for one in evaluations for arm in one.results.arms.values()]
    best = max(means) if METRICS[metric].higher_is_better else min(means)
    return [
        Row(one.name, name, format_metrics(arm), len(arm[metric].values), arm[metric].mean == best)
        for one in evaluations
        for name, arm in one.results.arms.items()
    ]


def write_page(evaluations: Sequence[Evaluation], out: Path) -> None:
    """Write the HTML page, which loads nothing from outside; all text that comes from the user is escaped."""
    dataset = evaluations[0].results.dataset
    page = page_template("compare.html", {}).render(
        title=f"{counted(len(evaluations), 'evaluation')} on {dataset.test_size:,} test images of {dataset.name}",
        heads=[f"{metric.words}, {metric.unit_of_values}" for metric in METRICS.values()],
        metric=METRICS[metric_of(evaluations[0].results)].words,
        rows=rows(evaluations),
        evaluations=evaluations,
    )
    write_text(out, page)
