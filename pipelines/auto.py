"""Choose the settings of a pipeline that its user left open: `augment run auto`.

Each decision is a few settings and a sentence that says what was chosen and why. A setting that the user has given is
never changed. The time available buys repeats, since the interval of the answer depends on them; fewer repeats than a
claim needs are refused.

OUT/auto.json keeps the decisions, so that a continued run uses them again although a timing probe varies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from augment.dataset.images import fingerprint
from augment.errors import ConfigError
from augment.files import read_json
from augment.generators.anchored import AnchoredConfig
from augment.identity import Identity
from augment.markers import read_marker
from augment.runtime import Runtime
from augment.words import counted
from classifiers.backbones import weights_installed
from pipelines.config.reading import parse
from pipelines.config.sections import AutoConfig, Pipeline
from pipelines.experiment.folds import Fold
from pipelines.experiment.loading import LoadedSource
from pipelines.experiment.protocols import FOLDS, infer_protocol, make_protocol
from pipelines.experiment.time_estimate import Probe, format_duration
from pipelines.metric_specs import FEWEST_REPEATS, imbalanced
from pipelines.pipeline_folds import divide
from pipelines.stages import stages_of

DECISIONS_FILE = "auto.json"
MOST_REPEATS = 12  # more repeats narrow the interval little
MINUTES = 20.0  # if the user sets none
FEWEST_STEPS, MOST_STEPS = 600, 2400  # of a classifier
PASSES = 20  # how often a classifier sees each real image, as far as the limits of the steps allow
SHARE = 0.25  # of synthetic images in a batch


class Decision(NamedTuple):
    """A part of a pipeline definition, and why it was chosen."""

    settings: dict[str, Any]
    sentence: str


class Decisions(BaseModel):
    """The content of auto.json. inputs: what the decisions depend on, from `Identity.as_json`."""

    inputs: dict[str, Any]
    settings: dict[str, Any]
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """What the decisions depend on."""

    pipeline: Pipeline
    loaded: LoadedSource
    folds: Sequence[Fold]

    @property
    def counts(self) -> dict[str, int]:
        """The number of training images of each class in the first fold."""
        return self.folds[0].train.per_class()

    @property
    def largest(self) -> int:
        """The number of images that the largest class of every fold has at least."""
        return min(int(fold.train.counts().max()) for fold in self.folds)

    @property
    def smallest(self) -> int:
        """The number of images that every class of every fold has at least."""
        return min(int(fold.train.counts().min()) for fold in self.folds)


def decide(pipeline: Pipeline, loaded: LoadedSource, folder: Path, runtime: Runtime) -> tuple[Pipeline, Decisions]:
    """Return the pipeline with all decisions, and the decisions: those in `folder` if they have the same inputs.

    The pipeline must have an `auto` section; the one that is returned has none. Nothing is written. Raises
    `ConfigError` if the time does not suffice for the fewest repeats that allow a claim.
    """
    assert pipeline.auto is not None
    given = pipeline.model_dump(mode="json", exclude_unset=True, exclude={"track"})
    identity = Identity(data={"definition": given, "images": _fingerprints(loaded)})
    stored = _read(folder)
    if stored is not None and not identity.differences(stored.inputs):
        return _with_settings(pipeline, stored.settings), stored
    settings: dict[str, Any] = {}
    sentences = []
    allowed = _allowed_repeats(loaded, pipeline)
    facts = _facts(_with_settings(pipeline, {"evaluate": {"repeats": allowed[0]}}), loaded)
    for choose in CHOICES:
        decision = choose(facts)
        if _missing(decision.settings, given):
            settings = _merged(settings, decision.settings)
            sentences.append(decision.sentence)
    if "repeats" not in given.get("evaluate", {}):
        decision = _repeats(_with_settings(facts.pipeline, settings), loaded, allowed, pipeline.auto, runtime)
        settings = _merged(settings, decision.settings)
        sentences.append(decision.sentence)
    decisions = Decisions(inputs=identity.as_json(), settings=settings, sentences=tuple(sentences))
    return _with_settings(pipeline, settings), decisions


def _image_size(facts: Facts) -> Decision:
    limit, size = facts.pipeline.data.largest_size, facts.loaded.train.size
    why = (
        f"larger images are reduced to {limit} px, since the time grows with the area; --image-size sets another size"
        if limit
        else "as the definition says"
    )
    return Decision({}, f"images of {size} px: {why}")


def _imbalance(facts: Facts) -> Decision:
    largest, smallest = max(facts.counts.values()), min(facts.counts.values())
    images = counted(largest, "image") if smallest == largest else f"{smallest} to {largest} images"
    if imbalanced(facts.counts):
        classifier = {"sampling": "plain", "long_tail": "logit-adjustment"}
        sentence = f"plain sampling with logit adjustment, the best treatment known here of classes of {images}"
    else:
        classifier = {"sampling": "balanced", "long_tail": "none"}
        sentence = f"no treatment of imbalance: the classes have {images} each"
    return Decision({"evaluate": {"classifier": classifier}}, sentence)


def _steps(facts: Facts) -> Decision:
    images, batch = len(facts.folds[0].train), facts.pipeline.evaluate.classifier.batch_size
    steps = min(max(math.ceil(PASSES * images / batch / 100) * 100, FEWEST_STEPS), MOST_STEPS)
    return Decision(
        {"evaluate": {"classifier": {"steps": steps}}},
        f"classifiers of {steps} steps: each of {counted(images, 'training image')} is seen about "
        f"{counted(round(steps * batch / images), 'time')}",
    )


def _anchors(facts: Facts) -> Decision:
    config = facts.pipeline.generator
    if not isinstance(config, AnchoredConfig):
        return Decision({}, f"the generator {config.kind}: as the definition says")
    lenders_from, largest, smallest = config.lenders_from, facts.largest, facts.smallest
    if largest >= lenders_from:
        return Decision({}, f"the generator anchored, {config.anchors}: a class has {largest} images to lend from")
    if smallest > 1:
        anchors, why = "grid", f"no class has the {lenders_from} images that lending differences needs"
    elif largest > 1:
        anchors, lenders_from = "pooled-difference", largest
        why = f"a class has one image, and there is nothing to mix it with but differences of a class of {largest}"
    else:
        anchors, why = "reconstruction", "every class has one image, and there is nothing to mix it with"
    return Decision(
        {"generator": {"anchors": anchors, "lenders_from": lenders_from}}, f"the generator anchored, {anchors}: {why}"
    )


def _arms(facts: Facts) -> Decision:
    mixed = {"policy": "classical", "synthetic": True, "share": SHARE}
    arms: list[str | dict[str, Any]] = [
        "classical",
        *({"name": f"classical+{n}", "feed": feed, **mixed} for n, feed in FED.items()),
    ]
    sentence = (
        f"a quarter of each batch is synthetic, new for every batch, and pixel mixing is the control: {SHARE:.0%} was "
        "at least as good as half"
    )
    if weights_installed():
        available = facts.pipeline.generate.per_class * len(facts.counts)
        stored = {"ratio": min(available / sum(facts.counts.values()), 1.0), "share": SHARE}
        arms += ["features", {"name": "features+synthetic", "learner": "features", "synthetic": True, **stored}]
        return Decision({"evaluate": {"arms": arms}}, f"{sentence}; pretrained features are compared too")
    return Decision(
        {"evaluate": {"arms": arms}},
        f"{sentence}; for photographs, compare pretrained features too: pip install 'augment-osgan[pretrained]'",
    )


FED = {"fresh": "generator", "grid": "grid"}  # what the arms with synthetic images add to their names, and their feeds
CHOICES: tuple[Callable[[Facts], Decision], ...] = (_image_size, _imbalance, _steps, _anchors, _arms)


def _facts(pipeline: Pipeline, loaded: LoadedSource) -> Facts:
    repeats = pipeline.evaluate.repeats
    protocol = make_protocol(loaded, pipeline.data, pipeline.protocol, repeats)
    return Facts(pipeline, loaded, protocol.folds)


def _protocol(loaded: LoadedSource, pipeline: Pipeline) -> str:
    return pipeline.protocol.kind or infer_protocol(loaded, pipeline.data)[0]


def _allowed_repeats(loaded: LoadedSource, pipeline: Pipeline) -> list[int]:
    """Return the numbers of repeats to select from, ascending; kfold needs whole rounds of folds."""
    if _protocol(loaded, pipeline) != "kfold":
        return list(range(FEWEST_REPEATS, MOST_REPEATS + 1))
    fewest_images, folds = int(loaded.train.counts().min()), pipeline.protocol.folds
    possible = [folds] if folds else list(range(3, min(fewest_images, FOLDS + 1) + 1)) or [2]
    numbers = range(FEWEST_REPEATS, max(MOST_REPEATS, FEWEST_REPEATS + possible[0]) + 1)
    return [number for number in numbers if any(number % k == 0 for k in possible)]


def _repeats(
    pipeline: Pipeline, loaded: LoadedSource, allowed: Sequence[int], auto: AutoConfig, runtime: Runtime
) -> Decision:
    """Return as many of the allowed repeats as the time suffices for. `pipeline` has the fewest.

    Raises `ConfigError` if the user has set a time that does not suffice for the fewest.
    """
    fewest, minutes = allowed[0], auto.minutes or MINUTES
    folds = divide(pipeline, loaded, Path())
    probe = Probe(folds.generator_folds[0], pipeline.evaluate, runtime.device, runtime.jobs)
    seconds = sum(stage.seconds(probe) for stage in stages_of(folds)) / fewest
    if auto.minutes and seconds * fewest > minutes * 60:
        raise ConfigError(
            f"{fewest} repeats would take about {format_duration(seconds * fewest)}, and fewer support no claim, but "
            f"--minutes is {minutes:g}: give --minutes {math.ceil(seconds * fewest / 60)}, or fewer steps with --set "
            "generator.steps=N"
        )
    repeats = max((number for number in allowed if number * seconds <= minutes * 60), default=fewest)
    more = next((number for number in allowed if number > repeats), None)
    why = f"{more} would take {format_duration(seconds * more)}" if more else "more narrow the interval little"
    return Decision(
        {"evaluate": {"repeats": repeats}},
        f"{counted(repeats, 'repeat')}, each with its own generator, in about {format_duration(seconds * repeats)}: "
        f"{why}, and fewer than {fewest} support no claim",
    )


def _fingerprints(loaded: LoadedSource) -> list[str]:
    return [fingerprint(data) for data in (loaded.train, loaded.pool, loaded.test, loaded.val) if data is not None]


def _with_settings(pipeline: Pipeline, settings: Mapping[str, Any]) -> Pipeline:
    """Return the pipeline without its `auto` section, with `settings` where it has none of its own."""
    given = pipeline.model_dump(mode="json", exclude_unset=True, exclude={"auto"})
    return parse(Pipeline, _merged(settings, given), "auto")


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
