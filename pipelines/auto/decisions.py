"""Choose the settings of a pipeline that its user left open: `augment run auto`.

Each decision is a few settings and a sentence that says what was chosen and why. A setting that the user has given is
never changed. The time available goes to repeats first, since the interval of the answer depends on them, and then to
better classifiers; fewer repeats than a claim needs are refused.

OUT/auto.json keeps the decisions, so that a continued run uses them again although a timing probe varies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from augment.errors import ConfigError
from augment.files import read_json
from augment.identity import Identity
from augment.markers import read_marker
from augment.runtime import NO_OBSERVER, Runtime
from augment.words import counted, format_duration, format_estimate
from classifiers.backbones import weights_installed
from pipelines.auto.choices import CHOICES, Decision, Facts
from pipelines.auto.improvements import Improvement, decide_improvements, improvements_of
from pipelines.auto.time_budget import Allocation, TooFewMinutesError, allocate_time, seconds_of_options
from pipelines.config.reading import parse
from pipelines.config.sections import AutoConfig, Pipeline
from pipelines.experiment.loading import LoadedSource
from pipelines.experiment.protocols import FOLDS, infer_protocol, make_protocol
from pipelines.experiment.time_estimate import MeasurementCache
from pipelines.metric_specs import MIN_REPEATS_FOR_CLAIM

DECISIONS_FILE = "auto.json"
MAX_REPEATS_OF_AUTO = 12  # more repeats narrow the interval little


class Decisions(BaseModel):
    """The content of auto.json. inputs: what the decisions depend on, from `Identity.as_json`."""

    inputs: dict[str, Any]
    settings: dict[str, Any]
    sentences: tuple[str, ...]


def decide(
    pipeline: Pipeline,
    loaded: LoadedSource,
    folder: Path,
    runtime: Runtime,
    measured: MeasurementCache | None = None,
    *,
    overwrite: bool = False,
) -> tuple[Pipeline, Decisions]:
    """Return the pipeline with all decisions, and the decisions: those in `folder` if they have the same inputs.

    overwrite: decide again in any case. measured: what is measured is added here; see `Probe`.

    The pipeline must have an `auto` section; the one that is returned has none. Nothing is written. Raises
    `ConfigError` if the time does not suffice for the repeats, or if there is a `choose` section without arms for it.
    """
    assert pipeline.auto is not None
    _check_choose(pipeline)
    given = pipeline.model_dump(mode="json", exclude_unset=True, exclude={"track", "description"})
    inputs = {"definition": given, "images": _fingerprints(loaded), "pretrained weights": weights_installed()}
    identity = Identity(data=inputs)
    stored = None if overwrite else _read(folder)
    if stored is not None and not identity.differences(stored.inputs):
        return with_settings(pipeline, stored.settings), stored
    draft, by_time = _decide_by_time(pipeline, loaded, given, runtime, {} if measured is None else measured)
    settings, sentences = draft.settings, [*draft.sentences]
    for decision in by_time:
        settings = _merged(settings, decision.settings)
        sentences.append(decision.sentence)
    decisions = Decisions(inputs=identity.as_json(), settings=settings, sentences=tuple(sentences))
    return with_settings(pipeline, settings), decisions


def _check_choose(pipeline: Pipeline) -> None:
    """Raise `ConfigError` if a mix of stored images is to be chosen, and no arm for it is given."""
    if pipeline.choose is not None and "arms" not in pipeline.evaluate.model_fields_set:
        raise ConfigError(
            "choose is for an arm with stored images, and auto compares images that are new for every batch: leave "
            "choose out, or give evaluate.arms"
        )


def facts_of(pipeline: Pipeline, loaded: LoadedSource) -> Facts:
    """Return what `CHOICES` depend on."""
    repeats = pipeline.evaluate.repeats
    protocol = make_protocol(loaded, pipeline.data, pipeline.protocol, repeats)
    return Facts(pipeline, loaded, protocol.folds)


def allowed_repeats(loaded: LoadedSource, pipeline: Pipeline) -> list[int]:
    """Return the numbers of repeats to select from, ascending; kfold needs whole rounds of folds."""
    if (pipeline.protocol.kind or infer_protocol(loaded, pipeline.data)[0]) != "kfold":
        return list(range(MIN_REPEATS_FOR_CLAIM, MAX_REPEATS_OF_AUTO + 1))
    fewest_images, folds = int(loaded.train.counts().min()), pipeline.protocol.folds
    possible = [folds] if folds else list(range(3, min(fewest_images, FOLDS + 1) + 1)) or [2]
    numbers = range(MIN_REPEATS_FOR_CLAIM, max(MAX_REPEATS_OF_AUTO, MIN_REPEATS_FOR_CLAIM + possible[0]) + 1)
    return [number for number in numbers if any(number % k == 0 for k in possible)]


class _Draft(NamedTuple):
    """What is decided for a number of repeats, whose folds the facts are of, and what is left to the time.

    pipelines: for each of the improvements, the pipeline with it.
    """

    facts: Facts
    settings: dict[str, Any]
    sentences: list[str]
    improvements: list[Improvement]
    pipelines: list[Pipeline]


def _draft(pipeline: Pipeline, loaded: LoadedSource, repeats: int, given: Mapping[str, Any]) -> _Draft:
    facts = facts_of(with_settings(pipeline, {"evaluate": {"repeats": repeats}}), loaded)
    settings: dict[str, Any] = {}
    sentences = []
    for choose in CHOICES:
        decision = choose(facts)
        if _missing(decision.settings, given):
            settings = _merged(settings, decision.settings)
            sentences.append(decision.sentence)
    chosen = with_settings(facts.pipeline, settings)
    improvements = improvements_of(chosen, facts, given.get("evaluate", {}))
    pipelines = [with_settings(chosen, {"evaluate": one.settings}, override=True) for one in improvements]
    return _Draft(facts, settings, sentences, improvements, pipelines)


def _decide_by_time(
    pipeline: Pipeline, loaded: LoadedSource, given: Mapping[str, Any], runtime: Runtime, measured: MeasurementCache
) -> tuple[_Draft, list[Decision]]:
    """Decide what costs time, as far as it is not given: other recipes, operating point, steps and repeats.

    Returns the draft for the number of repeats, and these decisions. They depend on the time available, and the errors
    of `allocate_time` are raised; for given repeats without given minutes, the fastest is chosen.
    """
    repeats = given.get("evaluate", {}).get("repeats")
    minutes = AutoConfig.model_validate(given["auto"]).minutes
    if repeats is not None and minutes is None:
        draft = _draft(pipeline, loaded, repeats, given)
        return draft, decide_improvements(draft.improvements, 0, None, draft.facts)

    def seconds_of(number: int) -> list[float]:
        pipelines = _draft(pipeline, loaded, number, given).pipelines
        options = [changed.evaluate for changed in pipelines]
        quiet = replace(runtime, observer=NO_OBSERVER)  # only the first of these estimates takes long
        return seconds_of_options(pipelines[0], loaded, options, measured, quiet if measured else runtime)

    allowed = allowed_repeats(loaded, pipeline) if repeats is None else [repeats]
    try:
        allocation = allocate_time(seconds_of, allowed, minutes)
    except TooFewMinutesError:
        for sentence in _draft(pipeline, loaded, allowed[0], given).sentences:
            runtime.observer.on_note(sentence)  # what would take so long
        raise
    draft = _draft(pipeline, loaded, allocation.repeats, given)
    chosen = decide_improvements(draft.improvements, allocation.option, allocation.seconds_of_next_option, draft.facts)
    if repeats is None:
        chosen.append(_repeats(allocation, allowed[0], draft.pipelines[0], draft.facts))
    return draft, chosen


def _repeats(allocation: Allocation, fewest: int, pipeline: Pipeline, facts: Facts) -> Decision:
    if allocation.seconds_of_next_repeats is None:
        limit = "more narrow the interval little"
    else:
        limit = f"{allocation.next_repeats} would take {format_duration(allocation.seconds_of_next_repeats)}"
    redrawn = len(facts.folds) > 1 and pipeline.evaluate.needs_generator
    generators = ", each with its own generator," if redrawn else ""
    return Decision(
        "evaluate",
        {"repeats": allocation.repeats},
        f"{counted(allocation.repeats, 'repeat')}{generators} in {format_estimate(allocation.seconds)}: "
        f"{limit}, and fewer than {fewest} support no claim",
    )


def _fingerprints(loaded: LoadedSource) -> list[str]:
    parts = (loaded.train, loaded.pool, loaded.test, loaded.val, loaded.unlabelled)
    return [data.fingerprint for data in parts if data is not None]


def with_settings(pipeline: Pipeline, settings: Mapping[str, Any], *, override: bool = False) -> Pipeline:
    """Return the pipeline without its `auto` section, with `settings` where it has none of its own, or in any case."""
    own = pipeline.model_dump(mode="json", exclude_unset=True, exclude={"auto"})
    return parse(Pipeline, _merged(own, settings) if override else _merged(settings, own), "auto")


def _merged(settings: Mapping[str, Any], stronger: Mapping[str, Any]) -> dict[str, Any]:
    """Return both trees as one; where both have a value, that of `stronger`."""
    merged = dict(settings)
    for key, value in stronger.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _missing(settings: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """Return whether `given` lacks a value of `settings`, or `settings` has none."""
    if not settings:
        return True
    return any(
        _missing(value, given.get(key) or {}) if isinstance(value, dict) else key not in given
        for key, value in settings.items()
    )


def _read(folder: Path) -> Decisions | None:
    """Return the decisions of an earlier run in `folder`, or None if there are none."""
    marker = read_marker(folder)
    if marker is None or marker.command != "run" or DECISIONS_FILE not in marker.files:
        return None
    try:
        return read_json(folder / DECISIONS_FILE, Decisions)
    except FileNotFoundError:
        return None
