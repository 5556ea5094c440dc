"""Compare arms with their baselines: paired gains, intervals, tests and the gain of each class.

A gain is positive where the arm is better, also for metrics where lower is better. The statistics themselves are in
`statistics`; this module chooses the ones that fit how the repeats were drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from augment.errors import ConfigError
from pipelines.experiment.records import Record, records_of_arm
from pipelines.metric_specs import MEANS_OVER_IMAGES, METRICS, gains, image_weights
from pipelines.results.document import Comparison, Interval
from pipelines.results.statistics import (
    MIN_REPEATS_FOR_BCA,
    bca_interval,
    corrected_t_interval,
    corrected_t_p,
    holm,
    sign_flip_p,
)
from pipelines.results.two_way import two_way, two_way_interval


def compare(
    records: Sequence[Record],
    comparisons: Sequence[tuple[str, str]],
    metric: str = "accuracy",
    *,
    correlation: float = 0.0,
    test_labels: NDArray[np.int64] | None = None,
) -> list[Comparison]:
    """Compare each (arm, baseline): mean gain, 95 % interval, p-value, wins and the gains in class recall.

    correlation: between the gains of two repeats whose training sets overlap (`corrected_t_interval`). With 0 they
    share all of their training images or none, and the p-value is that of the sign-flip test. test_labels: labels of
    the test set, if all repeats share one, for the two-way interval; None if each repeat has its own.

    A learner without random numbers predicts the same in every repeat with the same images. Where both arms do, the
    repeats count as one, and the interval and the p-value are those over test images; a metric that is no mean over
    images allows no claim then.

    `p_holm` is None; `with_holm_p_values` adds it. Raises `ConfigError` for an unknown metric, for arms with different
    repeats or different compute, and for fewer than 2 repeats.
    """
    if metric not in METRICS:
        raise ConfigError(f"unknown metric {metric!r}; choose one of {', '.join(METRICS)}")
    by_arm = {name: records_of_arm(records, name) for pair in comparisons for name in pair}
    return [_compare_pair(pair, by_arm, metric, correlation, test_labels) for pair in comparisons]


def _compare_pair(
    pair: tuple[str, str],
    by_arm: Mapping[str, Sequence[Record]],
    metric: str,
    correlation: float,
    test_labels: NDArray[np.int64] | None,
) -> Comparison:
    arm_records, baseline_records = (by_arm[name] for name in pair)
    _check_paired(arm_records, baseline_records)
    differences = gains([r.metrics[metric] for r in arm_records], [r.metrics[metric] for r in baseline_records], metric)
    class_gains, class_intervals = _class_gains(arm_records, baseline_records, correlation)
    comparison = Comparison(
        arm=pair[0],
        baseline=pair[1],
        metric=metric,
        mean_gain=float(differences.mean()),
        std_gain=0.0 if np.ptp(differences) == 0 else float(differences.std(ddof=1)),
        correlation=correlation,
        ci95=corrected_t_interval(differences, correlation),
        ci95_bca=bca_interval(differences, seed=0)
        if len(differences) >= MIN_REPEATS_FOR_BCA and not correlation
        else None,
        ci95_two_way=_two_way_interval(arm_records, baseline_records, metric, test_labels, correlation),
        p_value=corrected_t_p(differences, correlation) if correlation else sign_flip_p(differences, seed=0),
        p_holm=None,
        wins=int((differences > 0).sum()),
        repeats=len(differences),
        per_class_gain=class_gains,
        per_class_ci95=class_intervals,
    )
    if test_labels is None or correlation or not (_repeats_agree(arm_records) and _repeats_agree(baseline_records)):
        return comparison
    return _over_images(comparison, image_gains(arm_records, baseline_records, test_labels), test_labels)


def _repeats_agree(records: Sequence[Record]) -> bool:
    """Return whether all repeats have the same metrics and predict the same classes."""
    first = records[0]
    return all(record.metrics == first.metrics and record.predicted == first.predicted for record in records)


def _over_images(comparison: Comparison, differences: NDArray[np.float32], labels: NDArray[np.int64]) -> Comparison:
    """Return a comparison whose repeats are all the same, with the interval and p-value over the test images."""
    single = {
        "repeats": 1,
        "wins": int(comparison.mean_gain > 0),
        "ci95_bca": None,
        "p_value": 1.0,
        "per_class_ci95": [
            _within_recall(two_way_interval(differences[:, labels == k], seed=0, satterthwaite=True))
            if (labels == k).sum() > 1
            else interval
            for k, interval in enumerate(comparison.per_class_ci95)
        ],
    }
    if comparison.ci95_two_way is None:
        return comparison.model_copy(update=single)
    weights = image_weights(labels, comparison.metric)
    estimate = two_way(differences, seed=0, weights=weights, satterthwaite=True)
    over = {"ci95": estimate.interval(), "ci95_two_way": estimate.interval(), "p_value": estimate.p_value()}
    return comparison.model_copy(update=single | {"over_images": True, **over})


def with_holm_p_values(comparisons: Sequence[Comparison], *, has_headline: bool = True) -> list[Comparison]:
    """Add `p_holm` to all comparisons but the headline, which is the first: it is declared in advance."""
    first = 1 if has_headline else 0
    adjusted = [*[None] * first, *holm([c.p_value for c in comparisons[first:]])]
    return [c.model_copy(update={"p_holm": p}) for c, p in zip(comparisons, adjusted, strict=False)]


def _two_way_interval(
    arm_records: Sequence[Record],
    baseline_records: Sequence[Record],
    metric: str,
    labels: NDArray[np.int64] | None,
    correlation: float,
) -> Interval | None:
    """Return the interval over repeats and test images.

    It is None if the repeats do not share a test set, and for metrics that are not means over images.
    """
    if labels is None or metric not in MEANS_OVER_IMAGES:
        return None
    weights = image_weights(labels, metric)
    differences = image_gains(arm_records, baseline_records, labels)
    return two_way_interval(differences, seed=0, weights=weights, correlation=correlation)


def image_gains(
    arm_records: Sequence[Record], baseline_records: Sequence[Record], labels: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the gain in correctness, -1, 0 or 1, of each repeat and test image: repeats x N."""
    gain: NDArray[np.float32] = correctness(arm_records, labels).astype(np.float32) - correctness(
        baseline_records, labels
    )
    return gain


def correctness(records: Sequence[Record], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether each of N test images was classified correctly: repeats x N."""
    correct: NDArray[np.bool_] = np.stack([r.predicted_labels for r in records]) == labels
    return correct


def _class_gains(
    arm_records: Sequence[Record], baseline_records: Sequence[Record], correlation: float
) -> tuple[list[float | None], list[Interval | None]]:
    """Return the mean gains in recall and their 95 % intervals by class; None for a class without test images."""
    recall = np.array([r.per_class_recall for r in arm_records], float)  # n x K, nan where None
    differences = recall - np.array([r.per_class_recall for r in baseline_records], float)
    by_class = [None if np.isnan(column).any() else column for column in differences.T]
    return (
        [None if d is None else float(d.mean()) for d in by_class],
        [None if d is None else _within_recall(corrected_t_interval(d, correlation)) for d in by_class],
    )


def _within_recall(interval: Interval) -> Interval:
    """Return the part of an interval that a gain in recall can reach: between -1 and 1."""
    low, high = interval
    return max(low, -1.0), min(high, 1.0)


def _check_paired(arm_records: Sequence[Record], baseline_records: Sequence[Record]) -> None:
    repeats = [[r.repeat for r in side] for side in (arm_records, baseline_records)]
    if repeats[0] != repeats[1] or not repeats[0] or len(set(repeats[0])) < len(repeats[0]):
        raise ConfigError(
            f"expected the same repeats, each once, in both arms of a comparison, got {repeats[0]} and "
            f"{repeats[1]}; run the missing ones"
        )
    # The steps of different learners do not compare: one converges without steps, another begins with trained weights.
    compute = [
        {(r.learner, r.steps, r.batch_size) for r in side if r.steps} for side in (arm_records, baseline_records)
    ]
    learners = [{learner for learner, _, _ in side} for side in compute]
    if learners[0] == learners[1] and compute[0] != compute[1]:
        raise ConfigError(
            "expected equal (learner, steps, batch size) in both arms of a comparison, "
            f"got {sorted(compute[0])} and {sorted(compute[1])}"
        )
