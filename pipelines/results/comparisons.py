"""Compare arms with their baselines: paired gains, intervals, tests and the gain of each class.

A gain is positive where the arm is better, also for metrics where lower is better. The statistics themselves are in
`statistics`; this module chooses the ones that fit how the repeats were drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from augment.errors import ConfigError
from pipelines.config.arm_section import Arm
from pipelines.experiment.records import Record, records_of_arm
from pipelines.metric_specs import METRICS, gains, image_weights
from pipelines.results.document import Comparison, Interval
from pipelines.results.statistics import (
    FEWEST_BCA,
    bca_interval,
    corrected_t_interval,
    corrected_t_p,
    holm,
    sign_flip_p,
    two_way_interval,
)

Kind = tuple[str, str | None, bool]  # `Arm.kind`
Method = tuple[str | None, str | None, bool, float]  # `_method`
PLAIN: Kind = Arm(name="none").kind


def declared_comparisons(arms: Sequence[Arm]) -> list[tuple[str, str]]:
    """Return the pairs (arm, baseline) to compare; the first one is the headline, unless `headline_first` moves it.

    The pairs depend only on the definitions of the arms, so they are declared before there is any result. In order:

    1. real and synthetic images against real images, with the same learner, policy and kind of labels; arms with a
       classical policy come before arms without one, and baselines with the same method (sampling, long-tail method,
       operating point, unlabelled images) as the arm before those with others; controls come last;
    2. each policy and each other learner against a network without a policy, on real images, and then each arm of real
       images with a method of its own against an arm of the same learner, policy and labels: the one without its own,
       or else the first one;
    3. synthetic images alone against real images.
    """
    by_recipe = {(a.kind, _method(a)): a for a in arms if a.real and not a.synthetic}
    real_only, references = list(by_recipe.values()), dict[Kind, Arm]()
    for arm in sorted(real_only, key=lambda a: _method(a) != PLAIN_METHOD):
        references.setdefault(arm.kind, arm)
    mixed = [(a, b) for a in arms if a.real and a.synthetic for b in real_only if a.kind == b.kind]
    mixed.sort(key=lambda pair: (pair[0].is_control, pair[0].policy is None, _method(pair[0]) != _method(pair[1])))
    policies = [a for kind, a in references.items() if kind != PLAIN and PLAIN in references]
    methods = [a for a in real_only if a is not references[a.kind]]
    synthetic_only = [a for a in arms if a.synthetic and not a.real and a.kind in references]
    synthetic_only.sort(key=lambda a: a.policy is None)
    pairs = [
        *mixed,
        *((a, references[PLAIN]) for a in policies),
        *((a, references[a.kind]) for a in methods),
        *((a, by_recipe.get((a.kind, _method(a)), references[a.kind])) for a in synthetic_only),
    ]
    return [(arm.name, baseline.name) for arm, baseline in pairs]


def control_comparisons(arms: Sequence[Arm]) -> list[tuple[str, str]]:
    """Return the pairs (arm, control): arms with a generator's images, and controls that differ in nothing else."""

    def recipe(arm: Arm) -> Arm:
        point = "cross-fitted" if arm.is_cross_fitted else None
        return arm.model_copy(update={"name": "", "feed": None, "operating_point": point})

    mixed = [a for a in arms if a.real and a.synthetic]
    controls = [a for a in mixed if a.is_control]
    return [(a.name, c.name) for a in mixed if not a.is_control for c in controls if recipe(a) == recipe(c)]


def _method(arm: Arm) -> Method:
    """Return how an arm deals with imbalanced classes, None: as the evaluation, and with unlabelled images."""
    return arm.sampling, arm.long_tail, arm.is_cross_fitted, arm.unlabelled


PLAIN_METHOD = _method(Arm(name="none"))


def headline_first(
    pairs: Sequence[tuple[str, str]],
    arms: Sequence[Arm],
    records: Sequence[Record],
    metric: str,
    arm: str | None = None,
) -> list[tuple[str, str]]:
    """Return the declared pairs with the headline first, if an arm of real and synthetic images has a baseline.

    The baseline of the headline is the best of all arms without synthetic images by the mean of `metric`, whatever its
    learner, policy, sampling or long-tail method is; of equally good ones, it is the first in the order of the pairs.
    The arm of the headline is `arm`, or if that is None, the arm of the first pair with this baseline, and so one of
    the same recipe. If there is no such pair, the headline is the arm of the first pair against this baseline.

    The choice of the baseline uses the results, but it can only lower the gain. A claim that synthetic images help
    therefore remains valid; a claim that they harm may be too strong.
    """
    mixed = [a for a in arms if a.real and a.synthetic]
    names = [a.name for a in mixed if not a.is_control] or [a.name for a in mixed]
    candidates = [pair for pair in pairs if pair[0] in (names if arm is None else [arm])]
    if not candidates:
        return list(pairs)
    real_only = [a.name for a in arms if not a.synthetic]
    baselines = list(dict.fromkeys([*(baseline for _, baseline in candidates), *real_only]))
    values = {b: [r.metrics[metric] for r in records_of_arm(records, b)] for b in baselines}
    best = max(baselines, key=lambda b: gains(values[b], values[baselines[0]], metric).mean())
    headline = next((pair for pair in candidates if pair[1] == best), (candidates[0][0], best))
    return [headline, *(pair for pair in pairs if pair != headline)]


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
    return Comparison(
        arm=pair[0],
        baseline=pair[1],
        metric=metric,
        mean_gain=float(differences.mean()),
        std_gain=0.0 if np.ptp(differences) == 0 else float(differences.std(ddof=1)),
        correlation=correlation,
        ci95=corrected_t_interval(differences, correlation),
        ci95_bca=bca_interval(differences, seed=0) if len(differences) >= FEWEST_BCA else None,
        ci95_two_way=_two_way_interval(arm_records, baseline_records, metric, test_labels, correlation),
        p_value=corrected_t_p(differences, correlation) if correlation else sign_flip_p(differences, seed=0),
        p_holm=None,
        wins=int((differences > 0).sum()),
        repeats=len(differences),
        per_class_gain=class_gains,
        per_class_ci95=class_intervals,
    )


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
    if labels is None or metric not in ("accuracy", "balanced_accuracy"):
        return None
    difference = correctness(arm_records, labels).astype(np.float32) - correctness(baseline_records, labels)
    weights = image_weights(labels, metric)
    return two_way_interval(difference, seed=0, weights=weights, correlation=correlation)


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
        [None if d is None else corrected_t_interval(d, correlation) for d in by_class],
    )


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
