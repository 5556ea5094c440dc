"""Answer in one sentence which recipe is best, where no recipe with synthetic images was compared with one without.

The best recipe has the best mean of the metric. That it is better than the baseline that it was compared with is
claimed only if the interval lies above 0, the p-value, adjusted by Holm for all comparisons, is below 0.05, and there
are enough repeats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipelines.metric_specs import METRICS, MIN_REPEATS_FOR_CLAIM
from pipelines.results.document import Comparison, Recommendation
from pipelines.results.recommendation import SIGNIFICANT, Verdict
from pipelines.results.wording import describe_change


def recommend_recipe(means: Mapping[str, float], metric: str, comparisons: Sequence[Comparison]) -> Recommendation:
    """Return the content of results.json under `recommendation`, whose arm is None if no recipe is shown to be better.

    means: of `metric`, by arm without synthetic images, in the order of the arms. comparisons: with p-values adjusted
    for all of them; those with other arms are ignored.
    """
    if len(means) < 2:
        sentence = "Nothing to recommend: fewer than two recipes without synthetic images were compared."
        return _recommendation(Verdict.NOTHING, sentence)
    sign = 1 if METRICS[metric].higher_is_better else -1
    best = max(means, key=lambda arm: sign * means[arm])
    lead = f"Of {len(means)} recipes without synthetic images, {best} has the best mean of {METRICS[metric].words}"
    among = [c for c in comparisons if {c.arm, c.baseline} <= means.keys()]
    over = next((c for c in among if c.arm == best), None)
    if over is not None:
        return _over_its_baseline(lead, over)
    nearest = max((c for c in among if c.baseline == best), key=lambda c: c.mean_gain, default=None)
    if nearest is None:
        return _recommendation(Verdict.INCONCLUSIVE, f"{lead}.")
    _, evidence = describe_change(nearest, significant=False)
    sentence = f"{lead}; with {nearest.arm}, the next that was compared with it, the metric changes {evidence}."
    return _recommendation(Verdict.INCONCLUSIVE if nearest.allows_claim else Verdict.TOO_FEW, sentence)


def _over_its_baseline(lead: str, over: Comparison) -> Recommendation:
    """Return the recommendation for a best recipe that was compared with a baseline."""
    is_shown = over.allows_claim and over.ci95[0] > 0 and over.p_holm is not None and over.p_holm < SIGNIFICANT
    verb, evidence = describe_change(over, is_shown, against=f" compared with {over.baseline}")
    if is_shown:
        return _recommendation(Verdict.OTHER, f"Use {over.arm}. {lead}, which it {verb}s {evidence}.", over.arm)
    if not over.allows_claim:
        reason = f"too few repeats for a claim ({over.repeats}, but at least {MIN_REPEATS_FOR_CLAIM} are needed)"
        return _recommendation(Verdict.TOO_FEW, f"{lead}, which it changes {evidence}: {reason}.")
    return _recommendation(Verdict.INCONCLUSIVE, f"{lead}, but no gain is shown: the metric changes {evidence}.")


def _recommendation(verdict: Verdict, sentence: str, arm: str | None = None) -> Recommendation:
    return Recommendation(augment=False, arm=arm, ratio=0.0, verdict=verdict.value, sentence=sentence)
