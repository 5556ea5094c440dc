"""The timing of steps, with functions that sleep in place of a training step."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch

from augment.gan.step_times import STEPS_OF_COMPARISON, STEPS_OF_ESTIMATE, bfloat16_time_ratio, seconds_per_step

CPU = torch.device("cpu")


def sleeping(seconds: float, *, calls: list[bool], first: float = 0.0) -> Callable[[bool], None]:
    def step(penalised: bool) -> None:
        calls.append(penalised)
        time.sleep(first if first and len(calls) == 1 else seconds)

    return step


def test_the_warm_up_is_not_part_of_the_mean() -> None:
    calls: list[bool] = []
    assert 0.01 <= seconds_per_step(sleeping(0.01, calls=calls, first=0.5), CPU) < 0.15
    assert calls == [False] * (1 + STEPS_OF_ESTIMATE)


@pytest.mark.parametrize(("float32", "bfloat16"), [(0.02, 0.06), (0.06, 0.02)])
def test_the_ratio_is_that_of_the_fastest_steps(float32: float, bfloat16: float) -> None:
    calls: tuple[list[bool], list[bool]] = ([], [])
    steps = (sleeping(seconds, calls=own, first=0.3) for seconds, own in zip((float32, bfloat16), calls, strict=True))
    assert bfloat16_time_ratio(*steps, CPU) == pytest.approx(bfloat16 / float32, rel=0.25)
    assert [len(own) for own in calls] == [1 + STEPS_OF_COMPARISON] * 2


def test_one_step_in_so_many_includes_the_penalties() -> None:
    calls: list[bool] = []

    def step(penalised: bool) -> None:
        calls.append(penalised)
        time.sleep(0.09 if penalised else 0.01)

    assert seconds_per_step(step, CPU, 4) == pytest.approx(0.03, rel=0.3)
    assert calls == [False] * (1 + STEPS_OF_ESTIMATE) + [True] * (1 + STEPS_OF_ESTIMATE)
