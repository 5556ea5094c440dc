"""Improvements of the classifiers that `augment run auto` adds if there is time for them, in this order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from augment.words import counted, format_duration
from classifiers.long_tail import LONG_TAIL
from pipelines.auto.choices import Decision, Facts, arms_with_feeds, fine_tuned_arms
from pipelines.config.sections import EvaluateConfig, Pipeline
from pipelines.metric_specs import imbalanced

MIN_STEPS, MAX_STEPS = 600, 2400  # of a classifier
PASSES = 20  # how often a classifier sees each real image at least, as far as the limits of the steps allow
# arms
NO_MIXUP = {"name": "no-mixup", "policy": "classical", "mixup": 0}
OTHER_VIEWS = {"name": "light-views", "policy": "light"}
LONGER = (1, 2, 4)  # factors of the steps, as far as there is time
# docs/benchmarks.md
NO_MIXUP_GAIN = "they gained 1 to 3 points on characters, and lost 1 to 2 on photographs and clothes"
OTHER_VIEWS_GAIN = "they gained 0 to 2 points on imbalanced characters, and lost up to 4 on clothes"
FINE_TUNING_GAIN = "it gained 4 to 5 points over pretrained features on CIFAR-10, half a point on Fashion-MNIST"
CROSS_FITTING_GAIN = "it gained 0.8 points on clothes in the mean, and nothing on two other sets"


class Improvement(NamedTuple):
    """Settings of `evaluate` that take more time, together with those of the improvements before it.

    sentence_if_chosen: what is said if it is chosen. sentence_if_too_slow: what is said if it is the first one that
    does not fit into the time; {time} stands for the time that it would take. Both may be empty.
    """

    settings: dict[str, Any]
    sentence_if_chosen: str = ""
    sentence_if_too_slow: str = ""


def improvements_of(pipeline: Pipeline, facts: Facts, given: Mapping[str, Any]) -> list[Improvement]:
    """Return the improvements that the given settings leave open, the first of which is always chosen.

    They are classifiers without mixup, other views, synthetic images for both, fine-tuning, operating points and steps.
    given: the settings of `evaluate` that are given.
    """
    cheapest, *others = _network_improvements(facts, given)
    found = [cheapest]
    arms = [arm.model_dump(mode="json", exclude_defaults=True) for arm in pipeline.evaluate.arms]
    for more in [] if "arms" in given else _more_arms(pipeline, given):
        arms = [*arms, *more.settings["arms"]]
        found.append(more._replace(settings={**cheapest.settings, "arms": arms}))
    all_arms = found[-1].settings
    return [*found, *(other._replace(settings={**all_arms, **other.settings}) for other in others)]


def _more_arms(pipeline: Pipeline, given: Mapping[str, Any]) -> list[Improvement]:
    """Return improvements whose settings are the arms to add."""
    classifier = given.get("classifier", {})
    keeps_mixup = "mixup" in classifier or LONG_TAIL[classifier.get("long_tail", "none")].needs_mixup
    no_mixup = [] if keeps_mixup else [NO_MIXUP]
    other_views = [] if "policy" in given else [OTHER_VIEWS]
    fine_tuned = Improvement(
        {"arms": fine_tuned_arms(pipeline)},
        f"a pretrained network is fine-tuned too: {FINE_TUNING_GAIN}",
        f"a pretrained network is not fine-tuned, since that would take {{time}}; in benchmarks {FINE_TUNING_GAIN}",
    )
    found = [
        _recipe(no_mixup, "classifiers without mixup", NO_MIXUP_GAIN, "classifier.mixup=0"),
        _recipe(other_views, "views that are only shifted", OTHER_VIEWS_GAIN, "policy=light"),
        _synthetic_images(no_mixup, "without mixup"),
        _synthetic_images(other_views, "with views that are only shifted"),
        fine_tuned,
    ]
    return [one for one in found if one.settings["arms"]]


def _recipe(arms: list[dict[str, Any]], words: str, gain: str, setting: str) -> Improvement:
    """Return another recipe for real images. setting: the one of `evaluate` that all arms would need for it."""
    return Improvement(
        {"arms": arms},
        f"{words} are compared too (for all arms: --set evaluate.{setting}): {gain}",
        f"{words} are not compared, since that would take {{time}}: {gain}",
    )


def _synthetic_images(arms: list[dict[str, Any]], recipe: str) -> Improvement:
    """Return the arms of another recipe with synthetic images: without them, that recipe could only be a baseline."""
    fed = [one for arm in arms for one in arms_with_feeds(**arm)[1:]]
    return Improvement(
        {"arms": fed},
        f"synthetic images and their controls are compared {recipe} too",
        f"synthetic images are not compared {recipe}, since that would take {{time}}",
    )


def _network_improvements(facts: Facts, given: Mapping[str, Any]) -> list[Improvement]:
    """Return operating points, then numbers of steps. given: the settings of `evaluate` that are given."""
    images, batch = len(facts.folds[0].train), facts.pipeline.evaluate.classifier.batch_size
    fewest = min(max(math.ceil(PASSES * images / batch / 100) * 100, MIN_STEPS), MAX_STEPS)
    steps: list[dict[str, Any]] = [{}]
    if "steps" not in given.get("classifier", {}):
        steps = [{"classifier": {"steps": n}} for n in sorted({min(fewest * f, MAX_STEPS) for f in LONGER})]
    if "operating_point" in given or not imbalanced(facts.counts) or not _can_be_cross_fitted(facts.pipeline.evaluate):
        return [Improvement(s) for s in steps]
    fitted = Improvement(
        {"operating_point": "cross-fitted"},
        f"five more classifiers, trained on parts of the images, find how much to favour rare classes: "
        f"{CROSS_FITTING_GAIN}",
        f"the operating point is left as trained; to cross-fit it would take {{time}}: {CROSS_FITTING_GAIN}",
    )
    first, *longer = ({**fitted.settings, **s} for s in steps)
    as_trained = Improvement({**steps[0], "operating_point": "as-trained"})
    return [as_trained, fitted._replace(settings=first), *(Improvement(settings) for settings in longer)]


def _can_be_cross_fitted(evaluate: EvaluateConfig) -> bool:
    """Return whether an arm leaves its operating point open, and all networks have biases that can be shifted."""
    networks = [arm for arm in evaluate.arms if arm.learner == "network"]
    is_open = any(arm.allows_cross_fitting and arm.operating_point is None for arm in evaluate.arms)
    return is_open and all(LONG_TAIL[evaluate.classifier_of(arm).long_tail].head is None for arm in networks)


def decide_improvements(
    improvements: Sequence[Improvement], last: int, seconds: float | None, facts: Facts
) -> list[Decision]:
    """Return the decision for the improvements up to number `last`, or none if there is nothing to say.

    seconds: what the next one would take; None if there is none.
    """
    settings = improvements[last].settings
    sentences = [one.sentence_if_chosen for one in improvements[: last + 1] if one.sentence_if_chosen]
    if "classifier" in settings:
        steps, images = settings["classifier"]["steps"], len(facts.folds[0].train)
        seen = counted(round(steps * facts.pipeline.evaluate.classifier.batch_size / images), "time")
        sentences.append(
            f"classifiers of {steps} steps: each of {counted(images, 'training image')} is seen about {seen}"
        )
    if seconds is not None:
        sentences.append(improvements[last + 1].sentence_if_too_slow.format(time=format_duration(seconds)))
    sentence = "; ".join(filter(None, sentences))
    return [Decision("evaluate", settings, sentence)] if sentence else []
