"""Recommend in one sentence whether to train with synthetic images: the question that users want answered.

The rule is to do no harm. Synthetic images are recommended only if the interval of the gain lies above 0, if validation
showed a gain too where the mix was chosen on validation images, and if the interval over every control lies above 0.
Fewer than 6 repeats support no claim. Otherwise the answer is "do not augment", for one of five reasons: synthetic
images harm, another recipe is better without them, the gain may come from something else in the recipe, a control may
do as well, or the experiment is inconclusive. If it is inconclusive, the sentence says how large a gain is still
possible and how many repeats would show a small one. A control that needs no generator and gains over the baseline is
then recommended. `best_recipe` answers where nothing was compared with synthetic images.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from pipelines.metric_specs import MEANS_OVER_IMAGES, METRICS, MIN_REPEATS_FOR_CLAIM
from pipelines.results.document import Choice, Comparison, Recommendation
from pipelines.results.possible_gain import repeats_for_small_gains, what_is_possible
from pipelines.results.wording import describe_change, describe_mix

SIGNIFICANT = 0.05  # p-values


class Verdict(StrEnum):
    """The conclusion that the headline comparison allows about synthetic images."""

    HELPS = "helps"
    CONTROL = "no better than a control"
    HARMS = "harms"
    OTHER = "another recipe is better"
    CONFOUNDED = "the recipes differ"
    INCONCLUSIVE = "inconclusive"
    TOO_FEW = "too few repeats"
    NOTHING = "nothing to compare"


class RecipeMatch(NamedTuple):
    """How the recipe of a baseline compares with that of the arm.

    same_recipe: whether they differ in the synthetic images only; if not, sentences name the baseline. images_alone:
    the comparison with a baseline of the same recipe, if this one has another; None if there is none.
    """

    same_recipe: bool = True
    images_alone: Comparison | None = None

    @property
    def is_confounded(self) -> bool:
        """Whether no comparison tells what the images do, apart from the rest of the recipe."""
        return not self.same_recipe and self.images_alone is None


SAME_RECIPE = RecipeMatch()


def recommend(
    comparison: Comparison,
    mix: Mapping[str, Any],
    choice: Choice | None = None,
    size: int | None = None,
    *,
    controls: Sequence[Comparison] = (),
    instead: Comparison | None = None,
    match: RecipeMatch = SAME_RECIPE,
) -> Recommendation:
    """Return the content of results.json under `recommendation`: what to train with, and why.

    It recommends synthetic images only if the lower end of the interval is above 0 with at least 6 repeats and, where
    the mix was chosen, `choice` shows a gain. Otherwise it names the arm of `instead` or the baseline, and the ratio 0.

    comparison: the headline. mix: the chosen mix, or that of the compared arm (`Arm.mix`).
    choice: the content of results.json under that name; None if the mix was fixed in advance. size: the number of
    training images per class, if they were drawn from a larger pool. controls: the comparisons of the arm with its
    controls; the interval of its gain over each of them has to be above 0. instead: what `best_control` returns.
    match: how the recipe of the baseline compares with that of the arm.
    """
    verdict = _verdict(comparison, choice, controls, match)
    augment, limits = verdict == Verdict.HELPS, what_is_possible(comparison)
    for_one_point, for_two_points = repeats_for_small_gains(comparison)
    ending = f"; {limits}" if limits else ""
    sentence = _sentence(comparison, mix, choice, controls, ending, size=size, match=match)
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
        limits=limits,
        repeats_for_one_point=for_one_point,
        repeats_for_two_points=for_two_points,
    )


def best_control(comparisons: Sequence[Comparison], controls: Collection[str]) -> Comparison | None:
    """Return the comparison of the control with the largest gain, of those whose gain is shown; None if there is none.

    A gain is shown if its interval lies above 0 and, since the best of k controls is taken, k times its p-value is
    below 0.05 (Bonferroni). comparisons: those with the baseline of the headline. controls: the names of the controls
    that need no generator.
    """
    compared = [c for c in comparisons if c.arm in controls and c.allows_claim]
    gaining = [c for c in compared if c.ci95[0] > 0 and len(compared) * c.p_value < SIGNIFICANT]
    return max(gaining, key=lambda c: c.mean_gain, default=None)


def _instead(control: Comparison) -> str:
    verb, evidence = describe_change(control, significant=True, against=f" compared with {control.baseline}")
    return f"Use {control.arm}, which needs no generator: it {verb}s {METRICS[control.metric].words} {evidence}."


def unlabelled_sentences(comparisons: Sequence[Comparison]) -> list[str]:
    """Return a sentence for each comparison of an arm that learns from unlabelled images with the same without them.

    Whether they help is a question of its own, so the p-values are adjusted for these comparisons only (Bonferroni).
    """
    names = len(comparisons) > 1
    return [(f"{c.baseline}: " if names else "") + _unlabelled_sentence(c, len(comparisons)) for c in comparisons]


def _unlabelled_sentence(comparison: Comparison, comparisons: int) -> str:
    significant = (
        comparison.allows_claim and comparison.excludes_zero and comparisons * comparison.p_value < SIGNIFICANT
    )
    verb, evidence = describe_change(comparison, significant)
    words = METRICS[comparison.metric].words
    if significant:
        return f"Unlabelled images {verb} {words} {evidence}."
    reason = "no change can be shown" if comparison.allows_claim else "too few repeats for a claim"
    return f"With unlabelled images, {words} changes {evidence}: {reason}."


def _verdict(
    comparison: Comparison,
    choice: Choice | None,
    controls: Sequence[Comparison],
    match: RecipeMatch,
) -> Verdict:
    """Return the verdict; a gain on the test images proves nothing if validation did not show one for the mix."""
    low, high = comparison.ci95
    if not comparison.allows_claim:
        return Verdict.TOO_FEW
    if high < 0:
        return Verdict.HARMS if match.same_recipe else Verdict.OTHER
    if low <= 0 or not (choice is None or choice.gain_shown):
        return Verdict.INCONCLUSIVE
    if match.is_confounded:
        return Verdict.CONFOUNDED
    return Verdict.CONTROL if _as_good(controls) else Verdict.HELPS


def _as_good(controls: Sequence[Comparison]) -> list[str]:
    """Return the names of the controls over which no gain is shown."""
    return [control.baseline for control in controls if control.ci95[0] <= 0]


def _sentence(
    comparison: Comparison,
    mix: Mapping[str, Any],
    choice: Choice | None,
    controls: Sequence[Comparison],
    ending: str,
    *,
    size: int | None,
    match: RecipeMatch,
) -> str:
    metric, at_size = METRICS[comparison.metric], "" if size is None else f" at {size} images per class"
    low, high = comparison.ci95
    significant = comparison.allows_claim and comparison.excludes_zero
    against = "" if match.same_recipe else f" compared with {comparison.baseline}"
    verb, evidence = describe_change(comparison, significant, against)
    if not comparison.allows_claim:
        return _too_few(comparison, evidence, at_size)
    if choice is not None and not choice.gain_shown:
        change = f"synthetic images {verb} {metric.words}" if significant else f"{metric.words} changes"
        return (
            f"Do not augment{at_size}: no mix showed a gain on the validation images (best of "
            f"{choice.candidates_tried}: {choice.words}; {_validation_gain(choice)}); "
            f"on the test images, {change} {evidence}{ending}."
        )
    if low > 0 and match.is_confounded:
        return (
            f"Do not augment{at_size}: {_other_recipe(comparison, None)}, but the two differ in more than synthetic "
            f"images; add an arm like {comparison.arm} without them, to see what they do."
        )
    if low > 0:
        return _gain_sentence(f"{verb} {metric.words}", evidence, mix, controls, at_size)
    if high < 0 and match.same_recipe:
        return f"Do not augment{at_size}: synthetic images {verb} {metric.words} {evidence}."
    if high < 0:
        return f"Do not augment{at_size}: {_other_recipe(comparison, match.images_alone)}."
    arm = "synthetic images" if match.same_recipe else comparison.arm
    return (
        f"Do not augment{at_size}: no gain can be shown; with {arm}, {metric.words} changes {evidence}{ending}"
        f"{_images_alone(match.images_alone)}."
    )


def _too_few(comparison: Comparison, evidence: str, at_size: str) -> str:
    """Return the sentence for too few repeats. evidence: the size of the change, with its interval."""
    words, repeats = METRICS[comparison.metric].words, comparison.repeats
    if repeats > 1:
        return (
            f"Too few repeats for a claim ({repeats}, but at least {MIN_REPEATS_FOR_CLAIM} are needed): "
            f"with synthetic images, {words}{at_size} changes {evidence}."
        )
    others = " and ".join(METRICS[name].words for name in MEANS_OVER_IMAGES)
    return (
        f"No claim: all repeats are the same, and only {others} have an interval over test images; with synthetic "
        f"images, {words}{at_size} changes {evidence.partition(' (')[0]}."
    )


def _other_recipe(comparison: Comparison, images_alone: Comparison | None) -> str:
    """Return a clause on which recipe is better, that with synthetic images or that without, and what they change."""
    verb, evidence = describe_change(comparison, significant=True)
    compared = {"raise": "higher", "lower": "lower"}[verb]
    sentence = (
        f"{METRICS[comparison.metric].words} is {compared} with {comparison.arm} than with {comparison.baseline}, "
        f"{evidence}"
    )
    return f"{sentence}{_images_alone(images_alone)}"


def _images_alone(comparison: Comparison | None) -> str:
    """Return a clause on what the images change in the same recipe; empty if it was not compared without them."""
    if comparison is None:
        return ""
    _, change = describe_change(comparison, significant=False, against=f" compared with {comparison.baseline}")
    return f"; the synthetic images themselves change it {change}"


def _gain_sentence(
    change: str, evidence: str, mix: Mapping[str, Any], controls: Sequence[Comparison], at_size: str
) -> str:
    """Return the sentence for a gain: what to use, or which control may do as well. change: the verb and the metric."""
    changes = {c.baseline: describe_change(c, significant=False)[1] for c in controls}
    if as_good := _as_good(controls):
        others = "; ".join(f"compared with {name}, the metric changes {changes[name]}" for name in as_good)
        return (
            f"Do not use this generator{at_size}: synthetic images {change} {evidence}, but a control may do "
            f"as well ({others})."
        )
    compared = "; ".join(f"compared with {name} {words}" for name, words in changes.items())
    over = f" They do more than the controls: {compared}." if controls else ""
    return f"Synthetic images {change}{at_size} {evidence}: use {describe_mix(mix)}.{over}"


def _validation_gain(choice: Choice) -> str:
    return f"{100 * choice.mean_gain:+.1f} points, lower bound {100 * choice.lower_bound:.1f}"
