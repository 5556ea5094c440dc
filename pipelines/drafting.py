"""`augment init`: write a pipeline file for the user's source, with the usual settings and the reason for each value.

The settings are those that `augment run auto` chooses by looking at the images. Settings that depend on measured times,
such as the number of repeats, get a value that suits most sets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from augment.runtime import NO_OBSERVER, Observer
from augment.words import counted, printable, shell_word
from pipelines.auto.choices import CHOICES
from pipelines.auto.decisions import allowed_repeats, facts_of, with_settings
from pipelines.auto.time_budget import PREFERRED_REPEATS
from pipelines.config.reading import load_pipeline
from pipelines.experiment.loading import load
from pipelines.experiment.protocols import infer_protocol

STEPS = 600  # of each classifier
HEAD = """\
# A pipeline for {source}, written by augment init: {images} of {classes}.
#   augment run {file} --dry-run     says how long it will take
#   augment run {file} --out runs/mine
# All settings: augment schema pipeline. Paths are relative to this file.
"""
COMMENTS = {  # of each section, before the reasons for its values
    "data": "the images; samples_per_class: N uses at most N of each class, unlabelled: DIR adds images without labels",
    "protocol": "how the repeats differ: holdout, kfold, or for a larger pool subsample or imbalance",
    "generator": "kind: anchored, cgan or resample; horizontal flips: add flip to augment if the classes allow it",
    "generate": "stored synthetic images of each class, for their fidelity metrics and for arms without a feed",
    "evaluate": "the arms that are compared; each repeat trains a classifier for each of them",
}


def draft(overrides: Sequence[str], file: Path, observer: Observer = NO_OBSERVER) -> str:
    """Return the YAML text of `file`. overrides: settings of `augment run auto`, such as `data.source=DIR`.

    Raises the errors of `load_pipeline` and `load`.
    """
    pipeline = load_pipeline("auto", overrides)
    loaded = load(pipeline.data, observer)
    protocol, why = infer_protocol(loaded, pipeline.data)
    allowed = allowed_repeats(loaded, pipeline)
    repeats = next((number for number in allowed if number >= PREFERRED_REPEATS), allowed[-1])
    own = {"protocol": {"kind": protocol}, "evaluate": {"repeats": repeats, "classifier": {"steps": STEPS}}}
    pipeline = with_settings(pipeline, own)
    facts = facts_of(pipeline, loaded)
    reasons: dict[str, list[str]] = {"protocol": [why]}
    for choose in CHOICES:
        decision = choose(facts)
        pipeline = with_settings(pipeline, decision.settings)
        reasons.setdefault(decision.section, []).append(decision.sentence)
    content = pipeline.model_dump(mode="json", exclude_unset=True, exclude={"auto", "description"})
    images = counted(len(loaded.train), "image")
    head = HEAD.format(
        source=printable(loaded.name),
        images=images,
        classes=counted(loaded.train.num_classes, "class"),
        file=shell_word(str(file)),
    )
    return head + "".join(_text(name, content[name], reasons.get(name, [])) for name in COMMENTS if name in content)


def _text(name: str, values: Mapping[str, Any], reasons: Sequence[str]) -> str:
    lines = [f"# {COMMENTS[name]}", *(f"# - {reason}" for reason in reasons)]
    return "\n" + "\n".join(lines) + "\n" + yaml.safe_dump({name: values}, sort_keys=False, allow_unicode=True)
