"""Decide how many repeats and which improvements fit into the time of a user, by a probe of a second or two."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from augment.errors import ConfigError
from augment.runtime import Runtime
from augment.words import counted
from pipelines.config.sections import EvaluateConfig, Pipeline
from pipelines.experiment.loading import LoadedSource
from pipelines.experiment.time_estimate import MEASURING, MeasurementCache, Probe
from pipelines.pipeline_folds import draw_folds
from pipelines.stages import stages_of

MINUTES = 20.0  # if the user sets none
MARGIN = 1.2  # the advised minutes divided by the estimate, which varies from one call to the next
PREFERRED_REPEATS = 8  # improvements come before more repeats than this


class TooFewMinutesError(ConfigError):
    """The minutes do not suffice for the fewest repeats with the fastest option."""


class Allocation(NamedTuple):
    """The option and the number of repeats that fit into the time, and the seconds that they take.

    option: the index of the chosen option. seconds_of_next_option: of the preferred number of repeats with the next,
    slower option. next_repeats: the next larger number of repeats, which would take `seconds_of_next_repeats`. The last
    three are None if there is no such option or number.
    """

    option: int
    repeats: int
    seconds: float
    seconds_of_next_option: float | None
    next_repeats: int | None
    seconds_of_next_repeats: float | None


def allocate_time(
    seconds_of: Callable[[int], Sequence[float]], repeats: Sequence[int], minutes: float | None
) -> Allocation:
    """Return how many of the `repeats`, and which of the options, fit into the time. Both begin with the fastest.

    seconds_of: returns the seconds that a number of repeats takes with each option. The option is the slowest one that
    allows the preferred number of repeats, and if none does, the fastest. Without `minutes` there is a default, and the
    fastest is never refused; with them, raises `TooFewMinutesError` if the fastest does not fit.
    """
    seconds = {number: seconds_of(number) for number in repeats}
    fewest, limit = repeats[0], 60 * (minutes or MINUTES)
    least = seconds[fewest][0]
    if minutes and least > limit:
        no_fewer = ", and fewer support no claim" if len(repeats) > 1 else ""
        raise TooFewMinutesError(
            f"{counted(fewest, 'repeat')} would take about {least / 60:.1f} minutes{no_fewer}, but --minutes is "
            f"{minutes:g}: give --minutes {math.ceil(MARGIN * least / 60)}, or fewer steps with --set generator.steps=N"
        )
    enough = next((number for number in repeats if number >= PREFERRED_REPEATS), repeats[-1])
    option = max((i for i, s in enumerate(seconds[enough]) if s <= limit), default=0)
    of_option = {number: some[min(option, len(some) - 1)] for number, some in seconds.items()}
    most = max((number for number in repeats if of_option[number] <= limit), default=fewest)
    option = min(option, len(seconds[most]) - 1)  # other repeats mean other folds, which may have fewer options
    more = next((number for number in repeats if number > most), None)
    has_next = option + 1 < min(len(seconds[enough]), len(seconds[most]))
    return Allocation(
        option=option,
        repeats=most,
        seconds=of_option[most],
        seconds_of_next_option=seconds[enough][option + 1] if has_next else None,
        next_repeats=more,
        seconds_of_next_repeats=more and of_option[more],
    )


def seconds_of_options(
    pipeline: Pipeline,
    loaded: LoadedSource,
    options: Sequence[EvaluateConfig],
    measured: MeasurementCache,
    runtime: Runtime,
) -> list[float]:
    """Return the seconds that a pipeline takes with each option for its `evaluate`. measured: see `Probe`."""
    folds = draw_folds(pipeline, loaded, Path())
    *earlier, evaluate = stages_of(folds)
    probe = Probe(folds.protocol.folds[0], pipeline.evaluate, runtime.device, runtime.jobs, measured)
    estimates = [partial(stage.seconds, probe) for stage in earlier]
    estimates += [partial(evaluate.seconds, probe.with_evaluation(option)) for option in options]
    seconds = []
    for estimate in estimates:
        seconds.append(estimate())
        runtime.observer.on_work(MEASURING, len(seconds), len(estimates))
    before = sum(seconds[: len(earlier)])
    return [before + one for one in seconds[len(earlier) :]]
