"""Compute the content of results.json from the records of an experiment.

A record (`experiment.records.Record`) holds the test results of one classifier: of one arm in one repeat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from pipelines.config.arm_section import Arm
from pipelines.experiment.folds import Design
from pipelines.experiment.records import Record, records_of_arm
from pipelines.metric_specs import METRICS, default_metric
from pipelines.results.best_recipe import recommend_recipe
from pipelines.results.comparisons import compare, with_holm_p_values
from pipelines.results.document import (
    Choice,
    Comparison,
    CurvePoint,
    Dataset,
    ProtocolSummary,
    Recommendation,
    Results,
    Summary,
)
from pipelines.results.pairs import (
    control_comparisons,
    declared_comparisons,
    has_headline,
    have_same_recipe,
    headline_first,
    unlabelled_comparisons,
)
from pipelines.results.recommendation import RecipeMatch, best_control, recommend, unlabelled_sentences
from pipelines.results.wording import describe_mix

OVER_IMAGES_NOTE = (
    "Both classifiers of the first comparison use no random numbers and are the same in every repeat. Its interval is "
    "over test images, and leaves out the effect of another training subset."
)


def build_results(
    records: Sequence[Record],
    arms: Sequence[Arm],
    dataset: Dataset,
    design: Design,
    ratio: float,
    *,
    ratio_by_need: float = 0.0,
    fidelity: Mapping[str, Any] | None = None,
    metric: str | None = None,
    choice: Choice | None = None,
) -> Results:
    """Return the content of results.json, without what `evaluation` adds: warnings, versions, recipes, ...

    arms: as they are defined, without the mix of `choice`. ratio: of arms that set none. ratio_by_need: of arms that
    use all images. metric: None: `default_metric`. choice: by `choose_mix`; the headline is then about its arm.
    """
    metric, names = metric or default_metric(dataset.train_per_class), [arm.name for arm in arms]
    by_size = {size: [r for r in records if r.size == size and r.arm in names] for size in design.correlation}
    first = next(iter(by_size))
    comparisons_by_size = _compare(by_size, _pairs(arms, by_size[first], metric, choice), metric, design, arms)
    records, comparisons = by_size[first], comparisons_by_size[first]
    headline = next((c for c in comparisons if c.p_holm is None), None)  # its p-value alone is not adjusted
    mix = _mix_of(headline.arm, arms, ratio, ratio_by_need) | (choice.mix if choice else {}) if headline else {}
    summaries = summarise_arms(records, names)
    return Results(
        dataset=dataset,
        protocol=_protocol(records, design, comparisons, _mix_sentence(headline.arm, mix, choice) if headline else ""),
        arms=summaries,
        comparisons=comparisons,
        fidelity=dict(fidelity or {}),
        choice=choice,
        recommendation=_recommendation(
            headline, comparisons, arms, metric=metric, summaries=summaries, mix=mix, choice=choice, size=first
        ),
        **_unlabelled(comparisons, arms),
        confusion=sum_confusions(records, names),
        learning_curve=_learning_curve(by_size, comparisons_by_size, names) if len(by_size) > 1 else [],
        seeds=list(_seeds(records).values()),
    )


def _pairs(arms: Sequence[Arm], records: Sequence[Record], metric: str, choice: Choice | None) -> list[tuple[str, str]]:
    """Return the pairs (arm, baseline) that are compared, the headline first."""
    pairs = headline_first(declared_comparisons(arms), arms, records, metric, choice.arm if choice else None)
    return list(dict.fromkeys([*pairs, *control_comparisons(arms), *unlabelled_comparisons(arms)]))


def _mix_of(name: str, arms: Sequence[Arm], ratio: float, ratio_by_need: float) -> dict[str, Any]:
    """Return the mix of the arm `name`. See `build_results`."""
    arm = next(arm for arm in arms if arm.name == name)
    return arm.mix(ratio_by_need if arm.by_need else ratio)


def _recommendation(
    headline: Comparison | None,
    comparisons: Sequence[Comparison],
    arms: Sequence[Arm],
    *,
    metric: str,
    summaries: Mapping[str, Mapping[str, Summary]],
    mix: Mapping[str, Any],
    choice: Choice | None,
    size: int | None,
) -> Recommendation:
    """Return what `recommend` says of the headline, or if there is none, `recommend_recipe` of the real images."""
    if headline is None:
        means = {arm.name: summaries[arm.name][metric].mean for arm in arms if not arm.synthetic}
        return recommend_recipe(means, metric, comparisons)
    pairs, names = control_comparisons(arms), {a.name for a in arms if a.is_control and not a.needs_generator}
    controls = [c for c in comparisons if c.arm == headline.arm and (c.arm, c.baseline) in pairs]
    instead = best_control([c for c in comparisons if c.baseline == headline.baseline], names)
    alike = [c for c in comparisons if c.arm == headline.arm and _differs_in_images(c, arms)]
    match = RecipeMatch(headline in alike, next((c for c in alike if c is not headline), None))
    return recommend(headline, mix, choice, size, controls=controls, instead=instead, match=match)


def _differs_in_images(comparison: Comparison, arms: Sequence[Arm]) -> bool:
    """Return whether the baseline has no synthetic images, and the recipe of the arm."""
    by_name = {arm.name: arm for arm in arms}
    arm, baseline = by_name[comparison.arm], by_name[comparison.baseline]
    return not baseline.synthetic and have_same_recipe(arm, baseline)


def _unlabelled(comparisons: Sequence[Comparison], arms: Sequence[Arm]) -> dict[str, str]:
    pairs = unlabelled_comparisons(arms)
    found = [c for c in comparisons if (c.arm, c.baseline) in pairs]
    return {"unlabelled": " ".join(unlabelled_sentences(found))} if found else {}


def _compare(
    by_size: Mapping[int | None, Sequence[Record]],
    pairs: Sequence[tuple[str, str]],
    metric: str,
    design: Design,
    arms: Sequence[Arm],
) -> dict[int | None, list[Comparison]]:
    """Return the comparisons at each size; their p-values are adjusted over all sizes together."""
    compared: list[Comparison] = []
    for size, records in by_size.items():
        correlation = design.correlation[size]
        compared += compare(records, pairs, metric, correlation=correlation, test_labels=design.test_labels)
    adjusted = iter(with_holm_p_values(compared, has_headline=has_headline(arms)))
    return {size: list(islice(adjusted, len(pairs))) for size in by_size}


def _protocol(
    records: Sequence[Record], design: Design, comparisons: Sequence[Comparison], mix: str
) -> ProtocolSummary:
    """Describe how the repeats of one size were drawn. mix: a sentence about the mix, or an empty string."""
    networks = [r for r in records if r.learner == "network"] or records
    note = OVER_IMAGES_NOTE if any(c.over_images for c in comparisons[:1]) else design.note
    return ProtocolSummary(
        kind=design.kind,
        repeats=len(_seeds(records)),
        classifier_steps=max(r.steps for r in networks),
        **({"fine_tuned": True} if {r.learner for r in networks if r.steps} == {"finetune"} else {}),
        batch_size=max(r.batch_size for r in networks),
        note=note,
        why=design.why,
        correlation=design.correlation[records[0].size],
        mix=mix,
        **design.reported,
    )


def _seeds(records: Sequence[Record]) -> dict[int, int]:
    """Return the seed of every repeat, in the order of the repeats."""
    return {r.repeat: r.seed for r in sorted(records, key=lambda r: r.repeat)}


def _mix_sentence(arm: str, mix: Mapping[str, Any], choice: Choice | None) -> str:
    origin = "chosen on validation images" if choice else "fixed in advance"
    return f"The mix of {arm}, {describe_mix(mix)}, was {origin}."


def _learning_curve(
    by_size: Mapping[int | None, Sequence[Record]],
    comparisons_by_size: Mapping[int | None, list[Comparison]],
    arms: Sequence[str],
) -> list[CurvePoint]:
    return [
        CurvePoint(per_class=size, arms=summarise_arms(records, arms), comparisons=comparisons_by_size[size])
        for size, records in by_size.items()
        if size is not None
    ]


def summarise_arms(records: Sequence[Record], arms: Sequence[str]) -> dict[str, dict[str, Summary]]:
    """Return `mean`, `std` (ddof 1, None with one repeat) and `values` (one per repeat) of each metric of each arm."""
    by_arm = {arm: records_of_arm(records, arm) for arm in arms}
    return {
        arm: {metric: _summary([r.metrics[metric] for r in of_arm]) for metric in METRICS}
        for arm, of_arm in by_arm.items()
    }


def sum_confusions(records: Sequence[Record], arms: Sequence[str]) -> dict[str, list[list[int]]]:
    """Return the K x K confusion counts of each arm, summed over its repeats; rows are true classes."""
    return {arm: np.sum([r.confusion for r in records_of_arm(records, arm)], axis=0).tolist() for arm in arms}


def _summary(values: list[float]) -> Summary:
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Summary(mean=float(np.mean(values)), std=std, values=values)
