"""The time of a user goes to eight repeats, then to better classifiers, then to more repeats."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from observing import Kept

from augment.errors import ConfigError
from augment.runtime import Runtime
from pipelines.auto.time_budget import Allocation, allocate_time, seconds_of_options
from pipelines.config.arm_section import Arm
from pipelines.config.reading import load_pipeline
from pipelines.experiment.loading import load
from pipelines.experiment.time_estimate import Probe

REPEATS = (6, 7, 8, 9, 10, 11, 12)
SECONDS = [60.0, 90.0, 150.0]  # of a repeat with each option


def allocated(
    minutes: float | None, seconds: Sequence[float] = SECONDS, repeats: Sequence[int] = REPEATS
) -> Allocation:
    return allocate_time(lambda number: [number * one for one in seconds], repeats, minutes)


@pytest.mark.parametrize(
    ("minutes", "option", "repeats", "more"),
    [
        (7.9, 0, 7, 8),
        (11.9, 0, 11, 12),
        (12, 1, 8, 9),
        (19.9, 1, 12, None),
        (20, 2, 8, 9),
        (None, 2, 8, 9),
        (30, 2, 12, None),
    ],
)
def test_better_classifiers_come_after_eight_repeats(
    minutes: float | None, option: int, repeats: int, more: int | None
) -> None:
    next_option = None if option == 2 else 8 * SECONDS[option + 1]
    expected = (option, repeats, repeats * SECONDS[option], next_option, more, more and more * SECONDS[option])
    assert allocated(minutes) == expected


def test_a_single_option_gets_all_the_time() -> None:
    assert allocated(30, SECONDS[:1])[:4] == (0, 12, 720, None)


def test_a_dear_option_that_does_not_fit_is_never_taken() -> None:
    assert allocated(15, repeats=(12,))[:2] == (0, 12)
    assert allocated(18, repeats=(12,))[:2] == (1, 12)


def test_too_few_minutes_are_refused_and_the_default_never_is() -> None:
    with pytest.raises(ConfigError, match=r"6 repeats would take about 6.0 minutes.* --minutes is 5: give --minutes 8"):
        allocated(5)
    assert allocated(None, [6e4])[:2] == (0, 6)


def test_numbers_of_repeats_may_take_times_of_their_own() -> None:
    """Nine repeats, of fewer folds, take less than eight; ten have an option less."""
    seconds = {6: [60.0, 70.0, 80.0], 8: [100.0, 150.0, 200.0], 9: [80.0, 90.0, 100.0], 10: [170.0, 180.0]}
    assert allocate_time(seconds.__getitem__, (6, 8, 9, 10), 2.0) == (0, 9, 80.0, 150.0, 10, 170.0)
    assert allocate_time(seconds.__getitem__, (6, 8, 9, 10), 2.6) == (1, 9, 90.0, 200.0, 10, 180.0)
    assert allocate_time(seconds.__getitem__, (6, 8, 9, 10), 3.5) == (1, 10, 180.0, None, None, None)


def test_the_measurements_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """First what comes before the evaluation is measured, and then each of two options."""
    monkeypatch.setattr(Probe, "seconds_to_fit", lambda *_: 6.0)
    monkeypatch.setattr(Probe, "seconds_to_evaluate", lambda *_, **__: 12.0)
    pipeline, kept = load_pipeline("quickstart", ("evaluate.repeats=6",)), Kept()
    runtime, loaded = Runtime(observer=kept), load(pipeline.data)
    seconds = seconds_of_options(pipeline, loaded, [pipeline.evaluate] * 2, {}, runtime)
    assert seconds[0] == seconds[1] > 6 + 12
    total = kept.work[-1][2]
    assert kept.work == [("measure speeds", done, total) for done in range(1, total + 1)]


def test_an_option_with_more_arms_trains_more_classifiers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Probe, "seconds_to_fit", lambda *_: 0.0)
    monkeypatch.setattr(Probe, "seconds_to_evaluate", lambda _, classifiers, **__: float(classifiers))
    pipeline = load_pipeline("quickstart", ("evaluate.repeats=6",))
    more = pipeline.evaluate.model_copy(update={"arms": (*pipeline.evaluate.arms, Arm(name="finetune"))})
    options = [pipeline.evaluate, more]
    seconds = seconds_of_options(pipeline, load(pipeline.data), options, {}, Runtime())
    assert seconds[1] == pytest.approx(seconds[0] + 6)
