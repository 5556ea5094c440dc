"""Train and test one classifier for each fold, arm and repeat, and write a record of each.

Repeat r fixes the initialisation, the order of batches and the views for every arm, so that differences between arms
are paired. All networks that start from random weights take the same number of optimiser steps. The trainings run in
parallel processes of one torch thread each. Every record is written to disk as soon as it arrives, so an interrupted
evaluation continues where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from augment.identity import digest
from augment.output_folders import OutputFolder
from augment.runtime import Runtime, Task
from augment.seeds import derive_seed
from augment.words import counted
from classifiers.metrics import confusion, per_class_recall, score
from pipelines.config import sections
from pipelines.config.arm_section import Arm
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.arms import arms_of, check_arms, check_pretrained_weights, predict_test, train_arm
from pipelines.experiment.feature_learning import with_features
from pipelines.experiment.folds import Fold, of_first_size
from pipelines.experiment.learners import LEARNERS
from pipelines.experiment.parallel import Call, run_in_processes
from pipelines.experiment.partial_training import half_of, name_of_half
from pipelines.experiment.records import Record, RecordFile, encode_labels

# This arm gives the fidelity metric GAN-train and takes no part in the comparison.
GAN_TRAIN = Arm(name=sections.GAN_TRAIN, real=False, synthetic=True, policy="classical")
GAN_TRAIN_REPEATS = 2
RECORDS = "records.jsonl"
NOT_TRAINED_WITH = {"arms", "repeats", "metric", "inception"}  # settings that the record of a classifier is free of


@dataclass(frozen=True)
class Training:
    """One classifier to train. fold: the name of its fold. on_half: on half of the images of each class only."""

    arm: Arm
    repeat: int
    fold: str = ""
    on_half: bool = False

    @property
    def key(self) -> tuple[str, str, int]:
        """The values that identify its record."""
        return self.fold, self.arm.name, self.repeat


def plan_trainings(config: EvaluateConfig, folds: Sequence[Fold]) -> list[Training]:
    """List all trainings, repeat by repeat; those on half of the images and for GAN-train come last.

    Raises the errors of `check_arms` and `check_pretrained_weights`.
    """
    check_pretrained_weights(config)
    trainings = []
    for fold in folds:
        check_arms(fold, config)
        arms = arms_of(fold, config)
        trainings += [Training(arm, repeat, fold.name) for repeat in fold.repeats for arm in arms]
    trainings += _trainings_on_half(config, folds)
    gan_train = GAN_TRAIN.model_copy(update={"policy": config.policy})
    for fold in folds:
        if fold.synthetic is not None:
            trainings += [Training(gan_train, repeat, fold.name) for repeat in fold.repeats[:GAN_TRAIN_REPEATS]]
    return trainings


def _trainings_on_half(config: EvaluateConfig, folds: Sequence[Fold]) -> list[Training]:
    """List the trainings on half of the images of arms with a forecast; of a learning curve, at its first size."""
    return [
        Training(arm.model_copy(update={"name": name_of_half(arm.name)}), repeat, fold.name, on_half=True)
        for arm in config.resolved_arms()
        if arm.forecast
        for fold in of_first_size(folds)
        for repeat in fold.repeats
    ]


def count_trainings(config: EvaluateConfig, folds: Sequence[Fold]) -> int:
    """Return how many trainings there will be when all folds have the synthetic images that the arms need."""
    gan_trainings = config.needs_generator * sum(min(GAN_TRAIN_REPEATS, len(fold.repeats)) for fold in folds)
    of_arms = sum(len(config.arms) * len(fold.repeats) for fold in folds)
    return of_arms + len(_trainings_on_half(config, folds)) + gan_trainings


def run_experiment(
    trainings: Sequence[Training],
    folds: Sequence[Fold],
    config: EvaluateConfig,
    output: OutputFolder,
    runtime: Runtime,
    task: Task,
    *,
    extra_calls: Sequence[Call[Any]] = (),
) -> tuple[list[Record], list[Any]] | None:
    """Run the trainings whose records are not yet in records.jsonl, and append their records to it.

    `extra_calls` run in the same processes, before the trainings. The number of records, also of earlier ones, is the
    progress of `task`. Returns all records and the results of the extra calls, or None if it was stopped.
    """
    file = RecordFile(output, RECORDS, Record, _digests(trainings, folds, config))
    records = file.read()
    if records:
        runtime.observer.on_note(f"{len(records)} of {counted(len(trainings), 'classifier')} are trained already")
        runtime.observer.on_progress(task, len(records), {})
    finished = {record.key for record in records}
    missing = [training for training in trainings if training.key not in finished]
    prepared = with_features(folds, [training.arm for training in missing], config, runtime)
    if prepared is None:
        return None
    by_name = {fold.name: fold for fold in prepared}
    calls: list[Call[Any]] = [(train_and_test, (t, by_name[t.fold], config, runtime.device)) for t in missing]
    extra_results: dict[int, Any] = {}
    for index, result in run_in_processes([*extra_calls, *calls], runtime.jobs):
        if index < len(extra_calls):
            extra_results[index] = result
            continue
        file.append(result)
        records.append(result)
        label = f"{result.arm}, repeat {result.repeat + 1}"
        runtime.observer.on_progress(task, len(records), {"accuracy": result.metrics["accuracy"]}, label)
        if runtime.stopped():
            return None
    return records, [extra_results[index] for index in range(len(extra_calls))]


def _digests(trainings: Sequence[Training], folds: Sequence[Fold], config: EvaluateConfig) -> dict[Hashable, str]:
    """Return, by the key of each training, a digest of the settings and images that its record depends on."""
    settings = config.model_dump(mode="json", exclude=NOT_TRAINED_WITH)
    # cross-fitted classifiers have a seed that depends on the numbers of their fold
    of_folds = {fold.name: {"numbers": fold.numbers, **fold.fingerprints()} for fold in folds}
    return {
        training.key: digest(
            {
                "evaluate": settings,
                "arm": training.arm.model_dump(mode="json", exclude={"name", "forecast"}),
                "on half": training.on_half,
                "fold": _used_by(training.arm, of_folds[training.fold]),
            }
        )
        for training in trainings
    }


def _used_by(arm: Arm, of_fold: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out images that the arm does not use, so that its records outlive, for example, a change of generator."""
    used = {"synthetic": arm.needs_generator or arm.needs_cross_fitting, "unlabelled": arm.unlabelled > 0}
    return {name: value for name, value in of_fold.items() if used.get(name, True)}


def train_and_test(training: Training, fold: Fold, config: EvaluateConfig, device: torch.device) -> Record:
    """Train and test one classifier, and return its record."""
    start = time.perf_counter()
    seed = repeat_seed(config.seed, training.repeat)
    if training.on_half:
        fold = replace(fold, train=half_of(fold.train, derive_seed(seed, "half")))
    model = train_arm(training.arm, fold, config, seed=seed, device=device)
    labels, classes, converges = fold.test.labels, fold.test.num_classes, LEARNERS[training.arm.learner].converges
    logits, classifier = predict_test(training.arm, model, fold), config.classifier_of(training.arm)
    return Record(
        repeat=training.repeat,
        arm=training.arm.name,
        fold=training.fold,
        size=fold.size,
        metrics=score(logits, labels, classes),
        per_class_recall=per_class_recall(logits, labels, classes),
        confusion=confusion(logits, labels, classes).tolist(),
        predicted=encode_labels(logits.argmax(1).numpy()),
        mix=dict(fold.mixes.get(training.arm.name, {})),
        seed=seed,
        learner=training.arm.learner,
        steps=0 if converges else classifier.steps,
        batch_size=0 if converges else classifier.batch_size,
        seconds=round(time.perf_counter() - start, 2),
    )


def repeat_seed(seed: int, repeat: int) -> int:
    """Return the seed of everything random in one repeat; it is the same for all arms."""
    return derive_seed(seed, "repeat", repeat)
