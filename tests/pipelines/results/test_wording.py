"""The words for a mix of images."""

import pytest

from pipelines.results.wording import describe_mix


def test_a_fed_mix_is_described_by_its_share():
    mix = {"ratio": 1.0, "feed": "generator", "share": 0.25, "class_exponent": -0.5}
    assert (
        describe_mix(mix) == "new synthetic images for every batch, 25% of each batch, more of them for small classes"
    )
    assert describe_mix({"ratio": 2.0, "feed": "generator"}) == (
        "new synthetic images for every batch, 2 synthetic images per real image"
    )


@pytest.mark.parametrize(
    ("mix", "words"),
    [
        ({"ratio": 0.5, "weight": 0.3}, "0.5 synthetic images per real image, with weight 0.3"),
        ({"ratio": 1, "feed": "grid", "learner": "features"}, "1 synthetic image per real image"),  # drawn once
        ({"ratio": 1.0, "weight": "confidence"}, "1 synthetic image per real image, weighted by confidence"),
        ({"ratio": 1.0, "share": 0.25, "synthetic_first": 0.0}, "1 synthetic image per real image, 25% of each batch"),
        (
            {"ratio": 2.0, "share": 0.25, "synthetic_first": 0.4},
            "2 synthetic images per real image, alone in the first 40% of the steps",
        ),
    ],
)
def test_every_part_of_a_mix_is_named(mix, words):
    assert describe_mix(mix) == words
