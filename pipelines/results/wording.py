"""Words for the size of a change and for a mix of images, as in the sentences of a recommendation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from augment.words import counted
from pipelines.metric_specs import METRICS
from pipelines.results.document import Comparison, Summary


def describe_change(comparison: Comparison, significant: bool, against: str = "") -> tuple[str, str]:
    """Return "raise" or "lower", and the words for the size of the change with its interval and wins.

    A significant change is given without its sign, because the verb has it. against: what the arm is compared with.
    """
    metric = METRICS[comparison.metric]
    direction = 1 if metric.higher_is_better else -1  # from gains to changes of the metric itself
    change, *ends = (direction * v * metric.scale for v in (comparison.mean_gain, *comparison.ci95))
    verb = "raise" if change > 0 else "lower"
    if significant:
        change, ends = abs(change), [abs(e) for e in ends]
    digits = digits_for([change, *ends], metric.decimals)
    size = f"{change:.{digits}f}" if significant else f"{change:+.{digits}f}"
    source = (
        " over test images, since all repeats are the same"
        if comparison.over_images
        else f", {comparison.wins} of {comparison.repeats} repeats better"
    )
    interval = f"{min(ends):.{digits}f} to {max(ends):.{digits}f}"
    return verb, f"by {size} {metric.unit}{against} (95 % interval {interval}{source})"


def describe_mean(metric: str, mean: float, interval: tuple[float, float], repeats: int) -> str:
    """Describe a mean over repeats with its interval: "accuracy 84.2 % (95 % interval 80.0 to 88.4, 12 repeats)"."""
    spec, times = METRICS[metric], counted(repeats, "repeat")
    level, low, high = (f"{spec.scale * value:.{spec.decimals}f}" for value in (mean, *interval))
    spread = f"95 % interval {low} to {high}, {times}" if interval[0] < interval[1] else f"the same in {times}"
    return f"{spec.words} {level} {spec.unit_of_values} ({spread})"


def format_metrics(summaries: Mapping[str, Summary]) -> dict[str, str]:
    """Return mean ± standard deviation of each metric, in its unit; with one repeat, the mean alone."""
    texts = {}
    for name, metric in METRICS.items():
        values = (summaries[name].mean, summaries[name].std)
        texts[name] = " ± ".join(f"{metric.scale * v:.{metric.decimals}f}" for v in values if v is not None)
    return texts


def describe_mix(mix: Mapping[str, Any]) -> str:
    """Describe a mix in words, such as "2 synthetic images per real image, the best 50% of each class by score"."""
    ratio = mix["ratio"]
    parts = [f"{ratio:g} synthetic {'image' if ratio == 1 else 'images'} per real image"]
    drawn_once = mix.get("learner") == "features"  # a learner that sees all images at once
    if mix.get("feed") and not drawn_once:
        parts = ["new synthetic images for every batch" + ("" if mix.get("share") else f", {parts[0]}")]
    if mix.get("by_need"):
        parts = ["all synthetic images, which fill up the small classes"]
    if mix.get("keep", 1.0) < 1:
        parts.append(f"the best {100 * mix['keep']:g}% of each class by {mix['filter']}")
    if mix.get("weight") == "confidence":
        parts.append("weighted by confidence")
    elif mix.get("weight", 1.0) != 1:
        parts.append(f"with weight {mix['weight']:g}")
    if mix.get("synthetic_first"):
        parts.append(f"alone in the first {mix['synthetic_first']:.0%} of the steps")
    elif mix.get("share") is not None:
        parts.append(f"{mix['share']:.0%} of {'the weight of all' if drawn_once else 'each batch'}")
    if exponent := mix.get("class_exponent", 0.0):
        parts.append(f"more of them for {'small' if exponent < 0 else 'large'} classes")
    return ", ".join(parts)


def digits_for(values: Sequence[float], fewest: int) -> int:
    """Return the number of decimals, `fewest` to 4, with which no value but 0 is printed as 0.

    Otherwise an interval that lies above 0 could begin with 0.0.
    """
    for digits in range(fewest, 4):
        if all(v == 0 or abs(v) >= 0.5 * 10**-digits for v in values):
            return digits
    return 4
