"""Arms are compared in pairs, by the statistics that fit how the repeats were drawn."""

import numpy as np
import pytest
from scipy import stats
from toy import (
    ALONE,
    ARMS,
    BASE,
    CLASSICAL,
    CLASSICAL_MORE,
    GAIN,
    NONE,
    NONE_MORE,
    headline,
    record,
    records_of,
    two_arms,
)

from augment.errors import ConfigError
from pipelines.config.arm_section import Arm
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.records import Record, encode_labels
from pipelines.results.comparisons import compare, correctness, with_holm_p_values
from pipelines.results.pairs import control_comparisons, declared_comparisons
from pipelines.results.statistics import corrected_t_interval, corrected_t_p
from pipelines.results.two_way import two_way_interval


def test_a_comparison_subtracts_the_baseline_from_the_arm_in_pairs():
    found = headline(GAIN)
    assert (found.arm, found.baseline, found.metric) == ("none+synthetic", "none", "accuracy")
    assert found.mean_gain == pytest.approx(0.03)
    half = 2.5706 * (0.001 / 5 / 6) ** 0.5  # squares 100+100+400+0+400+0 in 1e-6; t with 5 degrees of freedom
    assert found.ci95 == pytest.approx([0.03 - half, 0.03 + half], abs=1e-5)
    assert found.p_value == 0.03125
    assert (found.wins, found.repeats) == (6, 6)
    assert found.per_class_gain == pytest.approx([0.03, 0.0])


def test_less_log_loss_is_a_gain():
    found = headline([0.02, 0.04, -0.01], "log_loss")
    assert found.mean_gain == pytest.approx(0.05 / 3)
    assert found.wins == 2
    assert found.per_class_gain[0] == pytest.approx(0.05 / 3)


def test_a_tie_is_no_win():
    assert headline([0.0, 0.1, 0.0, -0.1]).wins == 1


def test_a_class_without_test_images_gains_none():
    missing = [record(r, arm, 0.5, per_class_recall=[None, 0.5]) for r in range(2) for arm in "ab"]
    assert compare(missing, [("a", "b")])[0].per_class_gain == [None, 0.0]


def test_only_the_comparisons_after_the_headline_are_adjusted():
    done = records_of(
        none=BASE,
        up=[b + 0.01 * (i + 1) for i, b in enumerate(BASE)],
        down=[b - 0.01 * (i + 1) for i, b in enumerate(BASE)],
        mixed=[b + (-1) ** i * 0.01 for i, b in enumerate(BASE)],
    )
    compared = compare(done, [("up", "none"), ("mixed", "none"), ("down", "none")])
    compared = with_holm_p_values(compared)
    first, *others = compared
    assert first.p_value == 0.03125
    assert first.p_holm is None
    assert [o.p_value for o in others] == [1.0, 0.03125]
    assert [o.p_holm for o in others] == [1.0, 0.0625]
    assert [c.p_holm for c in with_holm_p_values(compared, has_headline=False)] == [0.09375, 1.0, 0.09375]


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
    strong = [Arm(name="A", policy="strong", synthetic=True), Arm(name="B", policy="strong")]
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


def test_overlapping_training_sets_widen_the_interval_and_take_another_test():
    plain, overlapping = headline(GAIN), headline(GAIN, correlation=0.25)
    assert overlapping.ci95 == pytest.approx(list(corrected_t_interval(GAIN, 0.25)))
    assert overlapping.ci95[0] < plain.ci95[0] < plain.ci95[1] < overlapping.ci95[1]
    assert overlapping.p_value == pytest.approx(corrected_t_p(GAIN, 0.25)) != plain.p_value
    assert overlapping.per_class_ci95[0] == pytest.approx(overlapping.ci95)


def test_an_interval_of_a_class_ends_where_recall_does():
    found = headline([0.3, -0.3])
    assert found.ci95[0] < -1
    assert found.per_class_ci95[0] == (-1.0, 1.0)


def test_each_class_has_an_interval_of_its_own():
    found = headline(GAIN)
    assert found.per_class_ci95[0] == pytest.approx(found.ci95)  # its recall is the accuracy
    assert found.per_class_ci95[1] == (0.0, 0.0)


def test_bca_stands_beside_from_twenty_repeats_on():
    rng = np.random.default_rng(0)
    base, more = rng.normal(0.7, 0.01, 20).tolist(), rng.normal(0.72, 0.01, 20).tolist()
    pairs = [("more", "base")]
    assert compare(records_of(base=base[:19], more=more[:19]), pairs)[0].ci95_bca is None
    found = compare(records_of(base=base, more=more), pairs)[0]
    assert found.ci95_bca == pytest.approx(found.ci95, abs=0.003)
    assert found.ci95_bca != found.ci95


LABELS = np.array([0, 0, 0, 1, 1, 0, 0, 1])


def predictions(arm, wrong):
    """Records of classifiers that are wrong about these images."""
    labels = [np.where(np.isin(np.arange(8), images), 1 - LABELS, LABELS) for images in wrong]
    return [record(r, arm, 0.5, predicted=encode_labels(predicted)) for r, predicted in enumerate(labels)]


def test_with_one_test_set_an_interval_allows_for_its_images_too():
    ours, theirs = [[0], [0, 3], [5]], [[0, 1, 3], [2, 3, 4], [5, 6, 1]]
    done = predictions("a", ours) + predictions("b", theirs)
    difference = np.zeros((3, 8))
    for r in range(3):
        difference[r, theirs[r]] += 1
        difference[r, ours[r]] -= 1
    plain = compare(done, [("a", "b")], "accuracy", test_labels=LABELS)[0].ci95_two_way
    assert plain == pytest.approx(list(two_way_interval(difference, seed=0)))
    balanced = compare(done, [("a", "b")], "balanced_accuracy", test_labels=LABELS)[0].ci95_two_way
    weights = np.where(LABELS == 0, 1 / 10, 1 / 6)
    assert balanced == pytest.approx(list(two_way_interval(difference, seed=0, weights=weights)))
    assert balanced != pytest.approx(plain, abs=1e-3)
    overlapping = compare(done, [("a", "b")], "accuracy", test_labels=LABELS, correlation=0.3)[0]
    assert overlapping.ci95_two_way == pytest.approx(list(two_way_interval(difference, seed=0, correlation=0.3)))
    assert compare(done, [("a", "b")], "log_loss", test_labels=LABELS)[0].ci95_two_way is None
    assert compare(done, [("a", "b")], "accuracy")[0].ci95_two_way is None


def test_predictions_travel_in_a_line_of_text():
    classes = np.array([0, 7, 65_535, 300])
    assert record(0, "a", 0.5, predicted=encode_labels(classes)).predicted_labels.tolist() == classes.tolist()
    right = correctness(predictions("a", [[0], [3, 5]]), LABELS)
    assert right.tolist() == [[i != 0 for i in range(8)], [i not in (3, 5) for i in range(8)]]


def test_soft_labels_are_compared_with_soft_labels():
    soft = Arm(name="soft", policy="light", soft_labels=True)
    soft_more = Arm(name="soft+synthetic", policy="light", synthetic=True, soft_labels=True)
    assert declared_comparisons([NONE, CLASSICAL, CLASSICAL_MORE, soft, soft_more]) == [
        ("classical+synthetic", "classical"),
        ("soft+synthetic", "soft"),
        ("classical", "none"),
        ("soft", "none"),
    ]
    assert declared_comparisons([CLASSICAL, soft_more]) == []


def test_a_generator_is_compared_with_controls_that_differ_in_their_feed_alone():
    mixed = {"policy": "light", "synthetic": True, "share": 0.25}
    fresh, grid = Arm(name="fresh", feed="generator", **mixed), Arm(name="grid", feed="grid", **mixed)
    more = Arm(name="more", feed="cutmix", **{**mixed, "share": 0.5})
    arms = [CLASSICAL, grid, fresh, more]
    assert control_comparisons(arms) == [("fresh", "grid")]
    assert declared_comparisons(arms)[0] == ("fresh", "classical")  # and no control is the headline
    assert {("grid", "classical"), ("more", "classical")} <= set(declared_comparisons(arms))


def test_images_of_a_folder_have_controls_too():
    folder = {"name": "folder", "policy": "classical", "synthetic": True, "share": 0.25}
    arms = ["classical", folder, {**folder, "name": "resample", "feed": "resample"}]
    resolved = EvaluateConfig(arms=arms).resolved_arms()
    assert control_comparisons(resolved) == [("folder", "resample")]


def same_every_time(arm: str, right: int) -> list[Record]:
    """Six equal records of 100 test images, of which so many are right."""
    predicted = encode_labels(np.where(np.arange(100) < right, 0, 1))
    return [record(r, arm, right / 100, predicted=predicted) for r in range(6)]


def test_repeats_that_are_all_the_same_count_as_one():
    done = [*same_every_time("a", 80), *same_every_time("b", 70)]
    [found] = compare(done, [("a", "b")], test_labels=np.zeros(100, int))
    assert (found.over_images, found.repeats, found.wins) == (True, 1, 1)
    error = np.sqrt(0.1 * 0.9 / 99)  # of the mean of 10 gains of 1 among 100 images
    assert found.ci95 == pytest.approx((0.1 - 1.984 * error, 0.1 + 1.984 * error), abs=0.004)
    assert found.p_value == pytest.approx(2 * stats.t.sf(0.1 / error, 99), rel=0.3)
    assert found.per_class_ci95[0] == pytest.approx(found.ci95)  # all images are of class 0


def test_two_test_images_of_a_class_allow_no_gain_above_one():
    labels = np.array([0] * 98 + [1] * 2)
    arms = {"a": [0] * 98 + [1, 0], "b": [0] * 100}
    done = [record(r, arm, 0.9, predicted=encode_labels(np.array(p))) for arm, p in arms.items() for r in range(6)]
    [found] = compare(done, [("a", "b")], test_labels=labels)
    assert (found.over_images, found.per_class_ci95[1]) == (True, (-1.0, 1.0))


def test_equal_repeats_allow_no_claim_without_an_interval_over_images():
    done = [*same_every_time("a", 80), *same_every_time("b", 70)]
    [found] = compare(done, [("a", "b")], "macro_f1", test_labels=np.zeros(100, int))
    assert (found.over_images, found.repeats, found.p_value) == (False, 1, 1.0)


def test_repeats_with_a_difference_or_their_own_images_count_each():
    done, other = same_every_time("a", 80), same_every_time("b", 70)
    labels = np.zeros(100, int)
    changed = [*other[:5], same_every_time("b", 71)[5]]
    [varying] = compare([*done, *changed], [("a", "b")], test_labels=labels)
    [overlapping] = compare([*done, *other], [("a", "b")], correlation=0.2, test_labels=labels)
    [own_tests] = compare([*done, *other], [("a", "b")])
    assert [(c.over_images, c.repeats) for c in (varying, overlapping, own_tests)] == [(False, 6)] * 3
