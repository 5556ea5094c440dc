"""Choose the settings of a pipeline that its user left open: `augment run auto`.

Each decision is a few settings and a sentence that says what was chosen and why. A setting that the user has given is
never changed. The time available buys repeats, since the interval of the answer depends on them, and then longer
training of the classifiers; fewer repeats than a claim needs are refused.

OUT/auto.json keeps the decisions, so that a continued run uses them again although a timing probe varies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from augment.dataset.images import fingerprint
from augment.files import read_json
from augment.identity import Identity
from augment.markers import read_marker
from augment.runtime import Runtime
from augment.words import counted
from classifiers.backbones import weights_installed
from classifiers.long_tail import LONG_TAIL
from pipelines.auto_choices import CHOICES, Decision, Facts, fine_tuned_arms
from pipelines.config.reading import parse
from pipelines.config.sections import AutoConfig, EvaluateConfig, Pipeline
from pipelines.experiment.loading import LoadedSource
from pipelines.experiment.protocols import FOLDS, infer_protocol, make_protocol
from pipelines.experiment.time_estimate import about, format_duration
from pipelines.metric_specs import FEWEST_REPEATS, imbalanced
from pipelines.time_budget import Spending, spend

DECISIONS_FILE = "auto.json"
MOST_REPEATS = 12  # more repeats narrow the interval little
FEWEST_STEPS, MOST_STEPS = 600, 2400  # of a classifier
PASSES = 20  # how often a classifier sees each real image at least, as far as the limits of the steps allow
LONGER = (1, 2, 4)  # factors of the steps, as far as there is time
# docs/benchmarks.md
FINE_TUNING_GAIN = "it gained 4 to 5 points over pretrained features on CIFAR-10, half a point on Fashion-MNIST"
CROSS_FITTING_GAIN = "on nine draws of three development sets it gained 0 to 2 points"


class Decisions(BaseModel):
    """The content of auto.json. inputs: what the decisions depend on, from `Identity.as_json`."""

    inputs: dict[str, Any]
    settings: dict[str, Any]
    sentences: tuple[str, ...]


def decide(
    pipeline: Pipeline, loaded: LoadedSource, folder: Path, runtime: Runtime, *, overwrite: bool = False
) -> tuple[Pipeline, Decisions]:
    """Return the pipeline with all decisions, and the decisions: those in `folder` if they have the same inputs.

    overwrite: decide anew in any case.

    The pipeline must have an `auto` section; the one that is returned has none. Nothing is written. Raises
    `ConfigError` if the time does not suffice for the fewest repeats that allow a claim.
    """
    assert pipeline.auto is not None
    given = pipeline.model_dump(mode="json", exclude_unset=True, exclude={"track", "description"})
    inputs = {"definition": given, "images": _fingerprints(loaded), "pretrained weights": weights_installed()}
    identity = Identity(data=inputs)
    stored = None if overwrite else _read(folder)
    if stored is not None and not identity.differences(stored.inputs):
        return with_settings(pipeline, stored.settings), stored
    settings: dict[str, Any] = {}
    sentences = []
    allowed = allowed_repeats(loaded, pipeline)
    facts = facts_of(with_settings(pipeline, {"evaluate": {"repeats": allowed[0]}}), loaded)
    for choose in CHOICES:
        decision = choose(facts)
        if _missing(decision.settings, given):
            settings = _merged(settings, decision.settings)
            sentences.append(decision.sentence)
    for decision in _time(with_settings(facts.pipeline, settings), facts, allowed, given, runtime):
        settings = _merged(settings, decision.settings)
        sentences.append(decision.sentence)
    decisions = Decisions(inputs=identity.as_json(), settings=settings, sentences=tuple(sentences))
    return with_settings(pipeline, settings), decisions


def facts_of(pipeline: Pipeline, loaded: LoadedSource) -> Facts:
    """Return what `CHOICES` depend on."""
    repeats = pipeline.evaluate.repeats
    protocol = make_protocol(loaded, pipeline.data, pipeline.protocol, repeats)
    return Facts(pipeline, loaded, protocol.folds)


def allowed_repeats(loaded: LoadedSource, pipeline: Pipeline) -> list[int]:
    """Return the numbers of repeats to select from, ascending; kfold needs whole rounds of folds."""
    if (pipeline.protocol.kind or infer_protocol(loaded, pipeline.data)[0]) != "kfold":
        return list(range(FEWEST_REPEATS, MOST_REPEATS + 1))
    fewest_images, folds = int(loaded.train.counts().min()), pipeline.protocol.folds
    possible = [folds] if folds else list(range(3, min(fewest_images, FOLDS + 1) + 1)) or [2]
    numbers = range(FEWEST_REPEATS, max(MOST_REPEATS, FEWEST_REPEATS + possible[0]) + 1)
    return [number for number in numbers if any(number % k == 0 for k in possible)]


def _time(
    pipeline: Pipeline, facts: Facts, allowed: Sequence[int], given: Mapping[str, Any], runtime: Runtime
) -> list[Decision]:
    """Decide what costs time, as far as it is not given: fine-tuned arms, operating point, steps and repeats.

    If the repeats are not given, these depend on the time available, and the errors of `spend` are raised.
    """
    evaluate = given.get("evaluate", {})
    options = [{"evaluate": option} for option in _options(pipeline, facts, evaluate)]
    configs = [_changed(pipeline, option).evaluate for option in options]
    if "repeats" in evaluate:
        return _better_classifiers(configs[0], options[:1], None, facts)
    auto = AutoConfig.model_validate(given["auto"])
    spent = spend(_changed(pipeline, options[0]), facts.loaded, allowed, configs, auto.minutes, runtime)
    chosen = _better_classifiers(configs[spent.option], options[spent.option :], spent.next_option, facts)
    return [*chosen, _repeats(spent, allowed[0])]


def _options(pipeline: Pipeline, facts: Facts, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the settings of `evaluate` that the time may buy, each with those before it, the cheapest first.

    They are fine-tuning, then operating points, then steps. given: the settings of `evaluate` that are given.
    """
    cheapest, *others = _settings_of_networks(facts, given)
    fine_tuned = [] if "arms" in given else fine_tuned_arms(pipeline, facts)
    if not fine_tuned:
        return [cheapest, *others]
    arms = [arm.model_dump(mode="json", exclude_defaults=True) for arm in pipeline.evaluate.arms]
    return [cheapest, *({**option, "arms": [*arms, *fine_tuned]} for option in (cheapest, *others))]


def _settings_of_networks(facts: Facts, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return operating points, then numbers of steps, as `_options` does."""
    images, batch = len(facts.folds[0].train), facts.pipeline.evaluate.classifier.batch_size
    fewest = min(max(math.ceil(PASSES * images / batch / 100) * 100, FEWEST_STEPS), MOST_STEPS)
    steps: list[dict[str, Any]] = [{}]
    if "steps" not in given.get("classifier", {}):
        steps = [{"classifier": {"steps": n}} for n in sorted({min(fewest * f, MOST_STEPS) for f in LONGER})]
    has_biases = LONG_TAIL[given.get("classifier", {}).get("long_tail", "none")].head is None  # that can be shifted
    if "operating_point" in given or not imbalanced(facts.counts) or not has_biases:
        return steps
    return [{**steps[0], "operating_point": "as-trained"}, *({**s, "operating_point": "cross-fitted"} for s in steps)]


def _better_classifiers(
    config: EvaluateConfig, options: Sequence[Mapping[str, Any]], seconds: float | None, facts: Facts
) -> list[Decision]:
    """Return the decision for the first of the options. seconds: the time that the second one would take."""
    settings, sentences = options[0]["evaluate"], []
    next_fine_tunes = "arms" not in settings and any("arms" in option["evaluate"] for option in options[1:2])
    if "arms" in settings:
        sentences.append(f"a pretrained network is fine-tuned too: {FINE_TUNING_GAIN}")
    elif seconds and next_fine_tunes:
        sentences.append(
            f"a pretrained network is not fine-tuned, since that would take {format_duration(seconds)}; elsewhere "
            f"{FINE_TUNING_GAIN}"
        )
    if "classifier" in settings:
        steps, images = config.classifier.steps, len(facts.folds[0].train)
        seen = counted(round(steps * config.classifier.batch_size / images), "time")
        sentences.append(
            f"classifiers of {steps} steps: each of {counted(images, 'training image')} is seen about {seen}"
        )
    if settings.get("operating_point") == "cross-fitted":
        sentences.append(
            f"five more classifiers on parts of the images find how far to favour rare classes: {CROSS_FITTING_GAIN}"
        )
    elif "operating_point" in settings and seconds and not next_fine_tunes:
        sentences.append(
            f"the operating point is left as trained; to cross-fit it would take {format_duration(seconds)}: "
            f"{CROSS_FITTING_GAIN}"
        )
    return [Decision("evaluate", settings, "; ".join(sentences))] if sentences else []


def _repeats(spent: Spending, fewest: int) -> Decision:
    if spent.seconds_with_more is None:
        limit = "more narrow the interval little"
    else:
        limit = f"{spent.more} would take {format_duration(spent.seconds_with_more)}"
    return Decision(
        "evaluate",
        {"repeats": spent.repeats},
        f"{counted(spent.repeats, 'repeat')}, each with its own generator, in {about(spent.seconds)}: "
        f"{limit}, and fewer than {fewest} support no claim",
    )


def _fingerprints(loaded: LoadedSource) -> list[str]:
    parts = (loaded.train, loaded.pool, loaded.test, loaded.val, loaded.unlabelled)
    return [fingerprint(data) for data in parts if data is not None]


def with_settings(pipeline: Pipeline, settings: Mapping[str, Any]) -> Pipeline:
    """Return the pipeline without its `auto` section, with `settings` where it has none of its own."""
    given = pipeline.model_dump(mode="json", exclude_unset=True, exclude={"auto"})
    return parse(Pipeline, _merged(settings, given), "auto")


def _changed(pipeline: Pipeline, settings: Mapping[str, Any]) -> Pipeline:
    """Return the pipeline without its `auto` section, with `settings` in place of its own."""
    own = pipeline.model_dump(mode="json", exclude_unset=True, exclude={"auto"})
    return parse(Pipeline, _merged(own, settings), "auto")


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
