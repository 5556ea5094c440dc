"""What the record of a classifier depends on, as a digest: a later evaluation keeps the records with the same digest.

What does not matter for an arm is left out, so that the records of other arms outlive a change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from augment.files import digest_files
from augment.generators.runs import MODEL
from augment.identity import digest
from augment.versions import versions
from classifiers.backbones import DOWNLOAD
from pipelines.config.arm_section import Arm
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.folds import Fold
from pipelines.experiment.planning import Training

# settings of the evaluation that no classifier depends on, or that are in its arm
NOT_NEEDED = ("arms", "repeats", "metric", "inception", "ratio", "operating_point")


def record_digests(
    trainings: Sequence[Training], folds: Sequence[Fold], config: EvaluateConfig, device: torch.device
) -> dict[Hashable, str]:
    """Return the digest of each training's record, by its key."""
    software = {"versions": versions(), "device": device.type}
    weights = weight_digests(config).get("evaluate.features.backbone_weights")
    contents = {fold.name: _content(fold) for fold in folds}
    return {
        training.key: digest(
            {
                **software,
                "evaluate": _needed_settings(training.arm, config),
                "arm": training.arm.model_dump(mode="json", exclude={"name", "forecast"}),
                "ratio": training.arm.ratio_or(config.ratio) if training.arm.synthetic else None,
                "pretrained weights": weights if training.arm.learner != "network" else None,
                "content": _needed_content(training.arm, contents[training.fold]),
                "on half": training.on_half,
            }
        )
        for training in trainings
    }


def _content(fold: Fold) -> dict[str, Any]:
    """Return fingerprints of what the classifiers of a fold may learn from and are tested on, by name."""
    scores = None if fold.synthetic is None else fold.synthetic.scores
    return {
        **fold.fingerprints,
        "scores": None if scores is None else hashlib.sha256(scores.tobytes()).hexdigest(),
        "generator": None if fold.run is None else digest_files(fold.run, [MODEL]),
        "numbers": fold.numbers,  # the seed of cross-fitted classifiers depends on them
    }


def _needed_content(arm: Arm, content: Mapping[str, Any]) -> dict[str, Any]:
    needed = {
        "synthetic": arm.uses_stored_images,
        "scores": arm.uses_stored_images,
        "generator": arm.feed is not None and arm.needs_generator,
        "unlabelled": arm.unlabelled > 0,
        "numbers": arm.needs_cross_fitting,
    }
    return {name: value for name, value in content.items() if needed.get(name, True)}


def _needed_settings(arm: Arm, config: EvaluateConfig) -> dict[str, Any]:
    settings = config.model_dump(mode="json", exclude={*NOT_NEEDED})
    needed = {
        "policy": arm.needs_cross_fitting,  # its own policy is resolved
        "views": arm.policy is not None or arm.needs_cross_fitting,
        "classifier": arm.learner != "features" or arm.needs_cross_fitting,
        "features": arm.learner != "network",
        "finetune": arm.learner == "finetune",
    }
    return {name: value for name, value in settings.items() if needed.get(name, True)}


def weight_digests(config: EvaluateConfig) -> dict[str, str | None]:
    """Return digests of the files of weights that settings name, by the setting: their content may change."""
    paths = {
        "evaluate.features.backbone_weights": config.features.backbone_weights,
        "evaluate.inception": config.inception,
    }
    given = {name: Path(path) for name, path in paths.items() if path not in (None, DOWNLOAD)}
    return {name: digest_files(path.parent, [path.name]) for name, path in given.items()}
