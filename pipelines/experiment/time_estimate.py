"""How long a pipeline will take and how much memory, from a probe of a second or two: `augment run --dry-run`.

A few steps of the generator and a short classifier are timed on the images themselves, on as many threads as will be
used. What the probe cannot see (other programs, a cold cache, a classifier beside another one) makes it a guess.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from augment.dataset.images import LabelledImages, subset_per_class
from augment.dataset.policies import bank_of_views
from augment.generators.base import GeneratorConfig, TrainingData
from augment.generators.registry import GENERATORS
from classifiers.training import predict
from pipelines.config.sections import Arm, EvaluateConfig
from pipelines.experiment.arms import train_arm
from pipelines.experiment.folds import Fold
from pipelines.experiment.parallel import one_thread

CLASSIFIER_STEPS = (2, 8)  # that are timed, after one that warms up
FEW = 128  # images, at the most, that views and predictions are timed on
SECONDS_AN_IMAGE = 1e-3  # generated and written: 1,400 a second were measured at 28 px
FIDELITY = 1.5  # classifiers that the figures of fidelity of a fold take about as long as


@dataclass(frozen=True)
class Probe:
    """How long things take with the images of a fold, measured when it is asked for and then remembered."""

    fold: Fold
    evaluation: EvaluateConfig
    device: torch.device
    jobs: int

    @cached_property
    def _classifier(self) -> float:
        return classifier_seconds(self.fold.train, self.fold.test, self.evaluation, self.device)

    def fitting(self, config: GeneratorConfig, generators: int) -> float:
        """Seconds of so many fits: one alone on all threads, several side by side on one thread each."""
        if generators == 1:
            return fit_seconds(self.fold.train, config, self.device)
        with one_thread():
            return fit_seconds(self.fold.train, config, self.device) * math.ceil(generators / self.jobs)

    def classifying(self, classifiers: int, fidelity: int = 0) -> float:
        """Seconds of so many classifiers and of the figures of fidelity of so many folds."""
        return self._classifier * (classifiers + FIDELITY * fidelity) / self.jobs


def fit_seconds(train: LabelledImages, config: GeneratorConfig, device: torch.device) -> float:
    """Seconds of one fit of a generator."""
    probe = GENERATORS[config.kind].seconds
    return 0.0 if probe is None else probe(TrainingData(train), config, device)


def classifier_seconds(
    train: LabelledImages, test: LabelledImages, config: EvaluateConfig, device: torch.device
) -> float:
    """Seconds of one classifier of an evaluation: its views, its steps and its predictions."""
    arm, few = Arm(name="probe", policy=config.policy), subset_per_class(train, max(FEW // train.num_classes, 1), 0)
    fold, short = Fold(few, few), []
    with one_thread():
        for steps in (1, *CLASSIFIER_STEPS):
            classifier = config.classifier.model_copy(update={"steps": steps})
            probe = config.model_copy(update={"classifier": classifier, "views": 1})
            short.append(_seconds(lambda p=probe: train_arm(arm, fold, p, seed=0, device=device), device))  # type: ignore[misc]
        model = train_arm(arm, fold, probe, seed=0, device=device)
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
