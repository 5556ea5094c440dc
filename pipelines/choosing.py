"""Choosing the mix on validation images, with "no synthetic images" among the candidates.

Each fold's training images are split again; a generator that has not seen the validation part makes the images, and
the arm is trained with every mix and without any. Each fold takes the mix with the best mean gain on its own validation
images; whether mixing is worth it at all is decided by the gains of all folds together. The outer test is untouched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from augment.dataset.images import fingerprint
from augment.files import read_json
from augment.identity import Identity
from augment.output_folders import Replace, open_output
from augment.runtime import Runtime, Task
from pipelines.config.sections import Arm, ChooseConfig, EvaluateConfig
from pipelines.evaluation import identity_of, judged
from pipelines.experiment.experiment import GAN_TRAIN, RECORDS, plan, run_experiment
from pipelines.experiment.folds import Fold
from pipelines.experiment.records import Record, records_of_arm
from pipelines.metric_specs import image_weights
from pipelines.results.comparisons import correctness
from pipelines.results.recommendation import words_of
from pipelines.results.statistics import two_way_interval

CHOICE = "choice.json"
BASELINE = "without"
Mix = dict[str, Any]


@dataclass(frozen=True)
class Split:
    """The records of one validation split, the labels of its images, and their fingerprint."""

    records: Sequence[Record]
    labels: NDArray[np.int64]
    images: str = ""


def mixes(config: ChooseConfig) -> dict[str, Mix]:
    """The candidates by name, "no synthetic images" not among them."""
    found: dict[str, Mix] = {}
    for ratio, keep, weight in product(config.ratios, config.keep, config.weights):
        mix: Mix = {"ratio": ratio, "keep": keep, "filter": config.filter, "weight": weight}
        found[words_of(mix)] = mix
    return found


def candidate_arms(config: ChooseConfig, evaluate: EvaluateConfig) -> tuple[Arm, ...]:
    """The arm to choose for without synthetic images and with every mix."""
    base = next(arm for arm in evaluate.resolved_arms() if arm.name == config.arm)
    without = base.model_copy(update={"name": BASELINE, "synthetic": False, "synthetic_first": 0.0})
    mixed = [base.model_copy(update={"name": name, **mix}) for name, mix in mixes(config).items()]
    return (without, *mixed)


def choose_mix(
    inner: Mapping[str, Sequence[Fold]],
    config: ChooseConfig,
    evaluate: EvaluateConfig,
    folder: Path,
    runtime: Runtime,
    *,
    metric: str,
    overwrite: bool = False,
    replace: Replace = "nothing",
    seconds: float | None = None,
) -> dict[str, Any] | None:
    """Train every candidate on every validation split, and write choice.json; None if it was stopped.

    inner: the validation splits, with synthetic images, by the name of their outer fold. metric: of the evaluation.
    seconds: that it is expected to take.
    """
    candidates = evaluate.model_copy(update={"arms": candidate_arms(config, evaluate), "repeats": config.repeats})
    folds = [fold for splits in inner.values() for fold in splits]
    trainings = [training for training in plan(candidates, folds) if training.arm.name != GAN_TRAIN.name]
    of_candidates, files = identity_of(folds, candidates), (RECORDS, CHOICE)
    identity = Identity({"choose": config, **of_candidates.settings}, of_candidates.data)
    task = Task("choose", len(trainings), seconds, config.model_dump(mode="json"))
    with open_output(folder, "choose", identity, files=files, overwrite=overwrite, replace=replace) as output:
        runtime.observer.on_start(task)
        ready = judged(folds, candidates, runtime)
        done = run_experiment(trainings, ready, candidates, output, runtime, task)
        if done is None:
            return None
        splits = {outer: [_split(done[0], fold) for fold in folds] for outer, folds in inner.items()}
        choice = choose(splits, config, metric)
        output.write(CHOICE, json.dumps(choice, indent=1))
        output.finish()
    runtime.observer.on_end(task, {"gain": choice["mean_gain"], "lower end": choice["lower_bound"]})
    return choice


def _split(records: Sequence[Record], fold: Fold) -> Split:
    return Split([r for r in records if r.fold == fold.name], fold.test.labels, fingerprint(fold.test))


class _Choice(BaseModel):
    """The fields of choice.json."""

    model_config = ConfigDict(extra="forbid")

    arm: str
    mix: dict[str, Any]
    words: str
    mean_gain: float
    lower_bound: float
    confidence: float
    gain_shown: bool
    candidates_tried: int
    candidates: dict[str, float]
    by_fold: dict[str, dict[str, Any]]


def read_choice(folder: Path) -> dict[str, Any]:
    """What `choose_mix` wrote. Raises `OutputError` if it is damaged."""
    return read_json(folder / CHOICE, _Choice).model_dump()


def choose(splits: Mapping[str, Sequence[Split]], config: ChooseConfig, metric: str) -> dict[str, Any]:
    """The best mix of each fold, and whether mixing is worth it: the content of results.json under `choice`.

    splits: by fold, its validation splits. The gain is in accuracy, or in balanced accuracy if `metric` is anything
    else. It is shown if the lower end of the two-way interval over repeats and validation images, at the level
    1 - 0.05 / candidates (Bonferroni), is above 0 for the candidate with the best mean over all folds.
    """
    candidates = mixes(config)
    gained = {name: _gain_of_images([s for of_fold in splits.values() for s in of_fold], name) for name in candidates}
    weights = _weights([s for of_fold in splits.values() for s in of_fold], metric)
    means = {name: float((gain @ weights).mean()) for name, gain in gained.items()}
    best = max(means, key=lambda name: means[name])
    confidence = 1 - 0.05 / len(candidates)
    low, _ = two_way_interval(gained[best], seed=0, confidence=confidence, weights=weights, satterthwaite=True)
    return {
        "arm": config.arm,
        "mix": candidates[best],
        "words": best,
        "mean_gain": means[best],
        "lower_bound": low,
        "confidence": confidence,
        "gain_shown": low > 0,
        "candidates_tried": len(candidates),
        "candidates": means,
        "by_fold": {fold: _best_of(of_fold, candidates, metric) for fold, of_fold in splits.items()},
    }


def _best_of(splits: Sequence[Split], candidates: Mapping[str, Mix], metric: str) -> Mix:
    weights = _weights(splits, metric)
    means = {name: float((_gain_of_images(splits, name) @ weights).mean()) for name in candidates}
    return candidates[max(means, key=lambda name: means[name])]


def _gain_of_images(splits: Sequence[Split], candidate: str) -> NDArray[np.float32]:
    """-1, 0 or 1: repeats x validation images of all splits, side by side.

    Where every split has the same images, as those of a source's validation split, their repeats are more repeats of
    these images: side by side they would count as more images than there are.
    """
    gains = [
        correctness(records_of_arm(split.records, candidate), split.labels).astype(np.float32)
        - correctness(records_of_arm(split.records, BASELINE), split.labels)
        for split in splits
    ]
    return np.vstack(gains) if _shared(splits) else np.hstack(gains)


def _shared(splits: Sequence[Split]) -> bool:
    return bool(splits[0].images) and len({split.images for split in splits}) == 1


def _weights(splits: Sequence[Split], metric: str) -> NDArray[np.float64]:
    """Every split counts the same: of all validation images, adding to 1."""
    splits = splits[:1] if _shared(splits) else splits
    return np.concatenate([image_weights(split.labels, metric) for split in splits]) / len(splits)
