"""Folds x arms x repeats -> records: the measurement itself.

Repeat r fixes the initialisation, the order of batches and the views for every arm, so that differences are paired;
all arms take equally many optimiser steps. Tasks run in parallel processes of one torch thread each, and every record
is on disk before the next is waited for, so that an interrupted evaluation goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from augment.output_folders import OutputFolder
from augment.runtime import Runtime, Task
from augment.seeds import derive_seed
from classifiers.metrics import confusion, per_class_recall, score
from classifiers.training import predict
from pipelines.config import sections
from pipelines.config.sections import Arm, EvaluateConfig
from pipelines.experiment.arms import arms_of, check_arms, train_arm
from pipelines.experiment.folds import Fold
from pipelines.experiment.parallel import Call, run_in_processes
from pipelines.experiment.records import Record, RecordFile, encode_labels

GAN_TRAIN = Arm(name=sections.GAN_TRAIN, real=False, synthetic=True, policy="classical")  # no part of the comparison
GAN_TRAIN_REPEATS = 2
RECORDS = "records.jsonl"


@dataclass(frozen=True)
class Training:
    """One classifier to train."""

    arm: Arm
    repeat: int
    fold: str = ""

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells its record from all others."""
        return self.fold, self.arm.name, self.repeat


def plan(config: EvaluateConfig, folds: Sequence[Fold]) -> list[Training]:
    """Every training, repeat by repeat. Raises `ConfigError` if an arm needs images or scores that are not there."""
    trainings = []
    for fold in folds:
        check_arms(fold, config)
        arms = arms_of(fold, config)
        trainings += [Training(arm, repeat, fold.name) for repeat in fold.repeats for arm in arms]
    gan_train = GAN_TRAIN.model_copy(update={"policy": config.policy})
    for fold in folds:
        if fold.synthetic is not None:
            trainings += [Training(gan_train, repeat, fold.name) for repeat in fold.repeats[:GAN_TRAIN_REPEATS]]
    return trainings


def run_experiment(
    trainings: Sequence[Training],
    folds: Sequence[Fold],
    config: EvaluateConfig,
    output: OutputFolder,
    runtime: Runtime,
    task: Task,
    *,
    beside: Sequence[Call[Any]] = (),
) -> tuple[list[Record], list[Any]] | None:
    """Do the trainings whose records are missing in records.jsonl, append theirs, and return all records.

    Calls given as `beside` run in the same processes, the first of all; what they return comes second. The observer is
    told of each record as progress of `task`. Stopped, it returns None.
    """
    file = RecordFile(output, RECORDS, Record)
    records = file.read()
    known = {record.key for record in records}
    missing = [training for training in trainings if training.key not in known]
    by_name = {fold.name: fold for fold in folds}
    calls: list[Call[Any]] = [
        (train_and_test, (training, by_name[training.fold], config, runtime.device)) for training in missing
    ]
    others: dict[int, Any] = {}
    for index, result in run_in_processes([*beside, *calls], runtime.jobs):
        if index < len(beside):
            others[index] = result
            continue
        file.append(result)
        records.append(result)
        label = f"{result.arm}, repeat {result.repeat + 1}"
        runtime.observer.on_progress(task, len(records), {"accuracy": result.metrics["accuracy"]}, label)
        if runtime.stopped():
            return None
    return records, [others[index] for index in range(len(beside))]


def train_and_test(training: Training, fold: Fold, config: EvaluateConfig, device: torch.device) -> Record:
    """Train and test one classifier."""
    began = time.perf_counter()
    seed = repeat_seed(config.seed, training.repeat)
    model = train_arm(training.arm, fold, config, seed=seed, device=device)
    labels, classes = fold.test.labels, fold.test.num_classes
    logits = predict(model, torch.from_numpy(np.ascontiguousarray(fold.test.images)))
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
        steps=config.classifier.steps,
        batch_size=config.classifier.batch_size,
        seconds=round(time.perf_counter() - began, 2),
    )


def repeat_seed(seed: int, repeat: int) -> int:
    """The seed of everything random in one repeat, the same for all arms."""
    return derive_seed(seed, "repeat", repeat)
