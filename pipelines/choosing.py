"""Choose the mix of real and synthetic images on validation images, with "no synthetic images" among the candidates.

The training images of each fold are split again into an inner training and a validation part. The synthetic images come
from a generator that has not seen the validation part. The arm is trained with every candidate mix and without
synthetic images. Each fold uses the mix with the best mean gain on its own validation images, and the gains of all
folds together decide whether synthetic images are recommended at all. The outer test images are not used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment.files import read_json
from augment.identity import Identity
from augment.output_folders import Replace, open_output
from augment.runtime import Runtime, Task
from pipelines.config.arm_section import Arm
from pipelines.config.sections import ChooseConfig, EvaluateConfig
from pipelines.evaluation import identity_of
from pipelines.experiment.cross_fitting import cross_fit_folds
from pipelines.experiment.experiment import RECORDS, run_experiment
from pipelines.experiment.folds import Fold
from pipelines.experiment.planning import plan_trainings
from pipelines.experiment.records import Record, records_of_arm
from pipelines.metric_specs import image_weights
from pipelines.results.comparisons import image_gains
from pipelines.results.document import Choice, to_json
from pipelines.results.two_way import two_way_interval
from pipelines.results.wording import describe_mix

CHOICE = "choice.json"
BASELINE = "without"
Mix = dict[str, Any]


@dataclass(frozen=True)
class ValidationSplit:
    """The records of one validation split, the labels of its validation images, and their fingerprint."""

    records: Sequence[Record]
    labels: NDArray[np.int64]
    fingerprint: str


def candidate_mixes(config: ChooseConfig) -> dict[str, Mix]:
    """Return the candidate mixes by name, without the candidate "no synthetic images"."""
    candidates: dict[str, Mix] = {}
    for ratio, keep, weight in product(config.ratios, config.keep, config.weights):
        mix: Mix = {"ratio": ratio, "keep": keep, "filter": config.filter, "weight": weight}
        candidates[describe_mix(mix)] = mix
    return candidates


def candidate_arms(config: ChooseConfig, evaluate: EvaluateConfig) -> tuple[Arm, ...]:
    """Return the arm of `config` without synthetic images, which is the baseline, and with every candidate mix."""
    base = next(arm for arm in evaluate.resolved_arms() if arm.name == config.arm)
    without = {"synthetic": False, "synthetic_first": 0.0, "operating_point": "as-trained"}  # as with stored images
    baseline = base.model_copy(update={"name": BASELINE, **without})
    mixed = [base.model_copy(update={"name": name, **mix}) for name, mix in candidate_mixes(config).items()]
    return (baseline, *mixed)


def candidate_evaluation(config: ChooseConfig, evaluate: EvaluateConfig) -> EvaluateConfig:
    """Return the settings of the evaluation that compares the candidates on validation images."""
    return evaluate.model_copy(update={"arms": candidate_arms(config, evaluate), "repeats": config.repeats})


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
) -> Choice | None:
    """Train every candidate on every validation split, write choice.json, and return its content.

    Returns None if it was stopped. inner: the validation splits, with synthetic images, by the name of their outer
    fold. metric: the metric of the evaluation. seconds: the expected time.
    """
    candidates = candidate_evaluation(config, evaluate)
    folds = [fold for splits in inner.values() for fold in splits]
    trainings = plan_trainings(candidates, folds)
    evaluation, files = identity_of(folds, candidates), (RECORDS, CHOICE)
    identity = Identity({"choose": config, **evaluation.settings}, evaluation.data)
    task = Task("choose", len(trainings), seconds, config.model_dump(mode="json"))
    kept = (RECORDS,)
    with open_output(
        folder, "choose", identity, files=files, overwrite=overwrite, replace=replace, keep=kept
    ) as output:
        cross_fitted_folds = cross_fit_folds(folds, candidates, runtime)
        runtime.observer.on_start(task)
        records = run_experiment(trainings, cross_fitted_folds, candidates, output, runtime, task)
        if records is None:
            return None
        splits = {outer: [_split(records, fold) for fold in inner_folds] for outer, inner_folds in inner.items()}
        choice = choose(splits, config, metric)
        output.write(CHOICE, to_json(choice))
        output.finish()
    runtime.observer.on_end(task, {"gain": choice.mean_gain, "lower end": choice.lower_bound})
    return choice


def _split(records: Sequence[Record], fold: Fold) -> ValidationSplit:
    return ValidationSplit([r for r in records if r.fold == fold.name], fold.test.labels, fold.test.fingerprint)


def read_choice(folder: Path) -> Choice:
    """Read the file that `choose_mix` has written. Raises `OutputError` if it is damaged."""
    return read_json(folder / CHOICE, Choice)


def choose(splits: Mapping[str, Sequence[ValidationSplit]], config: ChooseConfig, metric: str) -> Choice:
    """Choose the best mix of each fold, and decide whether its gain is significant.

    splits: the validation splits of each fold. Gains are measured in accuracy if that is the `metric`, and in balanced
    accuracy otherwise. The candidate with the best mean gain over all folds is tested: its gain is significant if the
    lower end of its two-way interval over repeats and validation images is above 0, at the confidence level
    1 - 0.05 / candidates (Bonferroni). The interval holds for these generators and splits. It leaves out the variance
    that other generators would add, and counts an image that is in several splits as several images. A
    recommendation needs both this gain and one on the test images.
    """
    candidates = candidate_mixes(config)
    all_splits = [split for fold_splits in splits.values() for split in fold_splits]
    gains, weights = {name: _image_gains(all_splits, name) for name in candidates}, _weights(all_splits, metric)
    means = {name: float((gain @ weights).mean()) for name, gain in gains.items()}
    best = max(means, key=lambda name: means[name])
    confidence = 1 - 0.05 / len(candidates)
    low, _ = two_way_interval(gains[best], seed=0, confidence=confidence, weights=weights, satterthwaite=True)
    return Choice(
        arm=config.arm,
        mix=candidates[best],
        words=best,
        mean_gain=means[best],
        lower_bound=low,
        confidence=confidence,
        gain_shown=low > 0,
        candidates_tried=len(candidates),
        candidates=means,
        by_fold={fold: _best_mix(fold_splits, candidates, metric) for fold, fold_splits in splits.items()},
    )


def _best_mix(splits: Sequence[ValidationSplit], candidates: Mapping[str, Mix], metric: str) -> Mix:
    weights = _weights(splits, metric)
    means = {name: float((_image_gains(splits, name) @ weights).mean()) for name in candidates}
    return candidates[max(means, key=lambda name: means[name])]


def _image_gains(splits: Sequence[ValidationSplit], candidate: str) -> NDArray[np.float32]:
    """Return the gain in correctness, -1, 0 or 1, of each repeat and validation image: repeats x images.

    The images of different splits stand side by side. If all splits share the same images, such as the validation split
    of a source, the splits are stacked as further repeats instead, since no image may be counted twice.
    """
    gains = [
        image_gains(records_of_arm(split.records, candidate), records_of_arm(split.records, BASELINE), split.labels)
        for split in splits
    ]
    return np.vstack(gains) if _share_images(splits) else np.hstack(gains)


def _share_images(splits: Sequence[ValidationSplit]) -> bool:
    return len({split.fingerprint for split in splits}) == 1


def _weights(splits: Sequence[ValidationSplit], metric: str) -> NDArray[np.float64]:
    """Return the weight of each validation image; they sum to 1, and every split has the same total weight."""
    splits = splits[:1] if _share_images(splits) else splits
    return np.concatenate([image_weights(split.labels, metric) for split in splits]) / len(splits)
