"""The report says in words what each arm is."""

from __future__ import annotations

import pytest

from pipelines.config.arm_section import Arm
from pipelines.experiment.learners import LEARNERS
from pipelines.results.arm_words import LEARNER_WORDS, describe_arm


@pytest.mark.parametrize(
    ("arm", "words"),
    [
        (Arm(name="a"), "a network, trained on real images"),
        (Arm(name="a", policy="light", mixup=0.0), "a network, trained on real images, augmented by light; mixup 0"),
        (
            Arm(name="a", policy="light", synthetic=True, feed="grid", share=0.25),
            "a network, trained on real and synthetic images, augmented by light; the synthetic ones are mixtures of "
            "the pixels of two images, a control; new synthetic images for every batch, 25% of each batch",
        ),
        (
            Arm(name="a", learner="features", unlabelled=0.5),
            "a linear classifier on pretrained features, trained on real images; 50% of each batch unlabelled images",
        ),
        (
            Arm(name="a", real=False, synthetic=True, soft_labels=True),
            "a network, trained on synthetic images; the synthetic ones are images of the generator; soft labels by "
            "cross-fitted classifiers",
        ),
        (
            Arm(name="a", long_tail="remix", operating_point="cross-fitted"),
            "a network, trained on real images; long_tail remix; cross-fitted operating point",
        ),
    ],
)
def test_an_arm_is_described_by_what_sets_it_apart(arm: Arm, words: str) -> None:
    assert describe_arm(arm, ratio=1.0) == words


def test_every_learner_has_words() -> None:
    assert set(LEARNER_WORDS) == set(LEARNERS)
