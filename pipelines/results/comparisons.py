"""Arms against their baselines: paired gains, intervals, tests, and what each class gained.

A gain is positive where the arm is better, also for metrics of which less is better. `statistics` holds the statistics
themselves; this module decides which of them fits the way in which the repeats were drawn.
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
    """Pairs (arm, baseline) fixed by what the arms are, before any result; the first is the headline.

    Real and synthetic images against real ones under the same policy and with the same kind of labels, a classical
    policy before none; then each policy against none; then synthetic images alone against real ones.
    """

    def kind(arm: Arm) -> tuple[str | None, bool]:
        return arm.policy, arm.soft_labels

    real_only = {kind(a): a.name for a in arms if a.real and not a.synthetic}
    by_policy = sorted(arms, key=lambda a: a.policy is None)  # stable: the order given breaks ties
    added = [a for a in by_policy if a.real and a.synthetic]
    alone = [a for a in by_policy if a.synthetic and not a.real]
    pairs = [(a.name, real_only[kind(a)]) for a in added if kind(a) in real_only]
    plain: tuple[str | None, bool] = (None, False)
    if plain in real_only:
        pairs += [(name, real_only[plain]) for which, name in real_only.items() if which != plain]
    return pairs + [(a.name, real_only[kind(a)]) for a in alone if kind(a) in real_only]


def compare(
    records: Sequence[Record],
    comparisons: Sequence[tuple[str, str]],
    metric: str = "accuracy",
    *,
    correlation: float = 0.0,
    test_labels: NDArray[np.int64] | None = None,
) -> list[dict[str, Any]]:
    """One dict for each (arm, baseline): mean gain, 95 % interval, p, wins, and gains in recall of each class.

    `std_gain` is the standard deviation of single repeats' gains. correlation: of these gains, where their training
    sets overlap (`corrected_t_interval`); 0 where they do not, and p is the sign-flip test's. test_labels: of the one
    test set of all repeats, for the two-way interval; None where every repeat has its own. `p_holm` is None: `adjust`
    fills it in. Raises `ConfigError` for an unknown metric, if the repeats of the two arms do not pair up, if their
    compute differs, or with fewer than 2 repeats.
    """
    if metric not in METRICS:
        raise ConfigError(f"unknown metric {metric!r}; choose one of {', '.join(METRICS)}")
    of_arms = {name: records_of_arm(records, name) for pair in comparisons for name in pair}
    return [
        {"arm": arm, "baseline": baseline, "metric": metric}
        | _compare_pair(of_arms[arm], of_arms[baseline], metric, correlation, test_labels)
        for arm, baseline in comparisons
    ]


def _compare_pair(
    ours: Sequence[Record],
    theirs: Sequence[Record],
    metric: str,
    correlation: float,
    test_labels: NDArray[np.int64] | None,
) -> dict[str, Any]:
    _check_paired(ours, theirs)
    gained = gains([r.metrics[metric] for r in ours], [r.metrics[metric] for r in theirs], metric)
    return {
        "mean_gain": float(gained.mean()),
        "std_gain": 0.0 if np.ptp(gained) == 0 else float(gained.std(ddof=1)),
        "correlation": correlation,
        "ci95": list(corrected_t_interval(gained, correlation)),
        "ci95_bca": list(bca_interval(gained, seed=0)) if len(gained) >= FEWEST_BCA else None,
        "ci95_two_way": _two_way(ours, theirs, metric, test_labels, correlation),
        "p_value": corrected_t_p(gained, correlation) if correlation else sign_flip_p(gained, seed=0),
        "p_holm": None,
        "wins": int((gained > 0).sum()),
        "repeats": len(gained),
        **_of_classes(ours, theirs, correlation),
    }


def adjust(comparisons: Sequence[dict[str, Any]]) -> None:
    """Fill in `p_holm` of all but the first, the headline, which was declared beforehand and stands unadjusted."""
    for other, adjusted in zip(comparisons[1:], holm([c["p_value"] for c in comparisons[1:]]), strict=True):
        other["p_holm"] = adjusted


def _two_way(
    ours: Sequence[Record],
    theirs: Sequence[Record],
    metric: str,
    labels: NDArray[np.int64] | None,
    correlation: float,
) -> list[float] | None:
    """The interval that allows for the test images too, in the metrics that are means over images."""
    if labels is None or metric not in ("accuracy", "balanced_accuracy"):
        return None
    difference = correctness(ours, labels).astype(np.float32) - correctness(theirs, labels)
    weights = image_weights(labels, metric)
    return list(two_way_interval(difference, seed=0, weights=weights, correlation=correlation))


def correctness(records: Sequence[Record], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each test image was recognised: repeats x N."""
    right: NDArray[np.bool_] = np.stack([r.predicted_labels for r in records]) == labels
    return right


def _of_classes(ours: Sequence[Record], theirs: Sequence[Record], correlation: float) -> dict[str, Any]:
    """Mean gain in recall of each class with its own 95 % interval; None for a class without test images."""
    recall = np.array([r.per_class_recall for r in ours], float)  # n x K, nan where None
    gained = recall - np.array([r.per_class_recall for r in theirs], float)
    told = [None if np.isnan(of_class).any() else of_class for of_class in gained.T]
    return {
        "per_class_gain": [None if g is None else float(g.mean()) for g in told],
        "per_class_ci95": [None if g is None else list(corrected_t_interval(g, correlation)) for g in told],
    }


def _check_paired(ours: Sequence[Record], theirs: Sequence[Record]) -> None:
    repeats = [[r.repeat for r in side] for side in (ours, theirs)]
    if repeats[0] != repeats[1] or not repeats[0] or len(set(repeats[0])) < len(repeats[0]):
        raise ConfigError(
            f"expected the same repeats, each once, in both arms of a comparison, got {repeats[0]} and "
            f"{repeats[1]}; run the missing ones"
        )
    compute = [{(r.steps, r.batch_size) for r in side} for side in (ours, theirs)]
    if compute[0] != compute[1]:
        raise ConfigError(
            "expected equal (steps, batch size) in both arms of a comparison, "
            f"got {sorted(compute[0])} and {sorted(compute[1])}"
        )
