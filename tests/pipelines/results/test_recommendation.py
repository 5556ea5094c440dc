"""The answer in one sentence: augment only where a gain is shown."""

import re

import numpy as np
import pytest
from scipy import stats
from toy import GAIN, UNCLEAR, chosen, headline

from pipelines.results.possible_gain import round_up
from pipelines.results.recommendation import RecipeMatch, recommend, unlabelled_sentences

MIX = {"ratio": 1.0}


def test_a_shown_gain_recommends_the_arm_and_its_ratio():
    said = recommend(headline(GAIN), MIX)
    assert (said.augment, said.arm, said.ratio) == (True, "none+synthetic", 1.0)
    assert said.sentence == (
        "Synthetic images raise accuracy by 3.0 points (95 % interval 1.5 to 4.5, 6 of 6 repeats better): "
        "use 1 synthetic image per real image."
    )
    assert "use 2.5 synthetic images per real image" in recommend(headline(GAIN), {"ratio": 2.5}).sentence


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (GAIN, r"Unlabelled images raise accuracy by 3.0 points \(95 % interval 1.5 to 4.5, 6 of 6 repeats better\)\."),
        ([-g for g in GAIN], r"Unlabelled images lower accuracy by 3.0 points .*better\)\."),
        (UNCLEAR, r"With unlabelled images, accuracy changes by .*better\): no change can be shown\."),
        ([0.05] * 5, r"With unlabelled images, accuracy changes by \+5.0 .*: too few repeats for a claim\."),
    ],
)
def test_a_change_by_unlabelled_images_is_told_with_its_interval(gain, words):
    [sentence] = unlabelled_sentences([headline(gain)])
    assert re.fullmatch(words, sentence)


def test_of_two_comparisons_with_unlabelled_images_each_needs_half_the_p_value():
    first, second = unlabelled_sentences([headline(GAIN), headline(GAIN)])  # each p = 2 / 2^6
    assert first == second
    assert first.startswith("none: With unlabelled images, accuracy changes by +3.0")
    assert first.endswith("no change can be shown.")


@pytest.mark.parametrize(
    ("gain", "begin"),
    [
        (GAIN, "Synthetic images raise accuracy at 20 images per class by 3.0 points"),
        (
            UNCLEAR,
            "Do not augment at 20 images per class: no gain can be shown; with synthetic images, accuracy changes by",
        ),
        ([-g for g in GAIN], "Do not augment at 20 images per class: synthetic images lower accuracy by"),
        ([0.05] * 5, "Too few repeats for a claim (5, but at least 6 are needed): with synthetic images, accuracy at"),
    ],
)
def test_images_drawn_from_more_are_numbered(gain, begin):
    assert recommend(headline(gain), MIX, size=20).sentence.startswith(begin)


@pytest.mark.parametrize(
    ("gain", "begin"),
    [
        ([-g for g in GAIN], "Do not augment: accuracy is lower with none+synthetic than with none, by 3.0 points (95"),
        (
            UNCLEAR,
            "Do not augment: no gain can be shown; with none+synthetic, accuracy changes by -0.3 points compared",
        ),
    ],
)
def test_a_baseline_of_another_recipe_is_named(gain, begin):
    assert recommend(headline(gain), MIX, match=RecipeMatch(False)).sentence.startswith(begin)


def test_a_gain_over_another_recipe_is_not_put_down_to_images():
    said = recommend(headline(GAIN), MIX, match=RecipeMatch(False))
    assert (said.augment, said.arm, said.verdict) == (False, "none", "the recipes differ")
    assert said.sentence == (
        "Do not augment: accuracy is higher with none+synthetic than with none, by 3.0 points (95 % interval 1.5 to "
        "4.5, 6 of 6 repeats better), but the two differ in more than synthetic images; add an arm like none+synthetic "
        "without them, to see what they do."
    )
    alone = headline(GAIN).model_copy(update={"baseline": "classical"})
    said = recommend(headline(GAIN), MIX, match=RecipeMatch(False, alone))
    assert (said.augment, said.arm) == (True, "none+synthetic")
    assert said.sentence.startswith("Synthetic images raise accuracy by 3.0 points compared with none (95 % interval")


@pytest.mark.parametrize(
    ("gain", "verdict"), [([-g for g in GAIN], "another recipe is better"), (UNCLEAR, "inconclusive")]
)
def test_images_are_not_blamed_for_a_baseline_of_another_recipe(gain, verdict):
    alone = headline(GAIN).model_copy(update={"baseline": "classical"})
    said = recommend(headline(gain), MIX, match=RecipeMatch(False, alone))
    assert (said.augment, said.verdict) == (False, verdict)
    assert said.sentence.endswith(
        "; the synthetic images themselves change it by +3.0 points compared with classical (95 % interval 1.5 to 4.5, "
        "6 of 6 repeats better)."
    )


def test_a_gain_is_recommended_with_what_it_is_over_every_control():
    gains = {"grid": [g - 0.01 for g in GAIN], "cutmix": [g + 0.04 for g in UNCLEAR]}
    controls = [headline(gain).model_copy(update={"baseline": name}) for name, gain in gains.items()]
    said = recommend(headline(GAIN), MIX, controls=controls)
    assert (said.augment, said.verdict) == (True, "helps")
    first, second = said.sentence.partition("They do more than the controls: ")[2].split("; ")
    assert first.startswith("compared with grid by +2.0 points (95 % interval 0.5 to 3.5, 5 of 6")
    assert second.startswith("compared with cutmix by +3.7 points (95 % interval 1.0 to 6.4, ")


def test_a_gain_that_a_control_has_too_does_not_recommend_the_generator():
    said = recommend(headline(GAIN), MIX, controls=[headline(GAIN), headline(UNCLEAR)])
    assert (said.augment, said.arm, said.verdict) == (False, "none", "no better than a control")
    assert said.sentence.startswith("Do not use this generator: synthetic images raise accuracy by 3.0 points")
    assert said.sentence.endswith(
        "but a control may do as well (compared with none, the metric changes by -0.3 points (95 % "
        "interval -3.0 to 2.4, 3 of 6 repeats better))."
    )


def test_a_gain_over_a_control_has_to_be_shown_too():
    better_in_the_mean = headline([g + 0.01 for g in UNCLEAR])
    assert better_in_the_mean.mean_gain > 0
    assert recommend(headline(GAIN), MIX, controls=[better_in_the_mean]).verdict == "no better than a control"


def test_controls_do_not_matter_without_a_gain():
    assert recommend(headline(UNCLEAR), MIX, controls=[headline(UNCLEAR)]).verdict == "inconclusive"


def test_an_interval_that_holds_zero_recommends_the_baseline():
    said = recommend(headline(UNCLEAR), MIX)
    assert (said.augment, said.arm, said.ratio) == (False, "none", 0.0)
    assert said.sentence == (
        "Do not augment: no gain can be shown; with synthetic images, accuracy changes by -0.3 points (95 % interval "
        "-3.0 to 2.4, 3 of 6 repeats better); a gain larger than 2.4 points can be excluded, a smaller one cannot; "
        "about 55 repeats would show a gain of 1 point, and about 16 one of 2 points."
    )


def test_a_gain_with_an_interval_that_holds_zero_is_not_recommended():
    said = recommend(headline([-g for g in UNCLEAR]), MIX)
    assert (said.augment, said.ratio) == (False, 0.0)
    assert "changes by +0.3 points (95 % interval -2.4 to 3.0, 3 of 6" in said.sentence


def test_a_shown_loss_is_called_a_loss():
    said = recommend(headline([-g for g in GAIN]), MIX)
    assert not said.augment
    assert said.sentence == (
        "Do not augment: synthetic images lower accuracy by 3.0 points (95 % interval 1.5 to 4.5, "
        "0 of 6 repeats better)."
    )


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [
        (GAIN, "helps"),
        ([-g for g in GAIN], "harms"),
        (UNCLEAR, "inconclusive"),
        ([0.0] * 6, "inconclusive"),
        ([0.05] * 5, "too few repeats"),
    ],
)
def test_the_verdict_distinguishes_help_harm_and_inconclusive(gain, verdict):
    assert recommend(headline(gain), MIX).verdict == verdict


def test_unless_validation_showed_it_a_gain_is_inconclusive_and_a_loss_harms():
    assert recommend(headline(GAIN), CHOSEN, choice(shown=False)).verdict == "inconclusive"
    assert recommend(headline([-g for g in GAIN]), CHOSEN, choice(shown=False)).verdict == "harms"


def test_the_largest_gain_not_excluded_is_the_upper_end_of_the_interval():
    for gain in (GAIN, UNCLEAR):
        assert recommend(headline(gain), MIX).largest_gain_not_excluded == headline(gain).ci95[1] > 0
    assert recommend(headline([-g for g in GAIN]), MIX).largest_gain_not_excluded == 0


def test_the_repeats_for_one_point_are_those_of_the_paired_t_test():
    said = recommend(headline(UNCLEAR), MIX)
    deviation = np.std(UNCLEAR, ddof=1)
    powers = [stats.nct.sf(stats.t.ppf(0.975, n - 1), n - 1, 0.01 / deviation * n**0.5) for n in (54, 55)]
    assert powers[0] < 0.8 <= powers[1]
    assert (said.repeats_for_one_point, said.repeats_for_two_points) == (55, 16)


def test_overlap_may_hide_one_point_and_not_two():
    said = recommend(headline([g / 2 for g in UNCLEAR], correlation=0.2), MIX)
    assert said.repeats_for_one_point is None
    few = said.repeats_for_two_points
    assert said.sentence.endswith(
        f"no number of repeats would show a gain of 1 point, and about {round_up(few)} one of 2 points."
    )


def test_repeats_may_suffice_for_two_points_and_not_for_one():
    said = recommend(headline([g / 2 for g in UNCLEAR]), MIX)
    assert said.repeats_for_two_points <= 6 < said.repeats_for_one_point
    assert said.sentence.endswith("would show a gain of 1 point, and these would have shown one of 2 points.")


def test_repeats_that_overlap_too_much_would_never_show_one_point():
    said = recommend(headline(UNCLEAR, correlation=0.2), MIX)
    assert said.repeats_for_one_point is None
    assert said.sentence.endswith(
        "a smaller one cannot; no number of repeats would show a gain of 2 points, because their training sets overlap."
    )


def test_repeats_that_overlap_a_little_have_to_be_more():
    little = recommend(headline([g / 2 for g in UNCLEAR], correlation=0.05), MIX).repeats_for_one_point
    assert little > recommend(headline([g / 2 for g in UNCLEAR]), MIX).repeats_for_one_point


def test_enough_repeats_for_one_point_are_reported_as_such():
    said = recommend(headline([g / 10 for g in UNCLEAR]), MIX)
    assert said.repeats_for_one_point == 6
    assert said.sentence.endswith("; 6 repeats would have shown a gain of 1 point.")


def test_for_log_loss_the_gain_not_excluded_is_a_fall():
    said = recommend(headline(UNCLEAR, "log_loss"), MIX).sentence
    assert said.endswith(
        "a fall in log loss larger than 0.024 nats can be excluded, a smaller one cannot; about 55 repeats would show "
        "a fall in log loss of 0.01 nats, and about 16 one of 0.02 nats."
    )


def test_a_loss_on_the_test_images_is_called_one_whatever_validation_shows():
    said = recommend(headline([-g for g in GAIN]), CHOSEN, choice(shown=False)).sentence
    assert "; on the test images, synthetic images lower accuracy by 3.0 points (95 % interval 1.5 to 4.5," in said


def test_a_mix_that_validation_did_not_choose_has_the_same_limits():
    said = recommend(headline(UNCLEAR), CHOSEN, choice(shown=False)).sentence
    assert said.endswith("about 55 repeats would show a gain of 1 point, and about 16 one of 2 points.")


@pytest.mark.parametrize(("repeats", "words"), [(7, 7), (87, 87), (101, 110), (1240, 1300)])
def test_numbers_of_repeats_are_given_with_two_digits(repeats, words):
    assert round_up(repeats) == words


def test_five_repeats_are_too_few_however_clear_they_look():
    said = recommend(headline([0.05] * 5), MIX)
    assert (said.augment, said.arm, said.ratio) == (False, "none", 0.0)
    assert said.sentence.startswith("Too few repeats for a claim (5, but at least 6 are needed)")
    assert "+5.0 points (95 % interval 5.0 to 5.0, 5 of 5" in said.sentence


def test_the_sentence_calls_less_log_loss_lower_and_more_of_it_raised():
    assert "Synthetic images lower log loss by 0.030 nats" in recommend(headline(GAIN, "log_loss"), MIX).sentence
    worse = recommend(headline([-g for g in GAIN], "log_loss"), MIX).sentence
    assert "Do not augment: synthetic images raise log loss by 0.030 nats" in worse


def test_an_unclear_change_of_log_loss_keeps_its_own_sign():
    said = recommend(headline(UNCLEAR, "log_loss"), MIX).sentence
    assert "log loss changes by +0.003 nats (95 % interval -0.024 to 0.030" in said


def test_an_interval_just_above_zero_does_not_read_as_zero():
    comparison = headline(GAIN).model_copy(update={"ci95": (0.0002, 0.0402), "mean_gain": 0.0202})
    assert "by 2.02 points (95 % interval 0.02 to 4.02," in recommend(comparison, MIX).sentence


CHOSEN = {"ratio": 2.0, "keep": 0.5, "filter": "confidence", "weight": 1.0}


def choice(shown, mean=0.02, low=0.004):
    return chosen("none+synthetic", CHOSEN, gain_shown=shown, mean_gain=mean, lower_bound=low, candidates_tried=6)


def test_a_mix_that_validation_chose_is_what_the_sentence_advises():
    said = recommend(headline(GAIN), CHOSEN, choice(shown=True))
    assert (said.augment, said.ratio, said.mix["keep"]) == (True, 2.0, 0.5)
    assert said.sentence.endswith("use 2 synthetic images per real image, the best 50% of each class by confidence.")


def test_no_gain_on_validation_is_no_recommendation_whatever_the_test_shows():
    said = recommend(headline(GAIN), CHOSEN, choice(shown=False, mean=0.003, low=-0.011))
    assert (said.augment, said.arm, said.ratio) == (False, "none", 0.0)
    assert said.sentence == (
        "Do not augment: no mix showed a gain on the validation images (best of 6: 2 synthetic images per real image, "
        "the best 50% of each class by confidence; +0.3 points, lower bound -1.1); on the test images, synthetic "
        "images raise accuracy by 3.0 points (95 % interval 1.5 to 4.5, 6 of 6 repeats better)."
    )


@pytest.mark.parametrize("gain", [UNCLEAR, [-g for g in GAIN]])
def test_a_gain_that_the_test_images_do_not_confirm_is_not_recommended(gain):
    said = recommend(headline(gain), CHOSEN, choice(shown=True))
    assert not said.augment
    assert said.sentence.startswith("Do not augment")
