"""Records of an experiment to what they amount to: the content of results.json.

A record is one line of records.jsonl, a classifier trained in one arm of one repeat: `repeat`, `arm`, the
metrics of `METRICS`, `per_class_recall` (K), `confusion` (K x K counts, rows are true classes), `seed`,
`steps`, `batch_size`, `seconds`. A gain is positive where the arm is better, also for metrics of which less
is better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from augment.errors import ConfigError
from pipelines.statistics import holm, paired_t_interval, sign_flip_p

Record = Mapping[str, Any]
FEWEST_REPEATS = 6  # for a claim: with fewer, no two-sided sign-flip p is below 0.05
IMBALANCE = 1.5  # largest class over smallest, above which balanced accuracy is the default


@dataclass(frozen=True)
class Metric:
    """How a metric is read and written: `scale` turns it into `unit`."""

    words: str
    higher_is_better: bool = True
    unit: str = "points"
    scale: float = 100.0
    decimals: int = 1


METRICS = {
    "accuracy": Metric("accuracy"),
    "balanced_accuracy": Metric("balanced accuracy"),
    "macro_f1": Metric("macro F1"),
    "log_loss": Metric("log loss", higher_is_better=False, unit="nats", scale=1.0, decimals=3),
    "expected_calibration_error": Metric("calibration error", higher_is_better=False),
}

PROTOCOL_NOTES = {
    "holdout": (
        "The interval is for these images: one training subset, one set of synthetic images, one test set. "
        "Only the classifier's seeds were redrawn, so it leaves out what another subset, another generator "
        "or other test images would change."
    ),
    "subsample": (
        "Every repeat drew its own training subset from one pool. The subsets may overlap and the interval "
        "takes the repeats as independent, so it leaves out what another pool or other test images change."
    ),
    "kfold": (
        "Every repeat trained on other folds of one set. The folds share most of their images and the "
        "interval takes the repeats as independent, so it is too narrow for images from elsewhere."
    ),
}


class Arm(Protocol):
    """What a classifier learns from: real images, synthetic ones, a classical policy (or None) on them."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def policy(self) -> str | None: ...  # noqa: D102
    @property
    def real(self) -> bool: ...  # noqa: D102
    @property
    def synthetic(self) -> bool: ...  # noqa: D102


def build_results(
    records: Sequence[Record],
    arms: Sequence[Arm],
    dataset: Mapping[str, Any],
    protocol: Mapping[str, Any],
    ratio: float,
    *,
    fidelity: Mapping[str, Any] | None = None,
    metric: str | None = None,
) -> dict[str, Any]:
    """Everything of results.json: plain dicts, lists, numbers and strings.

    dataset: `name`, `classes` (K), `train_per_class` (by name), `test_size`. protocol: `kind`, a key of
    `PROTOCOL_NOTES`; what else it holds goes before what is derived here. metric: `default_metric` if None.
    """
    metric = metric or default_metric(dataset["train_per_class"])
    records = [r for arm in arms for r in _of_arm(records, arm.name)]
    pairs = declared_comparisons(arms)
    comparisons = compare(records, pairs, metric)
    with_synthetic = {a.name for a in arms if a.real and a.synthetic}
    headline = comparisons[0] if pairs and pairs[0][0] in with_synthetic else None
    first = records[0]
    seeds = {int(r["repeat"]): int(r["seed"]) for r in sorted(records, key=lambda r: int(r["repeat"]))}
    derived = {
        "repeats": len(seeds),
        "classifier_steps": first["steps"],
        "batch_size": first["batch_size"],
        "note": PROTOCOL_NOTES[protocol["kind"]],
    }
    return {
        "dataset": dict(dataset),
        "protocol": derived | dict(protocol),
        "arms": summarise_arms(records),
        "comparisons": comparisons,
        "fidelity": dict(fidelity or {}),
        "recommendation": recommend(headline, ratio),
        "confusion": sum_confusions(records),
        "seeds": list(seeds.values()),
    }


def default_metric(train_per_class: Mapping[str, int]) -> str:
    """`balanced_accuracy` if the largest class is more than 1.5 times the smallest, else `accuracy`."""
    counts = train_per_class.values()
    return "balanced_accuracy" if max(counts) > IMBALANCE * min(counts) else "accuracy"


def declared_comparisons(arms: Sequence[Arm]) -> list[tuple[str, str]]:
    """Pairs (arm, baseline) fixed by what the arms are, before any result; the first is the headline.

    Real and synthetic images against real ones under the same policy, a classical policy before none; then
    each policy against none; then synthetic images alone against real ones under the same policy.
    """
    real_only = {a.policy: a.name for a in arms if a.real and not a.synthetic}
    by_policy = sorted(arms, key=lambda a: a.policy is None)  # stable: the order given breaks ties
    added = [a for a in by_policy if a.real and a.synthetic]
    alone = [a for a in by_policy if a.synthetic and not a.real]
    pairs = [(a.name, real_only[a.policy]) for a in added if a.policy in real_only]
    if None in real_only:
        pairs += [(name, real_only[None]) for policy, name in real_only.items() if policy is not None]
    return pairs + [(a.name, real_only[a.policy]) for a in alone if a.policy in real_only]


def summarise_arms(records: Sequence[Record]) -> dict[str, dict[str, dict[str, Any]]]:
    """For each arm and metric: `mean`, `std` (ddof 1, None with one repeat), `values` by repeat."""
    return {
        arm: {metric: _summary([float(r[metric]) for r in _of_arm(records, arm)]) for metric in METRICS}
        for arm in _arm_names(records)
    }


def sum_confusions(records: Sequence[Record]) -> dict[str, list[list[int]]]:
    """K x K counts of each arm, summed over its repeats; rows are true classes."""
    return {
        arm: np.sum([r["confusion"] for r in _of_arm(records, arm)], axis=0).tolist() for arm in _arm_names(records)
    }


def compare(
    records: Sequence[Record], comparisons: Sequence[tuple[str, str]], metric: str = "accuracy"
) -> list[dict[str, Any]]:
    """One dict for each (arm, baseline): mean gain, 95 % t interval, p, wins, gain in recall of each class.

    The first comparison is the headline: its p stands unadjusted and its `p_holm` is None; the others share
    Holm's adjustment. A class without test images gains None. Raises `ConfigError` if the repeats of the two
    arms do not pair up, if their compute differs, or with fewer than 2 repeats.
    """
    if metric not in METRICS:
        raise ConfigError(f"unknown metric {metric!r}; choose one of {', '.join(METRICS)}")
    results = [_compare_pair(records, arm, baseline, metric) for arm, baseline in comparisons]
    for result, adjusted in zip(results[1:], holm([r["p_value"] for r in results[1:]]), strict=True):
        result["p_holm"] = adjusted
    return results


def _compare_pair(records: Sequence[Record], arm: str, baseline: str, metric: str) -> dict[str, Any]:
    ours, theirs = _of_arm(records, arm), _of_arm(records, baseline)
    _check_paired(ours, theirs)
    gained = gains([r[metric] for r in ours], [r[metric] for r in theirs], metric)
    recall = np.array([r["per_class_recall"] for r in ours], float)  # n x K, nan where None
    recall_gain = (recall - np.array([r["per_class_recall"] for r in theirs], float)).mean(axis=0)
    return {
        "arm": arm,
        "baseline": baseline,
        "metric": metric,
        "mean_gain": float(gained.mean()),
        "ci95": list(paired_t_interval(gained)),
        "p_value": sign_flip_p(gained, seed=0),
        "p_holm": None,
        "wins": int((gained > 0).sum()),
        "repeats": len(gained),
        "per_class_gain": [None if np.isnan(g) else float(g) for g in recall_gain],
    }


def gains(values: Sequence[float], baseline: Sequence[float], metric: str) -> NDArray[np.float64]:
    """Paired gains over the baseline, n: positive is better, whichever way the metric points."""
    ours, theirs = np.asarray(values, np.float64), np.asarray(baseline, np.float64)
    return ours - theirs if METRICS[metric].higher_is_better else theirs - ours


def recommend(comparison: Mapping[str, Any] | None, ratio: float) -> dict[str, Any]:
    """What to train with, and why in one sentence; `comparison` is the headline, None if there was none.

    Augments only if the interval's lower end is above 0 with at least 6 repeats; otherwise it names the
    baseline and ratio 0. ratio: synthetic images per real image in the arm compared.
    """
    if comparison is None:
        sentence = "Nothing to recommend: no recipe was compared with and without synthetic images."
        return {"augment": False, "arm": None, "ratio": 0.0, "sentence": sentence}
    augment = comparison["repeats"] >= FEWEST_REPEATS and comparison["ci95"][0] > 0
    return {
        "augment": augment,
        "arm": comparison["arm"] if augment else comparison["baseline"],
        "ratio": float(ratio) if augment else 0.0,
        "sentence": _sentence(comparison, ratio),
    }


def _sentence(comparison: Mapping[str, Any], ratio: float) -> str:
    metric = METRICS[comparison["metric"]]
    low, high = comparison["ci95"]
    direction = 1 if metric.higher_is_better else -1  # from gains to changes of the metric itself
    change, *ends = (direction * v * metric.scale for v in (comparison["mean_gain"], low, high))
    shown = comparison["repeats"] >= FEWEST_REPEATS and not low <= 0 <= high
    if shown:  # "raise by" and "lower by" carry the sign
        verb, change, ends = "raise" if change > 0 else "lower", abs(change), [abs(e) for e in ends]
    digits = _digits([change, *ends], metric.decimals)
    size = f"{change:.{digits}f}" if shown else f"{change:+.{digits}f}"
    evidence = (
        f"by {size} {metric.unit} (95 % interval {min(ends):.{digits}f} to {max(ends):.{digits}f}, "
        f"{comparison['wins']} of {comparison['repeats']} repeats better)"
    )
    if comparison["repeats"] < FEWEST_REPEATS:
        return (
            f"Too few repeats for a claim ({comparison['repeats']}, and {FEWEST_REPEATS} are needed): "
            f"with synthetic images {metric.words} changes {evidence}."
        )
    if low > 0:
        advice = f"use {ratio:g} synthetic {'image' if ratio == 1 else 'images'} per real image"
        return f"Synthetic images {verb} {metric.words} {evidence}: {advice}."
    if high < 0:
        return f"Do not augment: synthetic images {verb} {metric.words} {evidence}."
    return f"Do not augment: with synthetic images {metric.words} changes {evidence}, so no gain is shown."


def _digits(values: Sequence[float], fewest: int) -> int:
    """Decimals, `fewest` to 4, with which only 0 reads as 0: an interval above 0 must not begin with 0.0."""
    for digits in range(fewest, 4):
        if all(v == 0 or abs(v) >= 0.5 * 10**-digits for v in values):
            return digits
    return 4


def _summary(values: list[float]) -> dict[str, Any]:
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "std": std, "values": values}


def _arm_names(records: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(r["arm"] for r in records))


def _of_arm(records: Sequence[Record], arm: str) -> list[Record]:
    return sorted((r for r in records if r["arm"] == arm), key=lambda r: int(r["repeat"]))


def _check_paired(ours: Sequence[Record], theirs: Sequence[Record]) -> None:
    repeats = [[r["repeat"] for r in side] for side in (ours, theirs)]
    if repeats[0] != repeats[1] or not repeats[0] or len(set(repeats[0])) < len(repeats[0]):
        raise ConfigError(
            f"expected the same repeats, each once, in both arms of a comparison, got {repeats[0]} and "
            f"{repeats[1]}; run the missing ones"
        )
    compute = [{(r["steps"], r["batch_size"]) for r in side} for side in (ours, theirs)]
    if compute[0] != compute[1]:
        raise ConfigError(
            "expected equal (steps, batch size) in both arms of a comparison, "
            f"got {sorted(compute[0])} and {sorted(compute[1])}"
        )
