"""Arms x repeats -> records: the measurement itself, by the `holdout` protocol.

Repeat r fixes the initialisation, the order of batches and the views for every arm, so that differences are paired;
all arms take equally many optimiser steps. Tasks run in parallel processes of one torch thread each, and every record
is on disk before the next is waited for, so that an interrupted evaluation goes on where it stopped.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from joblib.externals.loky import get_reusable_executor

from augment.classical import bank_of_views
from augment.errors import ConfigError
from augment.images import LabelledImages
from augment.mixing import synthetic_share, take_by_ratio
from augment.outputs import write_text
from classifiers.metrics import confusion, per_class_recall, score
from classifiers.training import Pool, fit, predict
from pipelines import schema
from pipelines.process import return_freed_memory
from pipelines.schema import Arm, EvaluateConfig

GAN_TRAIN = Arm(name=schema.GAN_TRAIN, real=False, synthetic=True, policy="classical")  # no part of the comparison
GAN_TRAIN_REPEATS = 2


@dataclass(frozen=True)
class Materials:
    """What the arms draw from: synthetic images have the classes and the size of the real ones."""

    train: LabelledImages
    test: LabelledImages
    synthetic: LabelledImages | None


@dataclass(frozen=True)
class Task:
    """One classifier to train."""

    arm: Arm
    repeat: int


def plan(config: EvaluateConfig, materials: Materials) -> list[Task]:
    """Every task, repeat by repeat. Raises `ConfigError` if an arm needs images that are not there."""
    arms = config.resolved_arms()
    if materials.synthetic is None and any(arm.synthetic for arm in arms):
        raise ConfigError("the arms use synthetic images and there are none; give --synthetic, or only real arms")
    if any(arm.real and arm.synthetic for arm in arms) and materials.synthetic is not None:
        take_by_ratio(materials.synthetic, materials.train, config.ratio, seed=0)
    tasks = [Task(arm, repeat) for repeat in range(config.repeats) for arm in arms]
    if materials.synthetic is not None:
        gan_train = GAN_TRAIN.model_copy(update={"policy": config.policy})
        tasks += [Task(gan_train, repeat) for repeat in range(min(GAN_TRAIN_REPEATS, config.repeats))]
    return tasks


def run_experiment(
    tasks: Sequence[Task],
    materials: Materials,
    config: EvaluateConfig,
    path: Path,
    *,
    device: torch.device,
    jobs: int,
    on_record: Callable[[dict[str, Any]], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> list[dict[str, Any]] | None:
    """Run the tasks that `path` (records.jsonl) lacks, append their records, and return the records of all.

    `stopped` is asked after every record; a True returns None.
    """
    records = read_records(path)
    done = {(record["arm"], record["repeat"]) for record in records}
    missing = [task for task in tasks if (task.arm.name, task.repeat) not in done]
    with path.open("a", encoding="utf-8") as file:
        for record in _run_all(missing, materials, config, device, jobs):
            file.write(json.dumps(record) + "\n")
            file.flush()
            records.append(record)
            on_record(record)
            if stopped():
                return None
    return records


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records in records.jsonl, one of each arm and repeat.

    A line that was cut short, and what a second evaluation into the same folder did again, are dropped from the file.
    """
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    records: dict[tuple[str, int], dict[str, Any]] = {}
    for record in (json.loads(line) for line in text.splitlines() if line.endswith("}")):
        records.setdefault((record["arm"], record["repeat"]), record)
    if text != (whole := "".join(f"{json.dumps(record)}\n" for record in records.values())):
        write_text(path, whole)
    return list(records.values())


def train_arm(
    arm: Arm, materials: Materials, config: EvaluateConfig, *, seed: int, device: torch.device
) -> torch.nn.Module:
    """The classifier of one arm: pools of views in the arm's proportions, then the configured steps."""
    pools = []
    for data, share, bank_seed in _parts(arm, materials, config, seed):
        if arm.policy is None:
            views = data.images[None]
        else:
            drawn = share * config.classifier.steps * config.classifier.batch_size / len(data)  # times, each image
            count = min(config.views, math.ceil(drawn))
            views = bank_of_views(
                data, arm.policy, views=count, horizontal_flip=config.horizontal_flip, seed=bank_seed
            )
        pools.append(Pool(torch.from_numpy(views).to(device), torch.from_numpy(data.labels).to(device), share))
    return fit(pools, materials.train.num_classes, config.classifier, seed=seed, device=device)


def _parts(
    arm: Arm, materials: Materials, config: EvaluateConfig, seed: int
) -> Iterator[tuple[LabelledImages, float, int]]:
    share = synthetic_share(config.ratio) if arm.real and arm.synthetic else float(arm.synthetic)
    if arm.real:
        yield materials.train, 1 - share, seed
    if arm.synthetic:
        assert materials.synthetic is not None
        synthetic = materials.synthetic
        if arm.real:
            synthetic = take_by_ratio(synthetic, materials.train, config.ratio, seed=seed)
        yield synthetic, share, seed + 1


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
        **score(logits, labels, classes),
        "per_class_recall": per_class_recall(logits, labels, classes),
        "confusion": confusion(logits, labels, classes).tolist(),
        "seed": seed,
        "steps": config.classifier.steps,
        "batch_size": config.classifier.batch_size,
        "seconds": round(time.perf_counter() - began, 2),
    }


def repeat_seed(seed: int, repeat: int) -> int:
    """The seed of everything random in one repeat, the same for all arms."""
    return int(np.random.SeedSequence([seed, repeat]).generate_state(1)[0])


def _run_all(
    tasks: Sequence[Task], materials: Materials, config: EvaluateConfig, device: torch.device, jobs: int
) -> Iterator[dict[str, Any]]:
    if jobs == 1:
        yield from (_run_alone(task, materials, config, device) for task in tasks)
        return
    return_freed_memory()  # what training a GAN here has freed
    parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*have been cancelled")  # as they should be where it is stopped
            yield from parallel(joblib.delayed(_run_alone)(task, materials, config, device) for task in tasks)
    finally:
        get_reusable_executor().shutdown(wait=True)  # idle processes would keep 0.5 GB each for five minutes


def _run_alone(task: Task, materials: Materials, config: EvaluateConfig, device: torch.device) -> dict[str, Any]:
    with one_thread(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # joblib's shared memory
        return run_task(task, materials, config, device)


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread: processes would fight for the cores, and rounding depends on how many threads there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
