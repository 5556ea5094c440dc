"""Without synthetic images, the answer names the best recipe, and says whether it is shown to be better."""

from __future__ import annotations

from toy import BASE, DATASET, GAIN, UNCLEAR, records_of

from pipelines.config.arm_section import Arm
from pipelines.experiment.folds import Design
from pipelines.results.document import Recommendation
from pipelines.results.results import build_results

PLAIN, NO_MIXUP, BALANCED = Arm(name="plain"), Arm(name="no-mixup", mixup=0.0), Arm(name="even", sampling="balanced")


def answer(**gains: list[float]) -> Recommendation:
    arms = [arm for arm in (PLAIN, NO_MIXUP, BALANCED) if arm.name.replace("-", "_") in gains]
    records = records_of(**{arm: [b + g for b, g in zip(BASE, gain, strict=False)] for arm, gain in gains.items()})
    records = [r.model_copy(update={"arm": r.arm.replace("_", "-")}) for r in records]
    return build_results(records, arms, DATASET, Design(), 1.0).recommendation


NOTHING = [0.0] * 6


def test_a_recipe_that_is_shown_to_be_better_is_recommended():
    said = answer(plain=NOTHING, no_mixup=GAIN)
    assert (said.augment, said.arm, said.ratio, said.verdict) == (False, "no-mixup", 0.0, "another recipe is better")
    assert said.sentence == (
        "Use no-mixup. Of 2 recipes without synthetic images, no-mixup has the best mean of accuracy, which it raises "
        "by 3.0 points compared with plain (95 % interval 1.5 to 4.5, 6 of 6 repeats better)."
    )


def test_of_three_recipes_the_p_value_is_adjusted_for_two_comparisons():
    said = answer(plain=NOTHING, no_mixup=GAIN, even=UNCLEAR)  # p = 2 / 2^6, twice that after Holm
    assert (said.arm, said.verdict) == (None, "inconclusive")
    assert "but no gain is shown: the metric changes by +3.0 points compared with plain" in said.sentence


def test_the_best_mean_alone_is_no_claim():
    said = answer(plain=NOTHING, no_mixup=[-g for g in UNCLEAR])
    assert (said.arm, said.verdict) == (None, "inconclusive")
    assert said.sentence.startswith(
        "Of 2 recipes without synthetic images, no-mixup has the best mean of accuracy, but"
    )


def test_five_repeats_are_too_few_for_a_claim():
    said = answer(plain=NOTHING[:5], no_mixup=[0.05] * 5)
    assert (said.arm, said.verdict) == (None, "too few repeats")
    assert said.sentence.endswith("too few repeats for a claim (5, but at least 6 are needed).")


def test_if_the_first_recipe_is_best_the_next_one_is_named():
    said = answer(plain=NOTHING, no_mixup=[-0.05] * 6, even=[-0.01] * 6)
    assert (said.arm, said.verdict) == (None, "inconclusive")
    assert "plain has the best mean of accuracy; with even, the next that was compared with it, the" in said.sentence
    assert "changes by -1.0 points" in said.sentence


def test_a_single_recipe_has_nothing_to_be_compared_with():
    said = answer(plain=NOTHING)
    assert (said.augment, said.arm, said.ratio, said.verdict) == (False, None, 0.0, "nothing to compare")
    assert said.largest_gain_not_excluded is said.repeats_for_one_point is None
