"""Compare arms with their baselines: paired gains, intervals, tests and the gain of each class.

A gain is positive where the arm is better, also for metrics where lower is better. The statistics themselves are in
`statistics`; this module chooses the ones that fit how the repeats were drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment.errors import ConfigError
from pipelines.config.sections import Arm
from pipelines.experiment.records import Record, records_of_arm
from pipelines.metric_specs import METRICS, gains, image_weights
from pipelines.results.statistics import (
    FEWEST_BCA,
    bca_interval,
    corrected_t_interval,
    corrected_t_p,
    holm,
    sign_flip_p,
    two_way_interval,
)


def declared_comparisons(arms: Sequence[Arm]) -> list[tuple[str, str]]:
    """Return the pairs (arm, baseline) to compare; the first one is the headline.

    The pairs depend only on the definitions of the arms, so they are declared before there is any result. In order:

    1. real and synthetic images against real images, with the same policy and the same kind of labels; arms with a
       classical policy come before arms without one;
    2. each policy against no policy, on real images;
    3. synthetic images alone against real images.
    """

    def kind(arm: Arm) -> tuple[str | None, bool]:
        return arm.policy, arm.soft_labels

    real_only = {kind(a): a.name for a in arms if a.real and not a.synthetic}
    by_policy = sorted(arms, key=lambda a: a.policy is None)  # the sort is stable, so ties keep the given order
    mixed = [a for a in by_policy if a.real and a.synthetic]
    synthetic_only = [a for a in by_policy if a.synthetic and not a.real]
    pairs = [(a.name, real_only[kind(a)]) for a in mixed if kind(a) in real_only]
    plain: tuple[str | None, bool] = (None, False)
    if plain in real_only:
        pairs += [(name, real_only[plain]) for other, name in real_only.items() if other != plain]
    return pairs + [(a.name, real_only[kind(a)]) for a in synthetic_only if kind(a) in real_only]


def compare(
    records: Sequence[Record],
    comparisons: Sequence[tuple[str, str]],
    metric: str = "accuracy",
    *,
    correlation: float = 0.0,
    test_labels: NDArray[np.int64] | None = None,
) -> list[dict[str, Any]]:
    """Return a dict for each (arm, baseline): mean gain, 95 % interval, p-value, wins and the gains in class recall.

    correlation: between the gains of two repeats whose training sets overlap (`corrected_t_interval`). With 0 the sets
    do not overlap, and the p-value is that of the sign-flip test. test_labels: labels of the test set, if all repeats
    share one, for the two-way interval; None if each repeat has its own.

    `std_gain` is the standard deviation of the gains of single repeats. `p_holm` is None until `set_holm_p_values` sets
    it. Raises `ConfigError` for an unknown metric, for arms with different repeats or different compute, and for fewer
    than 2 repeats.
    """
    if metric not in METRICS:
        raise ConfigError(f"unknown metric {metric!r}; choose one of {', '.join(METRICS)}")
    by_arm = {name: records_of_arm(records, name) for pair in comparisons for name in pair}
    return [
        {"arm": arm, "baseline": baseline, "metric": metric}
        | _compare_pair(by_arm[arm], by_arm[baseline], metric, correlation, test_labels)
        for arm, baseline in comparisons
    ]


def _compare_pair(
    arm_records: Sequence[Record],
    baseline_records: Sequence[Record],
    metric: str,
    correlation: float,
    test_labels: NDArray[np.int64] | None,
) -> dict[str, Any]:
    _check_paired(arm_records, baseline_records)
    differences = gains([r.metrics[metric] for r in arm_records], [r.metrics[metric] for r in baseline_records], metric)
    return {
        "mean_gain": float(differences.mean()),
        "std_gain": 0.0 if np.ptp(differences) == 0 else float(differences.std(ddof=1)),
        "correlation": correlation,
        "ci95": list(corrected_t_interval(differences, correlation)),
        "ci95_bca": list(bca_interval(differences, seed=0)) if len(differences) >= FEWEST_BCA else None,
        "ci95_two_way": _two_way_interval(arm_records, baseline_records, metric, test_labels, correlation),
        "p_value": corrected_t_p(differences, correlation) if correlation else sign_flip_p(differences, seed=0),
        "p_holm": None,
        "wins": int((differences > 0).sum()),
        "repeats": len(differences),
        **_class_gains(arm_records, baseline_records, correlation),
    }


def set_holm_p_values(comparisons: Sequence[dict[str, Any]]) -> None:
    """Set `p_holm` of all comparisons but the first: the headline is declared in advance, so it is not adjusted."""
    for other, adjusted in zip(comparisons[1:], holm([c["p_value"] for c in comparisons[1:]]), strict=True):
        other["p_holm"] = adjusted


def _two_way_interval(
    arm_records: Sequence[Record],
    baseline_records: Sequence[Record],
    metric: str,
    labels: NDArray[np.int64] | None,
    correlation: float,
) -> list[float] | None:
    """Return the interval over repeats and test images.

    It is None if the repeats do not share a test set, and for metrics that are not means over images.
    """
    if labels is None or metric not in ("accuracy", "balanced_accuracy"):
        return None
    difference = correctness(arm_records, labels).astype(np.float32) - correctness(baseline_records, labels)
    weights = image_weights(labels, metric)
    return list(two_way_interval(difference, seed=0, weights=weights, correlation=correlation))


def correctness(records: Sequence[Record], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether each of N test images was classified correctly: repeats x N."""
    correct: NDArray[np.bool_] = np.stack([r.predicted_labels for r in records]) == labels
    return correct


def _class_gains(
    arm_records: Sequence[Record], baseline_records: Sequence[Record], correlation: float
) -> dict[str, Any]:
    """Return each class's mean gain in recall and its 95 % interval; None for a class without test images."""
    recall = np.array([r.per_class_recall for r in arm_records], float)  # n x K, nan where None
    differences = recall - np.array([r.per_class_recall for r in baseline_records], float)
    by_class = [None if np.isnan(column).any() else column for column in differences.T]
    return {
        "per_class_gain": [None if d is None else float(d.mean()) for d in by_class],
        "per_class_ci95": [None if d is None else list(corrected_t_interval(d, correlation)) for d in by_class],
    }


def _check_paired(arm_records: Sequence[Record], baseline_records: Sequence[Record]) -> None:
    repeats = [[r.repeat for r in side] for side in (arm_records, baseline_records)]
    if repeats[0] != repeats[1] or not repeats[0] or len(set(repeats[0])) < len(repeats[0]):
        raise ConfigError(
            f"expected the same repeats, each once, in both arms of a comparison, got {repeats[0]} and "
            f"{repeats[1]}; run the missing ones"
        )
    compute = [{(r.steps, r.batch_size) for r in side} for side in (arm_records, baseline_records)]
    if compute[0] != compute[1]:
        raise ConfigError(
            "expected equal (steps, batch size) in both arms of a comparison, "
            f"got {sorted(compute[0])} and {sorted(compute[1])}"
        )
