"""What to train with, in one sentence: the answer that people come for.

Do no harm: synthetic images are recommended only where the interval of the gain lies above 0 and, where the mix was
chosen on validation, the gain there was shown too. Everything else is "do not augment", which is one of two answers:
synthetic images harm, or it cannot be told, and then the sentence says how large a gain is still possible and how many
repeats would show a small one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from pipelines.metric_specs import FEWEST_REPEATS, METRICS, Metric
from pipelines.results.statistics import repeats_needed

SMALL_GAIN = 0.01  # of a metric in its own scale: 1 point, or 0.01 nats of log loss


class Verdict(StrEnum):
    """What the headline comparison says of synthetic images."""

    HELPS = "helps"
    HARMS = "harms"
    INCONCLUSIVE = "inconclusive"
    TOO_FEW = "too few repeats"
    NOTHING = "nothing to compare"


def recommend(
    comparison: Mapping[str, Any] | None,
    mix: Mapping[str, Any],
    choice: Mapping[str, Any] | None = None,
    size: int | None = None,
) -> dict[str, Any]:
    """What to train with and why; `comparison` is the headline, None if there was none.

    Augments only if the interval's lower end is above 0 with at least 6 repeats, and `choice` (if the mix was chosen:
    the content of results.json under that name) shows a gain; otherwise it names the baseline and ratio 0. mix: of the
    arm compared (`Arm.mix`), or the one chosen. size: training images of each class that it was measured with, if they
    were drawn from more. `largest_gain_not_excluded` is the interval's upper end, not below 0, and
    `repeats_for_one_point` is how many would show a gain of 0.01 with 80 % power, None if no number would; both are in
    the metric's own scale.
    """
    verdict = judge(comparison, choice)
    if comparison is None:
        sentence = "Nothing to recommend: no recipe was compared with and without synthetic images."
        known: dict[str, Any] = {"largest_gain_not_excluded": None, "repeats_for_one_point": None}
        return {"augment": False, "arm": None, "ratio": 0.0, "verdict": verdict.value, **known, "sentence": sentence}
    augment = verdict == Verdict.HELPS
    repeats = repeats_needed(SMALL_GAIN, comparison["std_gain"], comparison["correlation"])
    return {
        "augment": augment,
        "arm": comparison["arm"] if augment else comparison["baseline"],
        "ratio": float(mix["ratio"]) if augment else 0.0,
        **({"mix": dict(mix)} if augment else {}),
        "verdict": verdict.value,
        "largest_gain_not_excluded": max(comparison["ci95"][1], 0.0),
        "repeats_for_one_point": None if repeats is None else max(repeats, FEWEST_REPEATS),
        "sentence": _sentence(comparison, mix, choice, "" if size is None else f" at {size} images a class"),
    }


def judge(comparison: Mapping[str, Any] | None, choice: Mapping[str, Any] | None = None) -> Verdict:
    """Which of the cases it is; a gain on the test images alone, that validation did not show, proves nothing."""
    if comparison is None:
        return Verdict.NOTHING
    low, high = comparison["ci95"]
    if comparison["repeats"] < FEWEST_REPEATS:
        return Verdict.TOO_FEW
    if high < 0:
        return Verdict.HARMS
    return Verdict.HELPS if low > 0 and (choice is None or choice["gain_shown"]) else Verdict.INCONCLUSIVE


def _sentence(
    comparison: Mapping[str, Any], mix: Mapping[str, Any], choice: Mapping[str, Any] | None, place: str
) -> str:
    metric = METRICS[comparison["metric"]]
    low, high = comparison["ci95"]
    shown = comparison["repeats"] >= FEWEST_REPEATS and not low <= 0 <= high
    verb, evidence = _evidence(comparison, shown)
    if comparison["repeats"] < FEWEST_REPEATS:
        return (
            f"Too few repeats for a claim ({comparison['repeats']}, and {FEWEST_REPEATS} are needed): "
            f"with synthetic images {metric.words}{place} changes {evidence}."
        )
    unknown = "" if shown else f"; {_still_possible(comparison, metric)}"
    if choice is not None and not choice["gain_shown"]:
        change = f"they {verb} {metric.words}" if shown else f"{metric.words} changes"
        return (
            f"Do not augment{place}: on validation no mix showed a gain (the best of {choice['candidates_tried']}, "
            f"{choice['words']}, {_validated(choice)}); on the test images {change} {evidence}{unknown}."
        )
    if low > 0:
        return f"Synthetic images {verb} {metric.words}{place} {evidence}: use {words_of(mix)}."
    if high < 0:
        return f"Do not augment{place}: synthetic images {verb} {metric.words} {evidence}."
    return (
        f"Do not augment{place}: no gain can be shown, as with synthetic images {metric.words} changes "
        f"{evidence}{unknown}."
    )


def _still_possible(comparison: Mapping[str, Any], metric: Metric) -> str:
    """How large a gain the interval allows, and how many repeats would show a small one."""
    gain = "gain" if metric.higher_is_better else f"fall in {metric.words}"
    high = comparison["ci95"][1] * metric.scale
    largest = f"{high:.{_digits([high], metric.decimals)}f} {metric.unit}"
    excluded = (
        f"a {gain} larger than {largest} can be excluded, a smaller one cannot" if high else "any gain is excluded"
    )
    small = "1 point" if metric.unit == "points" else f"{SMALL_GAIN * metric.scale:g} {metric.unit}"
    repeats = repeats_needed(SMALL_GAIN, comparison["std_gain"], comparison["correlation"])
    if repeats is None:
        why = "because their training sets overlap" if comparison["correlation"] else "so much do they vary"
        return f"{excluded}; no number of repeats would show a {gain} of {small}, {why}"
    if repeats <= comparison["repeats"]:
        return f"{excluded}; a {gain} of {small} would have been shown by {comparison['repeats']} repeats"
    return f"{excluded}; about {rounded(repeats):,} repeats would show a {gain} of {small}"


def rounded(repeats: int) -> int:
    """To two digits, upwards: the deviation that it comes from is not known any better."""
    step: int = 10 ** max(len(str(repeats)) - 2, 0)
    return -(-repeats // step) * step


def _evidence(comparison: Mapping[str, Any], shown: bool) -> tuple[str, str]:
    """A verb that carries the sign, and by how much with which certainty."""
    metric = METRICS[comparison["metric"]]
    direction = 1 if metric.higher_is_better else -1  # from gains to changes of the metric itself
    change, *ends = (direction * v * metric.scale for v in (comparison["mean_gain"], *comparison["ci95"]))
    verb = "raise" if change > 0 else "lower"
    if shown:
        change, ends = abs(change), [abs(e) for e in ends]
    digits = _digits([change, *ends], metric.decimals)
    size = f"{change:.{digits}f}" if shown else f"{change:+.{digits}f}"
    return verb, (
        f"by {size} {metric.unit} (95 % interval {min(ends):.{digits}f} to {max(ends):.{digits}f}, "
        f"{comparison['wins']} of {comparison['repeats']} repeats better)"
    )


def _validated(choice: Mapping[str, Any]) -> str:
    points, low = (100 * choice[key] for key in ("mean_gain", "lower_bound"))
    return f"{points:+.1f} points, lower bound {low:.1f}"


def words_of(mix: Mapping[str, Any]) -> str:
    """A mix as people would say it: "2 synthetic images per real image, the best 50 % of each class"."""
    ratio = mix["ratio"]
    parts = [f"{ratio:g} synthetic {'image' if ratio == 1 else 'images'} per real image"]
    if mix.get("by_need"):
        parts = ["all synthetic images, which fill up the small classes"]
    if mix.get("keep", 1.0) < 1:
        parts.append(f"the best {mix['keep']:.0%} of each class by {mix['filter']}")
    if mix.get("weight") == "confidence":
        parts.append("weighted by confidence")
    elif mix.get("weight", 1.0) != 1:
        parts.append(f"with weight {mix['weight']:g}")
    if mix.get("synthetic_first"):
        parts.append(f"alone in the first {mix['synthetic_first']:.0%} of the steps")
    elif mix.get("share") is not None:
        parts.append(f"{mix['share']:.0%} of each batch")
    return ", ".join(parts)


def _digits(values: Sequence[float], fewest: int) -> int:
    """Decimals, `fewest` to 4, with which only 0 reads as 0: an interval above 0 must not begin with 0.0."""
    for digits in range(fewest, 4):
        if all(v == 0 or abs(v) >= 0.5 * 10**-digits for v in values):
            return digits
    return 4
