"""What a comparison that shows no change leaves open: how large a gain may be, and what would show a small one."""

from __future__ import annotations

from pipelines.metric_specs import METRICS, MIN_REPEATS_FOR_CLAIM, Metric
from pipelines.results.document import Comparison
from pipelines.results.statistics import repeats_needed
from pipelines.results.wording import digits_for

SMALL_GAINS = (0.01, 0.02)  # in the metric's own scale: 1 and 2 points, or 0.01 and 0.02 nats of log loss


def what_is_possible(comparison: Comparison) -> str:
    """Return a clause on the gain that is still possible; empty if a change is shown or nothing is claimed."""
    if comparison.excludes_zero or not comparison.allows_claim:
        return ""
    return _possible_gain(comparison, METRICS[comparison.metric])


def _possible_gain(comparison: Comparison, metric: Metric) -> str:
    """Return a clause on the largest gain within the interval, and on the repeats that would show a small gain."""
    if comparison.std_gain == 0 and not comparison.over_images:
        return "every repeat shows the same difference, so that these test images tell nothing about smaller ones"
    gain = "gain" if metric.higher_is_better else f"fall in {metric.words}"
    high = comparison.ci95[1] * metric.scale
    largest = f"{high:.{digits_for([high], metric.decimals)}f} {metric.unit}"
    excluded = (
        f"a {gain} larger than {largest} can be excluded, a smaller one cannot" if high else "any gain is excluded"
    )
    return f"{excluded}; {_power(comparison, metric, gain)}"


def repeats_for_small_gains(comparison: Comparison) -> list[int | None]:
    """Return how many repeats would show each of `SMALL_GAINS` with 80 % power; None if no number would."""
    if comparison.std_gain == 0:
        return [None, None]
    needed = (repeats_needed(gain, comparison.std_gain, comparison.correlation) for gain in SMALL_GAINS)
    return [None if repeats is None else max(repeats, MIN_REPEATS_FOR_CLAIM) for repeats in needed]


def _power(comparison: Comparison, metric: Metric, gain: str) -> str:
    """Return a clause on how many repeats would show each of the small gains. gain: the word for it."""
    of_points = metric.unit == "points"
    sizes = ["1 point", "2 points"] if of_points else [f"{small:g} {metric.unit}" for small in SMALL_GAINS]
    (small, for_small), (larger, for_larger) = zip(sizes, repeats_for_small_gains(comparison), strict=True)
    if for_larger is None:
        reason = "their training sets overlap" if comparison.correlation else "they vary too much"
        reason = "they are all the same" if comparison.over_images else reason
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
