"""Recommend in one sentence whether to train with synthetic images: the question that users want answered.

The rule is to do no harm. Synthetic images are recommended only if the interval of the gain lies above 0, if validation
showed a gain too where the mix was chosen on validation images, and if the interval over every control lies above 0.
Fewer than 6 repeats support no claim. Otherwise the answer is "do not augment", for one of three reasons: synthetic
images harm, a control may do as well, or the experiment is inconclusive. If it is inconclusive, the sentence says how
large a gain is still possible and how many repeats would show a small one. A control that needs no generator and gains
over the baseline is then recommended.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any

from pipelines.metric_specs import FEWEST_REPEATS, METRICS, Metric
from pipelines.results.document import Choice, Comparison, Recommendation
from pipelines.results.statistics import repeats_needed

SIGNIFICANT = 0.05  # p-values
SMALL_GAINS = (0.01, 0.02)  # in the metric's own scale: 1 and 2 points, or 0.01 and 0.02 nats of log loss

REPEATS_FOR = ("repeats_for_one_point", "repeats_for_two_points")  # the fields for these gains


class Verdict(StrEnum):
    """The conclusion that the headline comparison allows about synthetic images."""

    HELPS = "helps"
    CONTROL = "no better than a control"
    HARMS = "harms"
    INCONCLUSIVE = "inconclusive"
    TOO_FEW = "too few repeats"
    NOTHING = "nothing to compare"


def recommend(
    comparison: Comparison | None,
    mix: Mapping[str, Any],
    choice: Choice | None = None,
    size: int | None = None,
    *,
    controls: Sequence[Comparison] = (),
    instead: Comparison | None = None,
    same_kind: bool = True,
) -> Recommendation:
    """Return the content of results.json under `recommendation`: what to train with, and why.

    It recommends synthetic images only if the lower end of the interval is above 0 with at least 6 repeats and, where
    the mix was chosen, `choice` shows a gain. Otherwise it names the arm of `instead` or the baseline, and the ratio 0.

    comparison: the headline; None if there is none. mix: the chosen mix, or that of the compared arm (`Arm.mix`).
    choice: the content of results.json under that name; None if the mix was fixed in advance. size: the number of
    training images per class, if they were drawn from a larger pool. controls: the comparisons of the arm with its
    controls; the interval of its gain over each of them has to be above 0. instead: what `best_control` returns.
    same_kind: whether the arm and its baseline differ only in the synthetic images and in how they deal with imbalance;
    if not, the sentence names the baseline.
    """
    verdict = _verdict(comparison, choice, controls)
    if comparison is None:
        sentence = "Nothing to recommend: no recipe was compared with and without synthetic images."
        return Recommendation(augment=False, arm=None, ratio=0.0, verdict=verdict.value, sentence=sentence)
    augment = verdict == Verdict.HELPS
    sentence = _sentence(comparison, mix, choice, controls, size=size, same_kind=same_kind)
    use: dict[str, Any] = {"arm": comparison.baseline, "ratio": 0.0, "sentence": sentence}
    if augment:
        use |= {"arm": comparison.arm, "ratio": float(mix["ratio"]), "mix": dict(mix)}
    elif instead is not None:
        use |= {"arm": instead.arm, "sentence": f"{sentence} {_instead(instead)}"}
    return Recommendation(
        augment=augment,
        **use,
        verdict=verdict.value,
        largest_gain_not_excluded=max(comparison.ci95[1], 0.0),
        **dict(zip(REPEATS_FOR, _repeats_for_small_gains(comparison), strict=True)),
    )


def best_control(comparisons: Sequence[Comparison], controls: Collection[str]) -> Comparison | None:
    """Return the comparison of the control with the largest gain, of those whose gain is shown; None if there is none.

    A gain is shown if its interval lies above 0 and, since the best of k controls is taken, k times its p-value is
    below 0.05 (Bonferroni). comparisons: those with the baseline of the headline. controls: the names of the controls
    that need no generator.
    """
    compared = [c for c in comparisons if c.arm in controls and c.repeats >= FEWEST_REPEATS]
    gaining = [c for c in compared if c.ci95[0] > 0 and len(compared) * c.p_value < SIGNIFICANT]
    return max(gaining, key=lambda c: c.mean_gain, default=None)


def _instead(control: Comparison) -> str:
    verb, evidence = _evidence(control, significant=True, against=f" compared with {control.baseline}")
    return f"Use {control.arm}, which needs no generator: it {verb}s {METRICS[control.metric].words} {evidence}."


def unlabelled_sentence(comparison: Comparison) -> str:
    """Say what unlabelled images change, by the comparison of an arm that learns from them with one that does not."""
    low, high = comparison.ci95
    significant = comparison.repeats >= FEWEST_REPEATS and not low <= 0 <= high
    verb, evidence = _evidence(comparison, significant)
    words = METRICS[comparison.metric].words
    if significant:
        return f"Unlabelled images {verb} {words} {evidence}."
    reason = "too few repeats for a claim" if comparison.repeats < FEWEST_REPEATS else "no change can be shown"
    return f"With unlabelled images, {words} changes {evidence}: {reason}."


def _verdict(comparison: Comparison | None, choice: Choice | None, controls: Sequence[Comparison]) -> Verdict:
    """Return the verdict; a gain on the test images proves nothing if validation did not show one for the mix."""
    if comparison is None:
        return Verdict.NOTHING
    low, high = comparison.ci95
    if comparison.repeats < FEWEST_REPEATS:
        return Verdict.TOO_FEW
    if high < 0:
        return Verdict.HARMS
    if low <= 0 or not (choice is None or choice.gain_shown):
        return Verdict.INCONCLUSIVE
    return Verdict.CONTROL if _as_good(controls) else Verdict.HELPS


def _as_good(controls: Sequence[Comparison]) -> list[str]:
    """Return the names of the controls over which no gain is shown."""
    return [control.baseline for control in controls if control.ci95[0] <= 0]


def _sentence(
    comparison: Comparison,
    mix: Mapping[str, Any],
    choice: Choice | None,
    controls: Sequence[Comparison],
    *,
    size: int | None,
    same_kind: bool,
) -> str:
    metric, at_size = METRICS[comparison.metric], "" if size is None else f" at {size} images per class"
    low, high = comparison.ci95
    significant = comparison.repeats >= FEWEST_REPEATS and not low <= 0 <= high
    verb, evidence = _evidence(comparison, significant, "" if same_kind else f" compared with {comparison.baseline}")
    if comparison.repeats < FEWEST_REPEATS:
        return (
            f"Too few repeats for a claim ({comparison.repeats}, but at least {FEWEST_REPEATS} are needed): "
            f"with synthetic images, {metric.words}{at_size} changes {evidence}."
        )
    limits = "" if significant else f"; {_possible_gain(comparison, metric)}"
    if choice is not None and not choice.gain_shown:
        change = f"synthetic images {verb} {metric.words}" if significant else f"{metric.words} changes"
        return (
            f"Do not augment{at_size}: no mix showed a gain on the validation images (best of "
            f"{choice.candidates_tried}: {choice.words}; {_validation_gain(choice)}); "
            f"on the test images, {change} {evidence}{limits}."
        )
    if low > 0:
        return _gain_sentence(f"{verb} {metric.words}", evidence, mix, controls, at_size)
    if high < 0:
        return f"Do not augment{at_size}: synthetic images {verb} {metric.words} {evidence}."
    return (
        f"Do not augment{at_size}: no gain can be shown; with synthetic images, {metric.words} changes "
        f"{evidence}{limits}."
    )


def _gain_sentence(
    change: str, evidence: str, mix: Mapping[str, Any], controls: Sequence[Comparison], at_size: str
) -> str:
    """Say that a gain is shown and what to use, or which controls may do as well. change: the verb and the metric."""
    changes = {c.baseline: _evidence(c, significant=False)[1] for c in controls}
    if as_good := _as_good(controls):
        others = "; ".join(f"compared with {name}, the metric changes {changes[name]}" for name in as_good)
        return (
            f"Do not use this generator{at_size}: synthetic images {change} {evidence}, but a control may do "
            f"as well ({others})."
        )
    compared = "; ".join(f"compared with {name} {words}" for name, words in changes.items())
    over = f" They do more than the controls: {compared}." if controls else ""
    return f"Synthetic images {change}{at_size} {evidence}: use {describe_mix(mix)}.{over}"


def _possible_gain(comparison: Comparison, metric: Metric) -> str:
    """Say how large a gain the interval still allows, and how many repeats would show a small gain."""
    gain = "gain" if metric.higher_is_better else f"fall in {metric.words}"
    high = comparison.ci95[1] * metric.scale
    largest = f"{high:.{_digits([high], metric.decimals)}f} {metric.unit}"
    excluded = (
        f"a {gain} larger than {largest} can be excluded, a smaller one cannot" if high else "any gain is excluded"
    )
    return f"{excluded}; {_power(comparison, metric, gain)}"


def _repeats_for_small_gains(comparison: Comparison) -> list[int | None]:
    needed = (repeats_needed(gain, comparison.std_gain, comparison.correlation) for gain in SMALL_GAINS)
    return [None if repeats is None else max(repeats, FEWEST_REPEATS) for repeats in needed]


def _power(comparison: Comparison, metric: Metric, gain: str) -> str:
    """Say how many repeats would show each of the small gains, or that these were enough. gain: how it is called."""
    of_points = metric.unit == "points"
    sizes = ["1 point", "2 points"] if of_points else [f"{small:g} {metric.unit}" for small in SMALL_GAINS]
    (small, for_small), (larger, for_larger) = zip(sizes, _repeats_for_small_gains(comparison), strict=True)
    if for_larger is None:
        reason = "their training sets overlap" if comparison.correlation else "they vary too much"
        return f"no number of repeats would show a {gain} of {larger}, because {reason}"
    if for_small is not None and for_small <= comparison.repeats:
        return f"{comparison.repeats} repeats would have shown a {gain} of {small}"
    words = f"about {round_up(for_small):,} repeats" if for_small else "no number of repeats"
    if for_larger <= comparison.repeats:
        return f"{words} would show a {gain} of {small}, and these would have shown one of {larger}"
    return f"{words} would show a {gain} of {small}, and about {round_up(for_larger):,} one of {larger}"


def round_up(repeats: int) -> int:
    """Round up to two digits: the standard deviation that the number is based on is not known more precisely."""
    step: int = 10 ** max(len(str(repeats)) - 2, 0)
    return -(-repeats // step) * step


def _evidence(comparison: Comparison, significant: bool, against: str = "") -> tuple[str, str]:
    """Return "raise" or "lower", and the words for the size of the change with its interval and wins.

    A significant change is given without its sign, because the verb has it. against: what the arm is compared with.
    """
    metric = METRICS[comparison.metric]
    direction = 1 if metric.higher_is_better else -1  # from gains to changes of the metric itself
    change, *ends = (direction * v * metric.scale for v in (comparison.mean_gain, *comparison.ci95))
    verb = "raise" if change > 0 else "lower"
    if significant:
        change, ends = abs(change), [abs(e) for e in ends]
    digits = _digits([change, *ends], metric.decimals)
    size = f"{change:.{digits}f}" if significant else f"{change:+.{digits}f}"
    return verb, (
        f"by {size} {metric.unit}{against} (95 % interval {min(ends):.{digits}f} to {max(ends):.{digits}f}, "
        f"{comparison.wins} of {comparison.repeats} repeats better)"
    )


def _validation_gain(choice: Choice) -> str:
    return f"{100 * choice.mean_gain:+.1f} points, lower bound {100 * choice.lower_bound:.1f}"


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
        parts.append(f"the best {100 * mix['keep']:.3g}% of each class by {mix['filter']}")
    if mix.get("weight") == "confidence":
        parts.append("weighted by confidence")
    elif mix.get("weight", 1.0) != 1:
        parts.append(f"with weight {mix['weight']:g}")
    if mix.get("synthetic_first"):
        parts.append(f"alone in the first {mix['synthetic_first']:.0%} of the steps")
    elif mix.get("share") is not None:
        parts.append(f"{mix['share']:.0%} of {'the weight of all' if drawn_once else 'each batch'}")
    if mix.get("class_exponent", 0.0) < 0:
        parts.append("more of them for small classes")
    return ", ".join(parts)


def _digits(values: Sequence[float], fewest: int) -> int:
    """Return the number of decimals, `fewest` to 4, with which no value but 0 is printed as 0.

    Otherwise an interval that lies above 0 could begin with 0.0.
    """
    for digits in range(fewest, 4):
        if all(v == 0 or abs(v) >= 0.5 * 10**-digits for v in values):
            return digits
    return 4
