"""Folds x arms x repeats -> records: the measurement itself.

Repeat r fixes the initialisation, the order of batches and the views for every arm, so that differences are paired;
all arms take equally many optimiser steps. Tasks run in parallel processes of one torch thread each, and every record
is on disk before the next is waited for, so that an interrupted evaluation goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from augment.output_folders import OutputFolder
from classifiers.metrics import confusion, per_class_recall, score
from classifiers.training import predict
from pipelines.config import sections
from pipelines.config.sections import Arm, EvaluateConfig
from pipelines.experiment.arms import Materials, train_arm
from pipelines.experiment.parallel import Call, run_in_processes
from pipelines.experiment.record_files import RecordFile
from pipelines.experiment.records import encode

GAN_TRAIN = Arm(name=sections.GAN_TRAIN, real=False, synthetic=True, policy="classical")  # no part of the comparison
GAN_TRAIN_REPEATS = 2
RECORDS = "records.jsonl"


class RecordLine(BaseModel):
    """The fields of a record: one classifier, trained in one arm of one repeat."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    repeat: int
    arm: str
    fold: str
    size: int | None
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    log_loss: float
    expected_calibration_error: float
    per_class_recall: list[float | None]
    confusion: list[list[int]]
    predicted: str
    mix: dict[str, Any]
    seed: int
    steps: int
    batch_size: int
    seconds: float


@dataclass(frozen=True)
class Task:
    """One classifier to train."""

    arm: Arm
    repeat: int
    fold: str = ""

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells its record from all others."""
        return self.fold, self.arm.name, self.repeat


@dataclass(frozen=True)
class Watch:
    """What a person sees of it, and how it is stopped: `stopped` is asked after every classifier."""

    on_record: Callable[[dict[str, Any]], None] = lambda _: None
    stopped: Callable[[], bool] = lambda: False


UNWATCHED = Watch()


def plan(config: EvaluateConfig, folds: Sequence[Materials]) -> list[Task]:
    """Every task, repeat by repeat. Raises `ConfigError` if an arm needs images or scores that are not there."""
    tasks = []
    for materials in folds:
        materials.check(config)
        arms = materials.arms(config)
        tasks += [Task(arm, repeat, materials.fold) for repeat in _repeats(materials, config) for arm in arms]
    gan_train = GAN_TRAIN.model_copy(update={"policy": config.policy})
    for materials in folds:
        if materials.synthetic is not None:
            few = _repeats(materials, config)[:GAN_TRAIN_REPEATS]
            tasks += [Task(gan_train, repeat, materials.fold) for repeat in few]
    return tasks


def _repeats(materials: Materials, config: EvaluateConfig) -> Sequence[int]:
    return range(config.repeats) if materials.repeats is None else materials.repeats


def run_experiment(
    tasks: Sequence[Task],
    folds: Sequence[Materials],
    config: EvaluateConfig,
    file: RecordFile,
    *,
    device: torch.device,
    jobs: int,
    beside: Sequence[Call[Any]] = (),
    watch: Watch = UNWATCHED,
) -> tuple[list[dict[str, Any]], list[Any]] | None:
    """Run the tasks that `file` lacks, append their records, and return the records of all.

    Calls given as `beside` run in the same processes, the first of all; what they return comes second. Stopped by
    `watch`, it returns None.
    """
    records = file.read()
    done = {_key(record) for record in records}
    missing = [task for task in tasks if task.key not in done]
    by_name = {materials.fold: materials for materials in folds}
    calls: list[Call[Any]] = [(run_task, (task, by_name[task.fold], config, device)) for task in missing]
    others: dict[int, Any] = {}
    for index, result in run_in_processes([*beside, *calls], jobs):
        if index < len(beside):
            others[index] = result
            continue
        file.append(result)
        records.append(result)
        watch.on_record(result)
        if watch.stopped():
            return None
    return records, [others[index] for index in range(len(beside))]


def record_file(output: OutputFolder) -> RecordFile:
    """records.jsonl in `output`, a record for each fold, arm and repeat."""
    return RecordFile(output, RECORDS, RecordLine, _key)


def _key(record: Mapping[str, Any]) -> tuple[str, str, int]:
    return record["fold"], record["arm"], record["repeat"]


def run_task(task: Task, materials: Materials, config: EvaluateConfig, device: torch.device) -> dict[str, Any]:
    """Train and test one classifier: its line of records.jsonl."""
    began = time.perf_counter()
    seed = repeat_seed(config.seed, task.repeat)
    model = train_arm(task.arm, materials, config, seed=seed, device=device)
    labels, classes = materials.test.labels, materials.test.num_classes
    logits = predict(model, torch.from_numpy(np.ascontiguousarray(materials.test.images)))
    return {
        "repeat": task.repeat,
        "arm": task.arm.name,
        "fold": task.fold,
        "size": materials.size,
        **score(logits, labels, classes),
        "per_class_recall": per_class_recall(logits, labels, classes),
        "confusion": confusion(logits, labels, classes).tolist(),
        "predicted": encode(logits.argmax(1).numpy()),
        "mix": dict(materials.mix.get(task.arm.name, {})),
        "seed": seed,
        "steps": config.classifier.steps,
        "batch_size": config.classifier.batch_size,
        "seconds": round(time.perf_counter() - began, 2),
    }


def repeat_seed(seed: int, repeat: int) -> int:
    """The seed of everything random in one repeat, the same for all arms."""
    return int(np.random.SeedSequence([seed, repeat]).generate_state(1)[0])
