"""Repeats that are all the same show less than their interval of no width says."""

from toy import headline

from pipelines.results.recommendation import recommend

MIX = {"ratio": 1.0}


def test_repeats_that_agree_by_accident_exclude_nothing():
    said = recommend(headline([0.0] * 6), MIX)
    assert "any gain is excluded" not in said.sentence
    assert said.sentence.endswith("so that these test images tell nothing about smaller ones.")
    assert said.repeats_for_one_point is None


def test_equal_repeats_without_an_interval_over_images_are_told():
    same = headline([0.05] * 6, "log_loss").model_copy(update={"repeats": 1})
    said = recommend(same, MIX).sentence
    assert said.startswith(
        "No claim: all repeats are the same, and only accuracy and balanced accuracy have an interval"
    )
    assert said.endswith("; with synthetic images, log loss changes by -0.050 nats.")
