"""Which arm to keep after a run, and how good its classifiers are."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.metric_specs import METRICS, default_metric
from pipelines.results.document import Results
from pipelines.results.statistics import corrected_t_interval
from pipelines.results.wording import describe_mean


def arm_to_keep(results: Results, real_only: Sequence[str]) -> str | None:
    """Return the recommended arm, or if there is none, the best of `real_only` by its mean; None without any.

    real_only: the arms without synthetic images.
    """
    if results.recommendation.arm is not None or not real_only:
        return results.recommendation.arm
    metric = metric_of(results)
    sign = 1 if METRICS[metric].higher_is_better else -1
    return max(real_only, key=lambda arm: sign * results.arms[arm][metric].mean)


def metric_of(results: Results) -> str:
    """Return the metric of the evaluation: that of its comparisons, or the default if there are none."""
    return results.comparisons[0].metric if results.comparisons else default_metric(results.dataset.train_per_class)


def interval_of_mean(results: Results, arm: str) -> tuple[float, float]:
    """Return the 95 % interval of the mean of the metric over the repeats, within the range of the metric."""
    metric = metric_of(results)
    low, high = corrected_t_interval(results.arms[arm][metric].values, results.protocol.correlation)
    return max(low, 0.0), min(high, 1.0) if METRICS[metric].higher_is_better else high


def keep_sentence(results: Results, real_only: Sequence[str]) -> str:
    """Return a sentence on which arm to keep and how good it is; empty if there is none. See `arm_to_keep`."""
    arm = arm_to_keep(results, real_only)
    if arm is None:
        return ""
    metric = metric_of(results)
    summary = results.arms[arm][metric]
    mean = describe_mean(metric, summary.mean, interval_of_mean(results, arm), len(summary.values))
    recipe = f" ({results.recipes[arm]})" if arm in results.recipes else ""
    return f"Keep the arm {arm}{recipe}: {mean}."
