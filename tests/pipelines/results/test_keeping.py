"""After a run, the report says which arm to keep and how good it is."""

from __future__ import annotations

import pytest
from toy import BASE, DATASET, GAIN, NONE, UNCLEAR, records_of

from pipelines.config.arm_section import Arm
from pipelines.experiment.folds import Design
from pipelines.results.document import Results
from pipelines.results.keeping import arm_to_keep, interval_of_mean, keep_sentence
from pipelines.results.results import build_results
from pipelines.results.statistics import corrected_t_interval

MORE = Arm(name="more", synthetic=True)
BETTER = [b + g for b, g in zip(BASE, GAIN, strict=True)]
REAL_ONLY = ["none"]


def results_of(more: list[float]) -> Results:
    return build_results(records_of(none=BASE, more=more), [NONE, MORE], DATASET, Design(), 1.0)


def test_the_recommended_arm_is_kept_and_its_mean_is_told() -> None:
    results = results_of(BETTER)
    assert arm_to_keep(results, REAL_ONLY) == "more"
    low, high = corrected_t_interval(BETTER, 0.0)
    assert interval_of_mean(results, "more") == pytest.approx((low, high))
    expected = f"Keep the arm more: accuracy 74.5 % (95 % interval {100 * low:.1f} to {100 * high:.1f}, 6 repeats)."
    assert keep_sentence(results, REAL_ONLY) == expected


def test_without_a_gain_the_baseline_is_kept_with_its_recipe() -> None:
    results = results_of(BASE).model_copy(update={"recipes": {"none": "a network, trained on real images"}})
    assert keep_sentence(results, REAL_ONLY).startswith(
        "Keep the arm none (a network, trained on real images): accuracy 71.5 %"
    )


def test_without_a_recommendation_the_best_of_the_real_arms_is_kept() -> None:
    light = Arm(name="light", policy="light")
    records = records_of(none=BASE, light=[b - g for b, g in zip(BASE, UNCLEAR, strict=True)])
    results = build_results(records, [NONE, light], DATASET, Design(), 1.0)
    assert results.recommendation.arm is None
    assert arm_to_keep(results, ["none", "light"]) == "light"


def test_equal_repeats_have_no_interval_and_no_real_arm_gives_nothing() -> None:
    results = build_results(records_of(none=[0.5] * 6), [NONE], DATASET, Design(), 1.0)
    assert keep_sentence(results, REAL_ONLY) == "Keep the arm none: accuracy 50.0 % (the same in 6 repeats)."
    assert keep_sentence(results, []) == ""


def test_an_interval_ends_at_the_range_of_the_metric() -> None:
    results = build_results(records_of(none=[0.7, 1.0] * 3), [NONE], DATASET, Design(), 1.0)
    assert interval_of_mean(results, "none")[1] == 1.0
