"""How long a pipeline will take and how much memory, from a probe of a second or two: `augment run --dry-run`.

A few steps of the generator and a short classifier are timed on the images themselves, on as many threads as will be
used. What the probe cannot see (other programs, a cold cache, a classifier beside another one) makes it a guess.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch

from augment.dataset.images import LabelledImages, subset_per_class
from augment.dataset.policies import bank_of_views
from augment.gan.config import GanConfig
from augment.gan.networks import Shape
from augment.gan.training import turns
from augment.gan.training_state import start
from classifiers.training import predict
from pipelines.config.sections import Arm, EvaluateConfig
from pipelines.experiment.arms import Materials, train_arm
from pipelines.experiment.parallel import one_thread
from pipelines.experiment.protocols import Fold

GAN_STEPS, CLASSIFIER_STEPS = 3, (2, 8)  # that are timed, after one that warms up
FEW = 128  # images, at the most, that views and predictions are timed on
SECONDS_AN_IMAGE = 1e-3  # generated and written: 1,400 a second were measured at 28 px
FIDELITY = 1.5  # classifiers that the figures of fidelity of a fold take about as long as


@dataclass(frozen=True)
class Load:
    """What a pipeline has to do. folds: a generator each. classifiers, images: in all."""

    folds: Sequence[Fold]
    choosing: int  # classifiers
    evaluating: int  # classifiers
    images: int


def estimate(
    load: Load, gan: GanConfig, evaluation: EvaluateConfig, device: torch.device, jobs: int
) -> dict[str, float]:
    """Seconds of each stage, by its name."""
    first, several = load.folds[0], len(load.folds) > 1
    step = gan_step_seconds(first.train, gan, device, alone=not several)
    classifier = classifier_seconds(first.train, first.test, evaluation, device)
    return by_stage(load, step * gan.steps, classifier, jobs)


def by_stage(load: Load, generator: float, classifier: float, jobs: int) -> dict[str, float]:
    """Seconds of each stage, from those of one generator and of one classifier."""
    rounds = math.ceil(len(load.folds) / jobs)  # generators side by side
    return {
        "fit": generator * rounds,
        "generate": load.images * SECONDS_AN_IMAGE,
        "choose": classifier * load.choosing / jobs,
        "evaluate": classifier * (load.evaluating + FIDELITY * len(load.folds)) / jobs,
    }


def evaluation_seconds(
    materials: Materials, config: EvaluateConfig, classifiers: int, device: torch.device, jobs: int
) -> float:
    """Seconds of an evaluation of so many classifiers."""
    return classifier_seconds(materials.train, materials.test, config, device) * (classifiers + FIDELITY) / jobs


def gan_step_seconds(train: LabelledImages, config: GanConfig, device: torch.device, *, alone: bool = True) -> float:
    """Seconds of one training step of the generator. alone: on all threads; otherwise on one."""
    with nullcontext() if alone else one_thread():
        shape = Shape(train.num_classes, train.channels, train.size, config.width, config.latent_dim)
        plain = config.model_copy(update={"fast": False})  # a graph takes longer to record than a probe may
        turn = turns(train, start(plain, shape, device), plain)
        turn(False)
        return _seconds(lambda: [turn(False) for _ in range(GAN_STEPS)], device) / GAN_STEPS


def classifier_seconds(
    train: LabelledImages, test: LabelledImages, config: EvaluateConfig, device: torch.device
) -> float:
    """Seconds of one classifier of an evaluation: its views, its steps and its predictions."""
    arm, few = Arm(name="probe", policy=config.policy), subset_per_class(train, max(FEW // train.num_classes, 1), 0)
    materials, short = Materials(few, few, None), []
    with one_thread():
        for steps in (1, *CLASSIFIER_STEPS):
            classifier = config.classifier.model_copy(update={"steps": steps})
            probe = config.model_copy(update={"classifier": classifier, "views": 1})
            short.append(_seconds(lambda p=probe: train_arm(arm, materials, p, seed=0, device=device), device))  # type: ignore[misc]
        model = train_arm(arm, materials, probe, seed=0, device=device)
        predicting = _seconds(lambda: predict(model, torch.from_numpy(np.ascontiguousarray(few.images))), device)
        options = {"views": 1, "horizontal_flip": config.horizontal_flip, "seed": 0}
        viewing = _seconds(lambda: bank_of_views(few, config.policy, **options), device)  # type: ignore[arg-type]
    step = max(short[2] - short[1], 0) / (CLASSIFIER_STEPS[1] - CLASSIFIER_STEPS[0])
    drawn = math.ceil(config.classifier.steps * config.classifier.batch_size / len(train))
    views = min(config.views, max(drawn, 1)) * len(train) / len(few)
    return step * config.classifier.steps + viewing * views + predicting * len(test) / len(few)


def peak_memory(jobs: int) -> float | None:
    """GB that this process has taken at its peak, and that worker processes will take if each takes as much."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    return own * (1 + (jobs if jobs > 1 else 0))


def in_words(seconds: float) -> str:
    """A length of time as people say it: "a few seconds", "40 seconds", "3 minutes", "2.5 hours"."""
    if seconds < 10:
        return "a few seconds"
    if seconds < 90:
        return f"{round(seconds, -1):.0f} seconds"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"


def _seconds(function: Callable[[], object], device: torch.device) -> float:
    began = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
