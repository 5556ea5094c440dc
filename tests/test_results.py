import json
from dataclasses import dataclass

import pytest

from augment.errors import ConfigError
from pipelines import results
from pipelines.results import (
    METRICS,
    build_results,
    compare,
    declared_comparisons,
    default_metric,
    recommend,
    summarise_arms,
)


@dataclass(frozen=True)
class Arm:
    name: str
    policy: str | None
    real: bool
    synthetic: bool


NONE, CLASSICAL = Arm("none", None, True, False), Arm("classical", "light", True, False)
ALONE = Arm("synthetic", None, False, True)
NONE_MORE, CLASSICAL_MORE = Arm("none+synthetic", None, True, True), Arm("classical+synthetic", "light", True, True)
ARMS = [NONE, CLASSICAL, ALONE, NONE_MORE, CLASSICAL_MORE]
BASE = [0.71, 0.74, 0.69, 0.73, 0.72, 0.70]
GAIN = [0.02, 0.04, 0.01, 0.03, 0.05, 0.03]
UNCLEAR = [0.03, -0.04, 0.01, -0.02, 0.015, -0.013]  # mean -0.003, half width 2.5706 * (668e-6 / 6) ** 0.5 = 0.0271
DATASET = {"name": "toy", "classes": ["a", "b"], "train_per_class": {"a": 9, "b": 8}, "test_size": 30}


def record(repeat, arm, accuracy, **other):
    return {
        "repeat": repeat,
        "arm": arm,
        "accuracy": accuracy,
        "balanced_accuracy": accuracy - 0.1,
        "macro_f1": accuracy - 0.2,
        "log_loss": 2 - accuracy,
        "expected_calibration_error": 0.1,
        "per_class_recall": [accuracy, 0.5],
        "confusion": [[7, 3], [8, 12 + repeat]],
        "seed": 40 + repeat,
        "steps": 300,
        "batch_size": 32,
        "seconds": 1.5,
        **other,
    }


def records_of(**accuracies):
    """Records of arms by name, in an order in which a grid run in parallel may end."""
    done = [record(r, arm, values[r]) for arm, values in accuracies.items() for r in range(len(values))]
    return done[::-1]


def two_arms(gain=GAIN):
    more = [b + g for b, g in zip(BASE, gain, strict=False)]
    return records_of(none=BASE[: len(gain)], **{"none+synthetic": more})


def headline(gain, metric="accuracy"):
    return compare(two_arms(gain), [("none+synthetic", "none")], metric)[0]


def test_an_arm_is_summed_up_in_the_order_of_repeats():
    summary = summarise_arms(two_arms())["none"]["accuracy"]
    assert summary["values"] == BASE
    assert summary["mean"] == pytest.approx(0.715)
    assert summary["std"] == pytest.approx((0.00175 / 5) ** 0.5)  # squares 25+625+625+225+25+225 in 1e-6
    assert set(summarise_arms(two_arms())["none"]) == set(METRICS)


def test_one_repeat_has_no_spread():
    assert summarise_arms([record(0, "none", 0.8)])["none"]["accuracy"] == {"mean": 0.8, "std": None, "values": [0.8]}


def test_a_comparison_subtracts_the_baseline_from_the_arm_in_pairs():
    found = headline(GAIN)
    assert (found["arm"], found["baseline"], found["metric"]) == ("none+synthetic", "none", "accuracy")
    assert found["mean_gain"] == pytest.approx(0.03)
    half = 2.5706 * (0.001 / 5 / 6) ** 0.5  # squares 100+100+400+0+400+0 in 1e-6; t with 5 degrees of freedom
    assert found["ci95"] == pytest.approx([0.03 - half, 0.03 + half], abs=1e-5)
    assert found["p_value"] == 0.03125
    assert (found["wins"], found["repeats"]) == (6, 6)
    assert found["per_class_gain"] == pytest.approx([0.03, 0.0])


def test_less_log_loss_is_a_gain():
    found = headline([0.02, 0.04, -0.01], "log_loss")
    assert found["mean_gain"] == pytest.approx(0.05 / 3)
    assert found["wins"] == 2
    assert found["per_class_gain"][0] == pytest.approx(0.05 / 3)


def test_a_tie_is_no_win():
    assert headline([0.0, 0.1, 0.0, -0.1])["wins"] == 1


def test_a_class_without_test_images_gains_none():
    missing = [record(r, arm, 0.5, per_class_recall=[None, 0.5]) for r in range(2) for arm in "ab"]
    assert compare(missing, [("a", "b")])[0]["per_class_gain"] == [None, 0.0]


def test_only_the_comparisons_after_the_headline_are_adjusted():
    done = records_of(
        none=BASE,
        up=[b + 0.01 * (i + 1) for i, b in enumerate(BASE)],
        down=[b - 0.01 * (i + 1) for i, b in enumerate(BASE)],
        mixed=[b + (-1) ** i * 0.01 for i, b in enumerate(BASE)],
    )
    first, *others = compare(done, [("up", "none"), ("mixed", "none"), ("down", "none")])
    assert first["p_value"] == 0.03125
    assert first["p_holm"] is None
    assert [o["p_value"] for o in others] == [1.0, 0.03125]
    assert [o["p_holm"] for o in others] == [1.0, 0.0625]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ([record(6, "none", 0.7)], "same repeats"),
        ([record(2, "none", 0.7), record(2, "none+synthetic", 0.7)], "each once"),
        ([record(6, "none", 0.7, steps=900), record(6, "none+synthetic", 0.7)], "equal .*900"),
    ],
)
def test_records_that_do_not_pair_up_are_refused(extra, message):
    with pytest.raises(ConfigError, match=message):
        compare(two_arms() + extra, [("none+synthetic", "none")])


def test_an_arm_that_was_never_run_is_refused():
    with pytest.raises(ConfigError, match="run the missing"):
        compare(two_arms(), [("x", "y")])


def test_an_unknown_metric_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="choose one of accuracy, balanced_accuracy"):
        compare(two_arms(), [("none+synthetic", "none")], "acuracy")


def test_the_headline_is_the_classical_recipe_with_and_without_synthetic_images():
    assert declared_comparisons(ARMS) == [
        ("classical+synthetic", "classical"),
        ("none+synthetic", "none"),
        ("classical", "none"),
        ("synthetic", "none"),
    ]


def test_arms_are_paired_by_policy_and_not_by_name():
    strong = [Arm("A", "strong", True, True), Arm("B", "strong", True, False)]
    assert declared_comparisons([CLASSICAL, NONE, *strong]) == [("A", "B"), ("classical", "none"), ("B", "none")]


@pytest.mark.parametrize(
    ("arms", "pairs"),
    [
        ([NONE, NONE_MORE, CLASSICAL_MORE], [("none+synthetic", "none")]),
        ([ALONE, NONE], [("synthetic", "none")]),
        ([NONE], []),
        ([], []),
    ],
)
def test_an_arm_without_its_baseline_is_not_compared(arms, pairs):
    assert declared_comparisons(arms) == pairs


def test_balanced_accuracy_is_the_default_above_one_and_a_half_times():
    assert default_metric({"a": 30, "b": 20}) == "accuracy"
    assert default_metric({"a": 20, "b": 31}) == "balanced_accuracy"


def test_a_shown_gain_recommends_the_arm_and_its_ratio():
    said = recommend(headline(GAIN), 1.0)
    assert (said["augment"], said["arm"], said["ratio"]) == (True, "none+synthetic", 1.0)
    assert said["sentence"] == (
        "Synthetic images raise accuracy by 3.0 points (95 % interval 1.5 to 4.5, 6 of 6 repeats better): "
        "use 1 synthetic image per real image."
    )
    assert "use 2.5 synthetic images per real image" in recommend(headline(GAIN), 2.5)["sentence"]


def test_an_interval_that_holds_zero_recommends_the_baseline():
    said = recommend(headline(UNCLEAR), 1.0)
    assert (said["augment"], said["arm"], said["ratio"]) == (False, "none", 0.0)
    assert said["sentence"] == (
        "Do not augment: with synthetic images accuracy changes by -0.3 points (95 % interval -3.0 to 2.4, "
        "3 of 6 repeats better), so no gain is shown."
    )


def test_a_gain_with_an_interval_that_holds_zero_is_not_recommended():
    said = recommend(headline([-g for g in UNCLEAR]), 1.0)
    assert (said["augment"], said["ratio"]) == (False, 0.0)
    assert "changes by +0.3 points (95 % interval -2.4 to 3.0, 3 of 6" in said["sentence"]


def test_a_shown_loss_is_called_a_loss():
    said = recommend(headline([-g for g in GAIN]), 1.0)
    assert not said["augment"]
    assert said["sentence"] == (
        "Do not augment: synthetic images lower accuracy by 3.0 points (95 % interval 1.5 to 4.5, "
        "0 of 6 repeats better)."
    )


def test_five_repeats_are_too_few_however_clear_they_look():
    said = recommend(headline([0.05] * 5), 1.0)
    assert (said["augment"], said["arm"], said["ratio"]) == (False, "none", 0.0)
    assert said["sentence"].startswith("Too few repeats for a claim (5, and 6 are needed)")
    assert "+5.0 points (95 % interval 5.0 to 5.0, 5 of 5" in said["sentence"]


def test_less_log_loss_is_said_to_be_lower_and_more_of_it_to_be_raised():
    assert "Synthetic images lower log loss by 0.030 nats" in recommend(headline(GAIN, "log_loss"), 1)["sentence"]
    worse = recommend(headline([-g for g in GAIN], "log_loss"), 1)["sentence"]
    assert "Do not augment: synthetic images raise log loss by 0.030 nats" in worse


def test_a_change_of_log_loss_keeps_its_own_sign_where_nothing_is_shown():
    said = recommend(headline(UNCLEAR, "log_loss"), 1)["sentence"]
    assert "log loss changes by +0.003 nats (95 % interval -0.024 to 0.030" in said


def test_an_interval_just_above_zero_does_not_read_as_zero():
    comparison = headline(GAIN) | {"ci95": [0.0002, 0.0402], "mean_gain": 0.0202}
    assert "by 2.02 points (95 % interval 0.02 to 4.02," in recommend(comparison, 1)["sentence"]


def test_without_a_comparison_there_is_nothing_to_recommend():
    said = recommend(None, 1.0)
    assert (said["augment"], said["arm"], said["ratio"]) == (False, None, 0.0)


def all_arms():
    return records_of(**{a.name: [b + i / 100 for b in BASE] for i, a in enumerate(ARMS)})


def test_results_have_the_declared_form_and_survive_json():
    built = build_results(all_arms(), ARMS, DATASET, {"kind": "holdout"}, 1.0, fidelity={"kid": 0.01})
    assert json.loads(json.dumps(built, allow_nan=False)) == built
    assert built["dataset"] == DATASET
    assert list(built["arms"]) == [a.name for a in ARMS]
    assert built["protocol"]["classifier_steps"] == 300
    assert built["protocol"]["repeats"] == 6
    assert "for these images" in built["protocol"]["note"]
    assert built["fidelity"] == {"kid": 0.01}
    assert built["recommendation"]["arm"] == "classical+synthetic"
    assert built["confusion"]["none"] == [[42, 18], [48, 6 * 12 + 15]]
    assert built["seeds"] == [40, 41, 42, 43, 44, 45]


def test_what_the_protocol_says_itself_stands():
    protocol = {"kind": "kfold", "note": "own words", "folds": 5}
    built = build_results(all_arms(), ARMS, DATASET, protocol, 1.0)
    assert built["protocol"]["note"] == "own words"
    assert built["protocol"]["folds"] == 5


def test_imbalance_turns_every_comparison_to_balanced_accuracy():
    dataset = DATASET | {"train_per_class": {"a": 5, "b": 50}}
    built = build_results(all_arms(), ARMS, dataset, {"kind": "holdout"}, 1.0)
    assert {c["metric"] for c in built["comparisons"]} == {"balanced_accuracy"}


def test_synthetic_images_alone_are_compared_but_never_recommended():
    done = records_of(none=BASE, synthetic=[b + 0.1 for b in BASE])
    built = build_results(done, [NONE, ALONE], DATASET, {"kind": "holdout"}, 1.0)
    assert built["comparisons"][0]["arm"] == "synthetic"
    assert built["recommendation"]["sentence"].startswith("Nothing to recommend")


def test_every_protocol_says_what_its_interval_leaves_out():
    assert set(results.PROTOCOL_NOTES) == {"holdout", "subsample", "kfold"}
