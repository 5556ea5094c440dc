"""The headline compares synthetic images with the best recipe without them."""

import numpy as np
import pytest
from toy import ALONE, ARMS, BASE, CLASSICAL, CLASSICAL_MORE, NONE, NONE_MORE, record, records_of, two_arms

from augment.errors import ConfigError
from pipelines.config.arm_section import Arm
from pipelines.results.comparisons import compare
from pipelines.results.pairs import declared_comparisons, headline_first

ADJUSTED = Arm(name="adjusted", policy="light", sampling="plain", long_tail="logit-adjustment")
ADJUSTED_MORE = ADJUSTED.model_copy(update={"name": "adjusted+synthetic", "synthetic": True})
BALANCED = Arm(name="balanced", policy="light", sampling="balanced")


def test_the_same_sampling_and_method_come_first_among_the_baselines():
    assert declared_comparisons([NONE, BALANCED, CLASSICAL, ADJUSTED, CLASSICAL_MORE, ADJUSTED_MORE]) == [
        ("classical+synthetic", "classical"),
        ("adjusted+synthetic", "adjusted"),
        ("classical+synthetic", "balanced"),
        ("classical+synthetic", "adjusted"),
        ("adjusted+synthetic", "balanced"),
        ("adjusted+synthetic", "classical"),
        ("classical", "none"),
        ("balanced", "classical"),
        ("adjusted", "classical"),
    ]


def test_methods_are_compared_without_any_synthetic_images():
    assert declared_comparisons([BALANCED, ADJUSTED]) == [("adjusted", "balanced")]
    alone = ALONE.model_copy(update={"policy": "light", "long_tail": "logit-adjustment", "sampling": "plain"})
    assert declared_comparisons([BALANCED, ADJUSTED, alone])[-1] == ("synthetic", "adjusted")


def test_the_headline_has_the_best_baseline_of_all_methods():
    arms = [NONE, NONE_MORE, CLASSICAL, ADJUSTED, BALANCED, CLASSICAL_MORE, ADJUSTED_MORE]
    pairs, lower = declared_comparisons(arms), [value - 0.1 for value in BASE]
    for best, headline_arm in (
        ("classical", CLASSICAL_MORE),
        ("adjusted", ADJUSTED_MORE),
        ("balanced", CLASSICAL_MORE),
    ):
        done = records_of(**{a.name: BASE if a.name in (best, "none") else lower for a in arms})
        found = headline_first(pairs, arms, done, "accuracy")
        assert found[0] == (headline_arm.name, best)
        assert [p for p in pairs if p != found[0]] == found[1:]
        assert headline_first(pairs, arms, done, "accuracy", "classical+synthetic")[0] == ("classical+synthetic", best)
        assert headline_first(pairs, arms, done, "accuracy", "none+synthetic")[0] == ("none+synthetic", "none")
        by_log_loss = headline_first(pairs, arms, done, "log_loss", "classical+synthetic")  # 2 - accuracy
        assert by_log_loss[0] == ("classical+synthetic", best)


FEATURES = Arm(name="features", learner="features")
FEATURES_MORE = Arm(name="features+synthetic", learner="features", synthetic=True)


def best_is(name, arms):
    lower = [value - 0.1 for value in BASE]
    return records_of(**{a.name: BASE if a.name == name else lower for a in arms})


def test_features_are_compared_with_features_and_a_plain_network():
    assert declared_comparisons([FEATURES_MORE, *ARMS, FEATURES]) == [
        ("classical+synthetic", "classical"),
        ("features+synthetic", "features"),
        ("none+synthetic", "none"),
        ("classical", "none"),
        ("features", "none"),
        ("synthetic", "none"),
    ]


def test_without_a_plain_network_all_recipes_are_compared_with_the_first_network():
    strong = Arm(name="strong", policy="strong")
    pairs = declared_comparisons([FEATURES, CLASSICAL_MORE, CLASSICAL, strong])
    assert pairs == [("classical+synthetic", "classical"), ("features", "classical"), ("strong", "classical")]
    assert declared_comparisons([FEATURES]) == []


@pytest.mark.parametrize("best", ["none", "classical", "features"])
def test_the_best_recipe_without_synthetic_images_is_in_the_headline(best):
    arms = [*ARMS, FEATURES, FEATURES_MORE]
    pairs = declared_comparisons(arms)
    found = headline_first(pairs, arms, best_is(best, arms), "accuracy")
    assert found[0] == (f"{best}+synthetic", best)
    assert sorted(found) == sorted(pairs)


def test_a_better_recipe_without_an_arm_of_its_own_is_the_baseline():
    arms = [*ARMS, FEATURES]
    pairs = declared_comparisons(arms)
    done = best_is("features", arms)
    assert headline_first(pairs, arms, done, "accuracy") == [("classical+synthetic", "features"), *pairs]
    assert headline_first(pairs, arms, done, "accuracy", "none+synthetic")[0] == ("none+synthetic", "features")


def test_a_control_of_the_best_recipe_is_not_the_headline():
    arms = [NONE, Arm(name="control", synthetic=True, feed="grid"), CLASSICAL, CLASSICAL_MORE]
    found = headline_first(declared_comparisons(arms), arms, best_is("none", arms), "accuracy")
    assert found[0] == ("classical+synthetic", "none")


def test_arms_that_converge_are_compared_with_any_steps():
    converged = [record(r, "features", 0.7, steps=0, batch_size=0) for r in range(6)]
    found = compare([*two_arms(), *converged], [("none+synthetic", "features"), ("features", "none")])
    assert found[0].mean_gain == pytest.approx(np.mean(BASE) + 0.03 - 0.7)
    assert found[1].mean_gain == pytest.approx(0.7 - np.mean(BASE))


def test_steps_of_different_learners_are_not_compared():
    tuned = [record(r, "finetune", 0.7, learner="finetune", steps=9, batch_size=32) for r in range(6)]
    found = compare([*two_arms(), *tuned], [("finetune", "none")])
    assert found[0].mean_gain == pytest.approx(0.7 - np.mean(BASE))
    other = [record(r, "finetune+synthetic", 0.7, learner="finetune", steps=8, batch_size=32) for r in range(6)]
    with pytest.raises(ConfigError, match=r"expected equal .*, got .*finetune.*8, 32"):
        compare([*tuned, *other], [("finetune+synthetic", "finetune")])


def test_without_mixed_arms_the_order_of_the_pairs_remains():
    for arms in ([NONE, CLASSICAL, FEATURES], [NONE, ALONE], []):
        pairs = declared_comparisons(arms)
        assert headline_first(pairs, arms, [], "accuracy") == pairs


def test_unlabelled_images_are_a_method_of_their_own():
    plain, unlabelled = (Arm(name=name, policy="light", unlabelled=u) for name, u in (("plain", 0.0), ("more", 0.5)))
    fresh = Arm(name="fresh", policy="light", synthetic=True, feed="generator")
    assert declared_comparisons([plain, unlabelled]) == [("more", "plain")]
    pairs = declared_comparisons([unlabelled, plain, fresh])
    assert pairs == [("fresh", "plain"), ("fresh", "more"), ("more", "plain")]
    records = records_of(plain=[0.6, 0.7], more=[0.8, 0.7], fresh=[0.7, 0.8])
    assert headline_first(pairs, [unlabelled, plain, fresh], records, "accuracy")[0] == ("fresh", "more")


def test_mixup_is_a_method_of_its_own():
    plain, sharp = (Arm(name=name, policy="light", mixup=alpha) for name, alpha in (("plain", None), ("sharp", 0)))
    assert declared_comparisons([plain, sharp]) == [("sharp", "plain")]
