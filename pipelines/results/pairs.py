"""Which arms are compared with which: the pairs of an evaluation, and its headline.

The pairs depend only on the definitions of the arms, so they are declared before there is any result. Only the baseline
of the headline depends on results.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipelines.config.arm_section import MIX_SETTINGS, Arm
from pipelines.experiment.records import Record, records_of_arm
from pipelines.metric_specs import gains

Kind = tuple[str, str | None, bool]  # `Arm.kind`
PLAIN = Arm(name="none")
NOT_OF_RECIPE = ("real", "synthetic", "forecast", *MIX_SETTINGS)
KIND_SETTINGS = ("learner", "policy", "soft_labels")  # of `Arm.kind`


def declared_comparisons(arms: Sequence[Arm]) -> list[tuple[str, str]]:
    """Return the pairs (arm, baseline) to compare; the first one is the headline, unless `headline_first` moves it.

    The pairs depend only on the definitions of the arms, so they are declared before there is any result. In order:

    1. real and synthetic images against real images, with the same learner, policy and kind of labels; arms with a
       classical policy come before arms without one, and baselines with the same method (sampling, long-tail method,
       mixup, operating point, unlabelled images) as the arm before those with others; controls come last;
    2. each policy and each other learner against a network without a policy, or if there is none, against the first
       network, on real images, and then each arm of real images with a method of its own against an arm of the same
       learner, policy and labels: the one without its own, or else the first one;
    3. synthetic images alone against real images.
    """
    by_recipe = {_recipe(a): a for a in arms if a.real and not a.synthetic}
    real_only, references = list(by_recipe.values()), dict[Kind, Arm]()
    for arm in sorted(real_only, key=lambda a: _method(a) != _method(PLAIN)):
        references.setdefault(arm.kind, arm)
    mixed = [(a, b) for a in arms if a.real and a.synthetic for b in real_only if a.kind == b.kind]
    mixed.sort(key=lambda pair: (pair[0].is_control, pair[0].policy is None, _method(pair[0]) != _method(pair[1])))
    base = references.get(PLAIN.kind) or next((a for a in references.values() if a.learner == "network"), None)
    methods = [a for a in real_only if a is not references[a.kind]]
    synthetic_only = [a for a in arms if a.synthetic and not a.real and a.kind in references]
    synthetic_only.sort(key=lambda a: a.policy is None)
    pairs = [
        *mixed,
        *((a, base) for a in references.values() if base is not None and a is not base),
        *((a, references[a.kind]) for a in methods),
        *((a, by_recipe.get(_recipe(a), references[a.kind])) for a in synthetic_only),
    ]
    return [(arm.name, baseline.name) for arm, baseline in pairs]


def control_comparisons(arms: Sequence[Arm]) -> list[tuple[str, str]]:
    """Return the pairs (arm, control): arms with a generator's images, and controls that differ in nothing else.

    arms: as they are defined, without a mix that was chosen for one of them.
    """
    mixed = [a for a in arms if a.real and a.synthetic]
    controls = [a for a in mixed if a.is_control]
    return [(a.name, c.name) for a in mixed if not a.is_control for c in controls if _differ_only_in(("feed",), a, c)]


def unlabelled_comparisons(arms: Sequence[Arm]) -> list[tuple[str, str]]:
    """Return the pairs (arm, baseline) of real images, with and without unlabelled ones, with no other difference."""
    real_only = [a for a in arms if not a.synthetic]
    fields = ("unlabelled", "forecast")
    return [
        (a.name, b.name)
        for a in real_only
        if a.unlabelled
        for b in real_only
        if not b.unlabelled and _differ_only_in(fields, a, b)
    ]


def have_same_recipe(arm: Arm, baseline: Arm) -> bool:
    """Return whether the results of two arms differ because of synthetic images only: they have no other difference."""
    return _recipe(arm) == _recipe(baseline)


def _recipe(arm: Arm) -> Arm:
    """Return all settings of an arm except those of its synthetic images."""
    return _without(arm, NOT_OF_RECIPE)


def _method(arm: Arm) -> Arm:
    """Return its recipe without its kind: sampling, long-tail method, mixup, operating point, unlabelled images."""
    return _without(arm, (*NOT_OF_RECIPE, *KIND_SETTINGS))


def _differ_only_in(settings: Iterable[str], first: Arm, second: Arm) -> bool:
    """Return whether two arms are equal except for their names and these settings."""
    return _without(first, settings) == _without(second, settings)


def _without(arm: Arm, settings: Iterable[str]) -> Arm:
    """Return the arm without its name, with the defaults of these settings."""
    defaults = {name: Arm.model_fields[name].default for name in settings}
    point = arm.operating_point if arm.is_cross_fitted else None
    return arm.model_copy(update={"name": "", "operating_point": point, **defaults})


def has_headline(arms: Sequence[Arm]) -> bool:
    """Return whether there are arms of real images with synthetic ones, and arms without them."""
    return any(a.real and a.synthetic for a in arms) and not all(a.synthetic for a in arms)


def headline_first(
    pairs: Sequence[tuple[str, str]],
    arms: Sequence[Arm],
    records: Sequence[Record],
    metric: str,
    arm: str | None = None,
) -> list[tuple[str, str]]:
    """Return the declared pairs with the headline first, if there are arms with and without synthetic images.

    The baseline of the headline is the best of all arms without synthetic images by the mean of `metric`, whatever its
    learner, policy, sampling or long-tail method is; of equally good ones, it is the first in the order of the pairs.
    The arm of the headline is `arm`, or if that is None, the arm of the first pair with this baseline, and so one of
    the same recipe. If there is no such pair, it is the arm of the first pair, or the first arm, against this baseline.

    The choice of the baseline uses the results, but it can only lower the gain. A claim that synthetic images help
    therefore remains valid. That they harm is claimed only against a baseline of the same recipe (`recommend`), and may
    still be too strong where several recipes are compared.
    """
    if not has_headline(arms):
        return list(pairs)
    mixed = [a for a in arms if a.real and a.synthetic]
    names = [a.name for a in mixed if not a.is_control] or [a.name for a in mixed]
    names = names if arm is None else [arm]
    candidates = [pair for pair in pairs if pair[0] in names]
    real_only = [a.name for a in arms if not a.synthetic]
    baselines = list(dict.fromkeys([*(baseline for _, baseline in candidates), *real_only]))
    values = {b: [r.metrics[metric] for r in records_of_arm(records, b)] for b in baselines}
    best = max(baselines, key=lambda b: gains(values[b], values[baselines[0]], metric).mean())
    first = candidates[0][0] if candidates else names[0]
    headline = next((pair for pair in candidates if pair[1] == best), (first, best))
    return [headline, *(pair for pair in pairs if pair != headline)]
