"""Spend the time that a user has on repeats and on better classifiers, by a probe of a second or two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from augment.errors import ConfigError
from augment.runtime import Runtime
from augment.words import counted
from pipelines.config.sections import EvaluateConfig, Pipeline
from pipelines.experiment.loading import LoadedSource
from pipelines.experiment.time_estimate import MEASURING, Probe, about
from pipelines.pipeline_folds import divide
from pipelines.stages import stages_of

MINUTES = 20.0  # if the user sets none
COMFORTABLE_REPEATS = 8  # before there are more, the time buys better classifiers


class Spending(NamedTuple):
    """What the time suffices for, and the seconds that it takes.

    option: the index of the chosen option. next_option: the seconds of a comfortable number of repeats with the next
    dearer one. more: the next larger number of repeats, which would take `seconds_with_more`. They are None if there is
    no such thing.
    """

    option: int
    repeats: int
    seconds: float
    next_option: float | None
    more: int | None
    seconds_with_more: float | None


def spend(
    pipeline: Pipeline,
    loaded: LoadedSource,
    repeats: Sequence[int],
    options: Sequence[EvaluateConfig],
    minutes: float | None,
    runtime: Runtime,
) -> Spending:
    """Return how many of the `repeats`, and which of the `options`, fit into the time. Both begin with the cheapest.

    The option is the dearest with which a comfortable number of repeats fits, and if none does, the cheapest.
    `pipeline` has the fewest repeats. Without `minutes` there is a default, and the cheapest is never refused; with
    them, raises `ConfigError` if the cheapest does not fit.
    """
    seconds = _seconds_per_repeat(pipeline, loaded, options, repeats[0], runtime)
    fewest, limit = repeats[0], 60 * (minutes or MINUTES)
    if minutes and seconds[0] * fewest > limit:
        least = seconds[0] * fewest
        no_fewer = ", and fewer support no claim" if len(repeats) > 1 else ""
        raise ConfigError(
            f"{counted(fewest, 'repeat')} would take {about(least)}{no_fewer}, but --minutes is {minutes:g}: give "
            f"--minutes {math.ceil(least / 60)}, or fewer steps with --set generator.steps=N"
        )
    fitting = [max((r for r in repeats if r * s <= limit), default=0) for s in seconds]
    enough = next((number for number in repeats if number >= COMFORTABLE_REPEATS), repeats[-1])
    option = max((i for i, number in enumerate(fitting) if number >= enough), default=0)
    most = max(fitting[option], fewest)
    more = next((number for number in repeats if number > most), None)
    return Spending(
        option=option,
        repeats=most,
        seconds=most * seconds[option],
        next_option=seconds[option + 1] * enough if option + 1 < len(options) else None,
        more=more,
        seconds_with_more=more and more * seconds[option],
    )


def _seconds_per_repeat(
    pipeline: Pipeline, loaded: LoadedSource, options: Sequence[EvaluateConfig], repeats: int, runtime: Runtime
) -> list[float]:
    """Return the seconds that a repeat takes with each option."""
    folds = divide(pipeline, loaded, Path())
    *earlier, evaluate = stages_of(folds)
    probe = Probe(folds.protocol.folds[0], pipeline.evaluate, runtime.device, runtime.jobs)
    measurements = [partial(stage.seconds, probe) for stage in earlier]
    measurements += [partial(evaluate.seconds, probe.with_evaluation(option)) for option in options]
    seconds = []
    for measure in measurements:
        seconds.append(measure())
        runtime.observer.on_work(MEASURING, len(seconds), len(measurements))
    before, of_options = sum(seconds[: len(earlier)]), seconds[len(earlier) :]
    return [(before + of_option) / repeats for of_option in of_options]
