"""Compute the plots of the report from the content of results.json: values, axes and positions on them.

The template draws them as SVG with positions in percent of the width (`pipelines.results.svg`). Arms differ by marker
and dashes, never by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from statistics import median_low
from typing import Any

from pipelines.metric_specs import METRICS, Metric, gains
from pipelines.results.document import Comparison, CurvePoint, Results, Summary
from pipelines.results.svg import Scale, downsample, scale_over

MATRIX_CLASSES = 20  # with more classes, the cells of a confusion matrix are too small for numbers
MAX_REACH = 8  # a row that reaches more than 8 times as far as the median row is not on the axis
DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 4")  # of the lines in a learning curve, in the order of the arms


def gain_plot(results: Results) -> dict[str, Any] | None:
    """Return a row for each comparison: the mean gain, its intervals and the repeats, in the metric's unit.

    A row that reaches too far is not drawn, because all other gains would be too small to see beside it; this often
    happens for synthetic images alone. Its `beyond` is then -1 (too far left) or 1 (too far right), otherwise 0.
    """
    if not results.comparisons:
        return None
    metric = METRICS[results.comparisons[0].metric]
    rows = [_gain_row(results.arms, comparison, metric) for comparison in results.comparisons]
    values = [(*row["points"], *row["ci95"], *(row["two_way"] or ())) for row in rows]
    reaches = [max(map(abs, row_values)) for row_values in values]
    limit = max(reaches[0], MAX_REACH * median_low(reaches))  # the headline is always drawn
    for row, reach in zip(rows, reaches, strict=True):
        row["beyond"] = int(math.copysign(reach > limit, row["mean"]))
    near = (row_values for row_values, row in zip(values, rows, strict=True) if not row["beyond"])
    return {"metric": metric, "rows": rows, "scale": scale_over([0.0, *chain(*near)])}


def _gain_row(arms: Mapping[str, Mapping[str, Summary]], comparison: Comparison, metric: Metric) -> dict[str, Any]:
    name = comparison.metric
    values, baseline_values = (arms[arm][name].values for arm in (comparison.arm, comparison.baseline))
    intervals = {"ci95": comparison.ci95, "two_way": comparison.ci95_two_way, "bca": comparison.ci95_bca}
    scaled = {key: [end * metric.scale for end in ends] if ends else None for key, ends in intervals.items()}
    return {
        **comparison.model_dump(),
        **scaled,
        "points": [float(g) for g in gains(values, baseline_values, name) * metric.scale],
        "mean": comparison.mean_gain * metric.scale,
    }


def class_gains(results: Results) -> dict[str, Any] | None:
    """Return `rows`, (name, count, value) per class, the largest first, their `scale` and the fields of the headline.

    The result is None without a comparison or without test images. count: of training images; None if it is the same
    for all, or drawn again in each repeat. value: (gain, low, high) in points of recall; None without test images.
    """
    if not results.comparisons:
        return None
    headline = results.comparisons[0]
    rows, known = [], [0.0]
    counts: Mapping[str, int | None] = results.dataset.train_per_class
    if len(set(counts.values())) == 1 or results.protocol.kind == "imbalance":
        counts = dict.fromkeys(counts)
    for name, gain, ends in zip(results.dataset.classes, headline.per_class_gain, headline.per_class_ci95, strict=True):
        value = None if gain is None else (100 * gain, *(100 * end for end in ends or ()))
        known += value or ()
        rows.append((name, counts[name], value))
    rows.sort(key=lambda row: -(row[1] or 0))
    return {"rows": rows, "scale": scale_over(known), **headline.model_dump()} if len(known) > 1 else None


def confusion_matrices(results: Results) -> list[dict[str, Any]]:
    """Return the matrices of the headline's arm and baseline: K x K fractions of the true class.

    A row without test images has None. `shows_numbers`: whether the cells have room for numbers.
    """
    confusion, comparisons = results.confusion, results.comparisons
    if not confusion or not comparisons:
        return []
    matrices = []
    for arm in (comparisons[0].arm, comparisons[0].baseline):
        rows = [[count / sum(row) if sum(row) else None for count in row] for row in confusion[arm]]
        matrices.append({"arm": arm, "rows": rows, "shows_numbers": len(rows) <= MATRIX_CLASSES})
    return matrices


def learning_curve(results: Results) -> dict[str, Any] | None:
    """Return each arm's metric and the headline's gain by images per class (logarithmic axis); None with one size."""
    points = results.learning_curve
    if not points or not points[0].comparisons:
        return None
    headline = points[0].comparisons[0]
    metric = METRICS[headline.metric]
    sizes = [point.per_class for point in points]
    across = Scale(math.log(sizes[0]), math.log(sizes[-1]), tuple(map(math.log, sizes)))
    means = {arm: [point.arms[arm][headline.metric].mean * metric.scale for point in points] for arm in points[0].arms}
    up = scale_over([v for values in means.values() for v in values], intervals=4)
    lines = [
        {
            "name": arm,
            "dash": DASHES[(i + i // len(DASHES)) % len(DASHES)],  # shifted each time that the markers repeat
            "points": _points(across, up, values),
            "values": values,
        }
        for i, (arm, values) in enumerate(means.items())
    ]
    rows = [_curve_row(point, metric) for point in points]
    return {
        "metric": metric,
        "arm": headline.arm,
        "baseline": headline.baseline,
        "sizes": [(size, across.at(math.log(size))) for size in sizes],
        "up": up,
        "lines": lines,
        "gain_up": scale_over([0.0, *(end for row in rows for end in row["ci95"])], intervals=4),
        "rows": rows,
    }


def _curve_row(point: CurvePoint, metric: Metric) -> dict[str, Any]:
    """Return the headline's gain at one size, in the metric's unit."""
    comparison = point.comparisons[0]
    scaled = {
        "size": point.per_class,
        "mean": comparison.mean_gain * metric.scale,
        "ci95": [end * metric.scale for end in comparison.ci95],
    }
    return scaled | comparison.model_dump(include={"p_value", "p_holm", "wins", "repeats"})


def _points(across: Scale, up: Scale, values: Sequence[float]) -> list[tuple[float, float]]:
    """Return (x, y) of each value in percent of the width and of the height, measured from the top."""
    return [(across.at(x), round(100 - up.at(y), 2)) for x, y in zip(across.ticks, values, strict=True)]


def training_curves(losses: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> list[dict[str, Any]]:
    """Return the points and axes of a line for each curve. losses: (steps, values) by name."""
    curves = []
    for name, (steps, values) in losses.items():
        x, y = downsample(steps, values)
        if len(x):
            across, up = scale_over(x), scale_over(y, intervals=3)
            points = " ".join(f"{across.at(a)},{round(100 - up.at(b), 2)}" for a, b in zip(x, y, strict=True))
            curves.append({"name": name, "across": across, "up": up, "points": points, "last": y[-1]})
    return curves
