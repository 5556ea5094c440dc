"""Timing of training steps: for estimates, and for `precision: auto`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from augment.devices import seconds_of
from augment.runtime import Runtime

STEPS_OF_ESTIMATE = 3
STEPS_OF_COMPARISON = 5  # of each precision; the fastest are compared, since other programs only slow steps down
CLEARLY_FASTER = 0.9  # a smaller advantage is not worth the rounding of bfloat16

TrainingStep = Callable[[bool], None]  # its argument says whether the step includes the penalties


def seconds_per_step(step: TrainingStep, device: torch.device, penalty_every: int | None = None) -> float:
    """Return the mean seconds of a step, over a few steps after a warm-up step.

    penalty_every: every how many steps the penalties are included; None: never.
    """
    plain = _mean_seconds(step, device, penalised=False)
    if penalty_every is None:
        return plain
    return plain + (_mean_seconds(step, device, penalised=True) - plain) / penalty_every


def _mean_seconds(step: TrainingStep, device: torch.device, *, penalised: bool) -> float:
    step(penalised)
    return sum(seconds_of(partial(step, penalised), device) for _ in range(STEPS_OF_ESTIMATE)) / STEPS_OF_ESTIMATE


def bfloat16_is_faster(float32: TrainingStep, bfloat16: TrainingStep, runtime: Runtime) -> bool:
    """Time a few steps of each precision in turn, return whether bfloat16 is clearly faster, and note the result."""
    ratio = bfloat16_time_ratio(float32, bfloat16, runtime.device)
    faster = ratio < CLEARLY_FASTER
    runtime.observer.on_note(
        f"precision: {'bfloat16' if faster else 'float32'}, because a step in bfloat16 takes {ratio:.2f} times as long "
        "as one in float32 here; the run keeps this precision, even if it is continued on another machine"
    )
    return faster


def bfloat16_time_ratio(float32: TrainingStep, bfloat16: TrainingStep, device: torch.device) -> float:
    """Return the time of a step in bfloat16 relative to one in float32, from the fastest of a few of each, in turn."""
    fastest = {float32: float("inf"), bfloat16: float("inf")}
    for step in fastest:
        step(False)
    for _ in range(STEPS_OF_COMPARISON):
        for step, seconds in fastest.items():
            fastest[step] = min(seconds, seconds_of(partial(step, False), device))
    return fastest[bfloat16] / fastest[float32]
