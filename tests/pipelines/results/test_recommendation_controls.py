"""A control that gains over the baseline needs no generator, and is recommended in its place."""

from __future__ import annotations

import pytest
import toy
from toy import DATASET, records_of

from pipelines.config.arm_section import Arm
from pipelines.experiment.folds import Design
from pipelines.results.document import Recommendation
from pipelines.results.results import build_results

PLAIN = Arm(name="plain", policy="light")
FRESH, GRID, VIEWS = (
    Arm(name=name, policy="light", synthetic=True, feed=feed)
    for name, feed in (("fresh", "generator"), ("grid", "grid"), ("views", "resample"))
)


BASE = [*toy.BASE, 0.715, 0.705]  # eight repeats
GAIN, UNCLEAR = [*toy.GAIN, 0.03, 0.03], [*toy.UNCLEAR, 0.01, -0.01]


def answer(fresh: list[float], grid: list[float], views: list[float] = UNCLEAR) -> Recommendation:
    gains = {"plain": [0.0] * 8, "fresh": fresh, "grid": grid, "views": views}
    records = records_of(**{arm: [b + g for b, g in zip(BASE, gain, strict=True)] for arm, gain in gains.items()})
    return build_results(records, [PLAIN, FRESH, GRID, VIEWS], DATASET, Design(), 1.0).recommendation


def test_a_control_that_gains_is_recommended_where_the_generator_does_not() -> None:
    said = answer(UNCLEAR, GAIN)
    assert (said.augment, said.arm, said.ratio, said.mix) == (False, "grid", 0.0, None)
    assert said.sentence.startswith("Do not augment: no gain can be shown; with synthetic images, accuracy changes by")
    assert said.sentence.endswith(
        " Use grid, which needs no generator: it raises accuracy by 3.0 points compared with plain (95 % interval 2.0 "
        "to 4.0, 8 of 8 repeats better)."
    )


def test_it_is_recommended_where_the_generator_gains_no_more_than_it() -> None:
    said = answer(GAIN, GAIN)
    assert (said.augment, said.arm) == (False, "grid")
    assert said.sentence.startswith("Do not use this generator: ")


def test_of_two_controls_the_better_one_is_named() -> None:
    assert answer(UNCLEAR, GAIN, [g + 0.01 for g in GAIN]).arm == "views"


@pytest.mark.parametrize(
    "grid",
    [
        UNCLEAR,
        [-g for g in GAIN],
        [0.05, -0.002, 0.05, 0.05, 0.05, 0.04, 0.03, -0.006],  # an interval above 0, and a p-value of 0.03
    ],
)
def test_a_gain_that_is_not_shown_recommends_the_baseline(grid: list[float]) -> None:
    said = answer(UNCLEAR, grid)
    assert (said.augment, said.arm) == (False, "plain")
    assert "which needs no generator" not in said.sentence


def test_a_control_that_needs_a_generator_is_not_recommended() -> None:
    decoded = Arm(name="decoded", policy="light", synthetic=True, feed="reconstruction")
    records = records_of(plain=BASE, fresh=BASE, decoded=[b + 0.03 for b in BASE])
    said = build_results(records, [PLAIN, FRESH, decoded], DATASET, Design(), 1.0).recommendation
    assert said.arm == "plain"
    assert "which needs no generator" not in said.sentence


def test_five_repeats_are_too_few_for_a_control_too() -> None:
    records = [r for r in toy.records_of(plain=BASE, fresh=BASE, grid=[b + 0.03 for b in BASE]) if r.repeat < 5]
    said = build_results(records, [PLAIN, FRESH, GRID], DATASET, Design(), 1.0).recommendation
    assert said.arm == "plain"


def test_a_generator_that_helps_stays_recommended() -> None:
    said = answer([g + 0.05 for g in GAIN], GAIN)
    assert (said.augment, said.arm) == (True, "fresh")
    assert "which needs no generator" not in said.sentence
