"""Decide how many repeats and which improvements fit into the time of a user, by a probe of a second or two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from augment.errors import ConfigError
from augment.runtime import Runtime
from augment.words import counted, format_estimate
from pipelines.config.sections import EvaluateConfig, Pipeline
from pipelines.experiment.loading import LoadedSource
from pipelines.experiment.time_estimate import MEASURING, Probe
from pipelines.pipeline_folds import draw_folds
from pipelines.stages import stages_of

MINUTES = 20.0  # if the user sets none
PREFERRED_REPEATS = 8  # improvements come before more repeats than this


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
    pipeline: Pipeline,
    loaded: LoadedSource,
    repeats: Sequence[int],
    options: Sequence[EvaluateConfig],
    minutes: float | None,
    runtime: Runtime,
) -> Allocation:
    """Return how many of the `repeats`, and which of the `options`, fit into the time. Both begin with the fastest.

    The option is the slowest one that allows the preferred number of repeats, and if none does, the fastest.
    `pipeline` has the fewest repeats. Without `minutes` there is a default, and the fastest is never refused; with
    them, raises `ConfigError` if the fastest does not fit.
    """
    seconds = _seconds_per_repeat(pipeline, loaded, options, repeats[0], runtime)
    fewest, limit = repeats[0], 60 * (minutes or MINUTES)
    if minutes and seconds[0] * fewest > limit:
        least = seconds[0] * fewest
        no_fewer = ", and fewer support no claim" if len(repeats) > 1 else ""
        raise ConfigError(
            f"{counted(fewest, 'repeat')} would take {format_estimate(least)}{no_fewer}, but --minutes is {minutes:g}: "
            f"give --minutes {math.ceil(least / 60)}, or fewer steps with --set generator.steps=N"
        )
    fitting = [max((r for r in repeats if r * s <= limit), default=0) for s in seconds]
    enough = next((number for number in repeats if number >= PREFERRED_REPEATS), repeats[-1])
    option = max((i for i, number in enumerate(fitting) if number >= enough), default=0)
    most = max(fitting[option], fewest)
    more = next((number for number in repeats if number > most), None)
    return Allocation(
        option=option,
        repeats=most,
        seconds=most * seconds[option],
        seconds_of_next_option=seconds[option + 1] * enough if option + 1 < len(options) else None,
        next_repeats=more,
        seconds_of_next_repeats=more and more * seconds[option],
    )


def _seconds_per_repeat(
    pipeline: Pipeline, loaded: LoadedSource, options: Sequence[EvaluateConfig], repeats: int, runtime: Runtime
) -> list[float]:
    """Return the seconds that a repeat takes with each option."""
    folds = draw_folds(pipeline, loaded, Path())
    *earlier, evaluate = stages_of(folds)
    probe = Probe(folds.protocol.folds[0], pipeline.evaluate, runtime.device, runtime.jobs)
    measurements = [partial(stage.seconds, probe) for stage in earlier]
    measurements += [partial(evaluate.seconds, probe.with_evaluation(option)) for option in options]
    seconds = []
    for measure in measurements:
        seconds.append(measure())
        runtime.observer.on_work(MEASURING, len(seconds), len(measurements))
    before, option_seconds = sum(seconds[: len(earlier)]), seconds[len(earlier) :]
    return [(before + one) / repeats for one in option_seconds]
