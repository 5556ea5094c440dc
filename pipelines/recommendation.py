"""What to train with, in one sentence: the answer that people come for.

Do no harm: synthetic images are recommended only where the interval of the gain lies above 0 and, where the mix was
chosen on validation, the gain there was shown too. Everything else is "do not augment".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.measures import FEWEST_REPEATS, METRICS


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
    were drawn from more.
    """
    if comparison is None:
        sentence = "Nothing to recommend: no recipe was compared with and without synthetic images."
        return {"augment": False, "arm": None, "ratio": 0.0, "sentence": sentence}
    shown = comparison["repeats"] >= FEWEST_REPEATS and comparison["ci95"][0] > 0
    augment = shown and (choice is None or choice["gain_shown"])
    return {
        "augment": augment,
        "arm": comparison["arm"] if augment else comparison["baseline"],
        "ratio": float(mix["ratio"]) if augment else 0.0,
        **({"mix": dict(mix)} if augment else {}),
        "sentence": _sentence(comparison, mix, choice, "" if size is None else f" at {size} images a class"),
    }


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
    if choice is not None and not choice["gain_shown"]:
        return (
            f"Do not augment{place}: on validation no mix showed a gain (the best of {choice['candidates_tried']}, "
            f"{choice['words']}, {_validated(choice)}); on the test images {metric.words} changes {evidence}."
        )
    if low > 0:
        return f"Synthetic images {verb} {metric.words}{place} {evidence}: use {words_of(mix)}."
    if high < 0:
        return f"Do not augment{place}: synthetic images {verb} {metric.words} {evidence}."
    return f"Do not augment{place}: with synthetic images {metric.words} changes {evidence}, so no gain is shown."


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
