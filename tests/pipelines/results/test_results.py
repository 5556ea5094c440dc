"""The results of an evaluation: summaries of arms, comparisons, and the protocol in words."""

import pytest
from toy import ALONE, ARMS, BASE, DATASET, GAIN, NONE, NONE_MORE, chosen, record, records_of, two_arms

from pipelines.config.arm_section import Arm
from pipelines.experiment.folds import ONE_GENERATOR, Design
from pipelines.metric_specs import METRICS
from pipelines.results.document import Results, to_json
from pipelines.results.results import build_results, summarise_arms


def test_an_arm_is_summed_up_in_the_order_of_repeats():
    summary = summarise_arms(two_arms(), ["none"])["none"]["accuracy"]
    assert summary.values == BASE
    assert summary.mean == pytest.approx(0.715)
    assert summary.std == pytest.approx((0.00175 / 5) ** 0.5)  # squares 25+625+625+225+25+225 in 1e-6
    assert set(summarise_arms(two_arms(), ["none"])["none"]) == set(METRICS)


def test_one_repeat_has_no_spread():
    summary = summarise_arms([record(0, "none", 0.8)], ["none"])["none"]["accuracy"]
    assert (summary.mean, summary.std, summary.values) == (0.8, None, [0.8])


def all_arms():
    return records_of(**{a.name: [b + i / 100 for b in BASE] for i, a in enumerate(ARMS)})


def test_results_have_the_declared_form_and_survive_json():
    built = build_results(all_arms(), ARMS, DATASET, Design(note=ONE_GENERATOR), 1.0, fidelity={"kid": 0.01})
    assert Results.model_validate_json(to_json(built)) == built
    assert built.dataset == DATASET
    assert list(built.arms) == [a.name for a in ARMS]
    assert built.protocol.classifier_steps == 300
    assert built.protocol.repeats == 6
    assert "for these images" in built.protocol.note
    assert built.fidelity == {"kid": 0.01}
    assert built.recommendation.arm == "classical+synthetic"
    assert built.confusion["none"] == [[42, 18], [48, 6 * 12 + 15]]
    assert built.seeds == [40, 41, 42, 43, 44, 45]


def test_features_may_be_the_baseline_of_a_network():
    features = Arm(name="features", learner="features")
    converged = [record(r, "features", 0.9, steps=0, batch_size=0) for r in range(6)]
    built = build_results([*converged, *all_arms()], [features, *ARMS], DATASET, Design(), 1.0)
    first = built.comparisons[0]
    assert (first.arm, first.baseline) == ("classical+synthetic", "features")
    assert (built.recommendation.augment, built.recommendation.arm) == (False, "features")
    assert built.recommendation.verdict == "another recipe is better"
    assert "accuracy is lower with classical+synthetic than with features, by 1" in built.recommendation.sentence
    assert "themselves change it by +3.0 points compared with classical (95" in built.recommendation.sentence
    assert (built.protocol.classifier_steps, built.protocol.batch_size) == (300, 32)
    same = build_results(all_arms(), ARMS, DATASET, Design(), 1.0).recommendation
    assert "compared with" not in same.sentence


def test_the_protocol_is_described_with_its_notes():
    correlation = {None: 0.2}
    design = Design("kfold", why="no test split", correlation=correlation, reported={"folds": 5}, note="left out")
    protocol = build_results(all_arms(), ARMS, DATASET, design, 1.0).protocol
    assert (protocol.kind, protocol.why, protocol.note) == ("kfold", "no test split", "left out")
    assert (protocol.folds, protocol.correlation) == (5, 0.2)


def test_a_learning_curve_has_its_headline_at_the_smallest_size():
    sizes = {10: [b + 0.03 for b in BASE], 40: [b + (-1) ** i * 0.02 for i, b in enumerate(BASE)]}
    arms = [NONE, NONE_MORE]
    done = [
        record(r, name, values[r], size=size, fold=f"n{size}-r{r}")
        for size, more in sizes.items()
        for name, values in (("none", BASE), ("none+synthetic", more))
        for r in range(6)
    ]
    design = Design("subsample", correlation={10: 0.0, 40: 0.4})
    built = build_results(done, arms, DATASET, design, 1.0)
    assert [point.per_class for point in built.learning_curve] == [10, 40]
    first, second = (point.comparisons[0] for point in built.learning_curve)
    assert (first.mean_gain, first.p_holm) == (pytest.approx(0.03), None)
    assert second.mean_gain == pytest.approx(0.0)
    assert second.p_holm == second.p_value == pytest.approx(1.0)
    assert second.ci95[1] > 0.05  # corrected for the overlap; 0.023 without
    assert built.comparisons == [first]
    assert built.arms == built.learning_curve[0].arms
    assert built.recommendation.augment


def test_imbalance_turns_every_comparison_to_balanced_accuracy():
    dataset = DATASET.model_copy(update={"train_per_class": {"a": 5, "b": 50}})
    built = build_results(all_arms(), ARMS, dataset, Design(), 1.0)
    assert {c.metric for c in built.comparisons} == {"balanced_accuracy"}


def test_synthetic_images_alone_are_compared_but_never_recommended():
    done = records_of(none=BASE, synthetic=[b + 0.1 for b in BASE])
    built = build_results(done, [NONE, ALONE], DATASET, Design(), 1.0)
    assert built.comparisons[0].arm == "synthetic"
    assert built.recommendation.sentence.startswith("Nothing to recommend")


def test_the_advice_is_the_mix_of_the_arm_that_was_compared():
    more = Arm(name="none+synthetic", synthetic=True, ratio=3.0, weight="confidence")
    built = build_results(records_of(**dict(zip(("none", "none+synthetic"), gained(), strict=True))), [NONE, more],
                          DATASET, Design(), 1.0)  # fmt: skip
    assert built.recommendation.ratio == 3.0
    assert "use 3 synthetic images per real image, weighted by confidence." in built.recommendation.sentence
    assert built.protocol.mix == (
        "The mix of none+synthetic, 3 synthetic images per real image, weighted by confidence, was fixed in advance."
    )


def test_the_headline_is_of_the_arm_that_a_mix_was_chosen_for():
    other = Arm(name="more", synthetic=True, synthetic_first=0.2)
    choice = chosen("more", {"ratio": 2.0})
    plain, more = gained()
    done = records_of(none=plain, **{"none+synthetic": plain, "more": more})
    built = build_results(done, [NONE, NONE_MORE, other], DATASET, Design(), 1.0, choice=choice)
    assert [c.arm for c in built.comparisons] == ["more", "none+synthetic"]
    assert built.comparisons[0].p_holm is None
    words = "2 synthetic images per real image, alone in the first 20% of the steps"
    assert built.recommendation.sentence.endswith(f"use {words}.")
    assert built.protocol.mix == f"The mix of more, {words}, was chosen on validation images."


def gained():
    return BASE, [b + g for b, g in zip(BASE, GAIN, strict=True)]


def test_a_sentence_on_unlabelled_images_compares_real_arms():
    arms = [Arm(name="plain", policy="light"), Arm(name="more", policy="light", unlabelled=0.5)]
    fresh = Arm(name="fresh", policy="light", synthetic=True, feed="generator", unlabelled=0.5)
    records = records_of(plain=BASE, more=[b + 0.1 for b in BASE], fresh=BASE)
    results = build_results(records, [*arms, fresh], DATASET, Design(), 1.0)
    assert results.unlabelled.startswith("Unlabelled images raise accuracy by 10.0 points")
    assert build_results(records, [arms[0], fresh], DATASET, Design(), 1.0).unlabelled == ""
    features = [Arm(name="f", learner="features"), Arm(name="g", learner="features", unlabelled=0.5)]
    records = records_of(plain=BASE, more=[b + 0.1 for b in BASE], f=BASE, g=BASE)
    folds = Design("kfold", correlation={None: 0.2})
    both = build_results(records, [*arms, *features], DATASET, folds, 1.0).unlabelled
    assert both.startswith("plain: Unlabelled images raise accuracy by 10.0 points")
    assert "f: With unlabelled images, accuracy changes by +0.0 points" in both


def test_another_learner_with_unlabelled_images_says_nothing_about_them():
    features = Arm(name="f", learner="features", unlabelled=0.5)
    records = records_of(none=BASE, f=[b + 0.1 for b in BASE])
    assert build_results(records, [NONE, features], DATASET, Design(), 1.0).unlabelled == ""


def test_synthetic_images_are_not_blamed_for_what_unlabelled_ones_gain():
    arms = [NONE, NONE_MORE, Arm(name="more", unlabelled=0.5)]
    values = {"none": BASE, "none+synthetic": [b + 0.02 for b in BASE], "more": [b + 0.06 for b in BASE]}
    said = build_results(records_of(**values), arms, DATASET, Design(), 1.0).recommendation
    assert (said.verdict, said.arm) == ("another recipe is better", "more")
    assert "accuracy is lower with none+synthetic than with more, by 4.0 points" in said.sentence
    assert "the synthetic images themselves change it by +2.0 points compared with none" in said.sentence


def test_an_arm_with_a_chosen_mix_keeps_its_controls():
    control = Arm(name="grid", synthetic=True, feed="grid")
    plain, more = gained()
    done = records_of(none=plain, **{"none+synthetic": more, "grid": more})
    choice = chosen("none+synthetic", {"ratio": 2.0, "keep": 0.5, "filter": "score"})
    built = build_results(done, [NONE, NONE_MORE, control], DATASET, Design(), 1.0, choice=choice)
    assert ("none+synthetic", "grid") in [(c.arm, c.baseline) for c in built.comparisons]
    assert built.recommendation.verdict == "no better than a control"


def test_a_control_is_never_what_is_recommended_without_synthetic_images():
    fresh, grid = (Arm(name=feed, policy="light", synthetic=True, feed=feed) for feed in ("generator", "grid"))
    done = records_of(none=BASE, generator=[b - 0.05 for b in BASE], grid=[b - 0.08 for b in BASE])
    said = build_results(done, [NONE, fresh, grid], DATASET, Design(), 1.0).recommendation
    assert (said.augment, said.arm, said.verdict) == (False, "none", "another recipe is better")
    said = build_results(done[:-6], [fresh, grid], DATASET, Design(), 1.0).recommendation
    assert (said.augment, said.arm, said.verdict) == (False, None, "nothing to compare")
