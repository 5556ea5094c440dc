"""A forecast repeats what the last doubling of the images did to the error."""

from __future__ import annotations

import numpy as np
import pytest
from toy import record

from pipelines.experiment.records import Record
from pipelines.record_names import name_of_half
from pipelines.results.forecast import describe_forecast, forecast, times_for


def curve(errors: list[float], exponent: float, noise: float = 0.0) -> list[Record]:
    """Records of repeats with these errors on all images, and on half of them by the power law."""
    random, records = np.random.default_rng(1), []
    for repeat, error in enumerate(errors):
        for name, fraction in ((name_of_half("a"), 0.5), ("a", 1.0)):
            records.append(record(repeat, name, 1 - error * fraction**-exponent * np.exp(noise * random.normal())))
    return records[::-1]


def test_errors_of_a_power_law_are_continued_exactly() -> None:
    found = forecast(curve([0.2] * 4, 0.5), "a", "accuracy", 0.0)
    assert found.at_double == pytest.approx(1 - 0.2 / 2**0.5)
    assert found.at_double_ci95 == pytest.approx((found.at_double, found.at_double))
    assert (found.at_half, found.at_all) == pytest.approx((1 - 0.2 * 2**0.5, 0.8))
    assert found.times_for_one_point == pytest.approx((0.2 / 0.19) ** 2)


def test_the_interval_is_that_of_the_mean_over_repeats() -> None:
    errors = [0.18, 0.2, 0.22, 0.2, 0.19, 0.21]
    independent = forecast(curve(errors, 0.3, noise=0.02), "a", "accuracy", 0.0)
    overlapping = forecast(curve(errors, 0.3, noise=0.02), "a", "accuracy", 0.5)
    low, high = independent.at_double_ci95
    assert low < 1 - 0.2 * 2**-0.3 < high
    assert overlapping.at_double == independent.at_double
    assert overlapping.at_double_ci95[0] < low < high < overlapping.at_double_ci95[1]


@pytest.mark.parametrize(
    ("gain", "exponent", "times"), [(0.1, 1.0, 2.0), (0.11, 1.0, None), (0.01, -0.1, None), (0.3, 1.0, None)]
)
def test_nothing_beyond_twice_as_many_images_is_told(gain: float, exponent: float, times: float | None) -> None:
    assert times_for(gain, 0.2, exponent) == (times if times is None else pytest.approx(times))


def test_the_words_hold_all_figures() -> None:
    words = describe_forecast(forecast(curve([0.2] * 4, 0.5), "a", "accuracy", 0.0))
    assert words.startswith("With twice as many images of each class, the accuracy of a would be about 85.9 % (95 %")
    assert "helps as much again: it was 71.7 % with half of the images and 80.0 % with all." in words
    assert words.endswith("One point more takes about 1.1 times as many images.")


def test_an_error_that_does_not_fall_stays() -> None:
    found = forecast(curve([0.2] * 4, 0.0), "a", "accuracy", 0.0)
    assert found.at_double == pytest.approx(0.8)
    assert "One point more" not in describe_forecast(found)


def test_an_error_of_zero_is_no_reason_to_fail() -> None:
    found = forecast(curve([0.0] * 3, 0.5), "a", "accuracy", 0.0)
    assert found.at_double == pytest.approx(0.999)


def test_repeats_that_differ_too_much_give_no_forecast() -> None:
    found = forecast(curve([0.2, 0.2, 0.2, 0.02], 0.5), "a", "accuracy", 0.2)
    wide = found.model_copy(update={"at_double_ci95": (0.0, 1.0)})
    assert describe_forecast(wide).startswith("What twice as many images of each class would give a cannot be")
    assert "One point more" not in describe_forecast(wide)
