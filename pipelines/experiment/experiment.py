"""Train and test the planned classifiers, and write a record of each.

Repeat r fixes the initialisation, the order of batches and the views for every arm, so that differences between arms
are paired. All networks that start from random weights take the same number of optimiser steps. The trainings run in
parallel processes of one torch thread each. Every record is written to disk as soon as it arrives, so an interrupted
evaluation continues where it stopped, and a changed one keeps the records that do not depend on the change.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from augment.output_folders import OutputFolder
from augment.runtime import Runtime, Task
from augment.seeds import derive_seed
from augment.words import counted
from classifiers.metrics import confusion, per_class_recall, score
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.arms import predict_test, train_arm
from pipelines.experiment.feature_learning import with_features
from pipelines.experiment.folds import Fold
from pipelines.experiment.learners import LEARNERS
from pipelines.experiment.parallel import Call, run_in_processes
from pipelines.experiment.partial_training import half_of
from pipelines.experiment.planning import Training
from pipelines.experiment.record_digests import record_digests
from pipelines.experiment.records import AnyLine, Record, RecordFile, encode_labels

RECORDS = "records.jsonl"


def run_experiment(
    trainings: Sequence[Training],
    folds: Sequence[Fold],
    config: EvaluateConfig,
    output: OutputFolder,
    runtime: Runtime,
    task: Task,
    *,
    others: tuple[RecordFile[AnyLine], Sequence[Call[AnyLine]]] | None = None,
) -> list[Record] | None:
    """Run the trainings whose records are not yet in records.jsonl, and append their records to it.

    others: a record file of another kind and the calls that return its lines, which run first. The number of
    classifiers, also of earlier ones, is the progress of `task`. Returns all records, or None if it was stopped.
    """
    file = RecordFile(output, RECORDS, Record, record_digests(trainings, folds, config, runtime.device))
    records = file.read()
    if records:
        runtime.observer.on_note(f"{len(records)} of {counted(len(trainings), 'classifier')} are trained already")
        runtime.observer.on_progress(task, len(records), {})
    finished = {record.key for record in records}
    missing = [training for training in trainings if training.key not in finished]
    needed = [fold for fold in folds if any(training.fold == fold.name for training in missing)]
    prepared = with_features(needed, [training.arm for training in missing], config, runtime)
    if prepared is None:
        return None
    by_name = {fold.name: fold for fold in prepared}
    calls: list[Call[Any]] = [(train_and_test, (t, by_name[t.fold], config, runtime.device)) for t in missing]
    other_file, other_calls = others or (None, ())
    for index, result in run_in_processes([*other_calls, *calls], runtime.jobs):
        if other_file is not None and index < len(other_calls):
            other_file.append(result)
        else:
            file.append(result)
            records.append(result)
            label = f"{result.arm}, repeat {result.repeat + 1}"
            runtime.observer.on_progress(task, len(records), {"accuracy": result.metrics["accuracy"]}, label)
        if runtime.stopped():
            return None
    return records


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
