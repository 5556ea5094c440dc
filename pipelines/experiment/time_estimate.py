"""Estimate the time and memory that a pipeline will take, from a probe of a second or two.

The probe measures a few steps of the generator and a short training of a classifier on the actual images, with the
number of threads that will be used. It is only an estimate, since the probe cannot account for other programs, a cold
cache, or several classifiers that run in parallel.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Literal, NamedTuple, TypeVar, cast

import numpy as np
import torch

from augment.dataset.images import LabelledImages, subset_per_class
from augment.dataset.policies import bank_of_views
from augment.devices import seconds_of
from augment.generators.base import GeneratorConfig, TrainingData
from augment.generators.registry import GENERATORS
from classifiers.features import extract, load_extractor
from classifiers.pools import Pool
from classifiers.training import predict
from pipelines.config.arm_section import Arm
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.arm_pools import bytes_of_views, views_needed
from pipelines.experiment.arms import train_arm
from pipelines.experiment.cross_fitting import CROSS_FIT_PARTS
from pipelines.experiment.folds import Fold
from pipelines.experiment.operating_point import PARTS
from pipelines.experiment.parallel import one_thread

T = TypeVar("T")
TrainedLearner = Literal["network", "finetune"]  # those with steps
# steps of the two timed trainings, which follow a warm-up of one step
PROBE_STEPS: dict[TrainedLearner, tuple[int, int]] = {"network": (2, 8), "finetune": (1, 3)}
SECTIONS_WITH_STEPS = ("classifier", "finetune")  # of an evaluation
MAX_PROBE_IMAGES = 128  # that trainings and predictions are timed on
MAX_VIEW_IMAGES = 512  # that views are timed on: policies transform images in groups, which are larger for more images
MAX_FEATURE_IMAGES = 32  # that pretrained features are timed on
SECONDS_OF_LINEAR_FIT = 1e-3  # per image; measured on one core for 200 to 2000 images of 10 classes and 1280 features
SECONDS_PER_IMAGE = 1e-3  # to generate and write one; 1,400 images a second were measured at 28 px
MEASURING = "measure speeds"  # name of work whose progress is reported
CLASSIFIERS_PER_FIDELITY = 1.5  # the fidelity metrics of a fold take about as long as this many classifiers


class ClassifierTime(NamedTuple):
    """The seconds of one classifier: of a training step, of a view of one image, and of the prediction of one image."""

    step: float
    view: float = 0.0
    prediction: float = 0.0


MeasurementCache = dict[Hashable, tuple[Any, int | None]]  # a value, and `peak_process_memory()` after it was measured


@dataclass(frozen=True)
class Probe:
    """Estimates durations and memory by measurements on the images of a fold. Each measurement is done only once.

    evaluation: its arms, steps and operating points; the measurements do not depend on them. measured: what was
    measured so far, which may come from the probe of another plan. used: the keys of `measured` that the estimates of
    this probe needed.
    """

    fold: Fold
    evaluation: EvaluateConfig
    device: torch.device
    jobs: int
    measured: MeasurementCache = field(default_factory=dict)
    used: set[Hashable] = field(default_factory=set)

    def _once(self, key: Hashable, measure: Callable[[], T]) -> T:
        if key not in self.measured:
            self.measured[key] = measure(), peak_process_memory()
        self.used.add(key)
        return cast(T, self.measured[key][0])

    def _time_of(self, learner: TrainedLearner) -> ClassifierTime:
        return self._once(learner, lambda: classifier_time(learner, self.fold, self.evaluation, self.device))

    def _extraction(self) -> float:
        return self._once("features", lambda: extraction_seconds(self.fold, self.evaluation, self.device))

    def _seconds_of(self, learner: TrainedLearner) -> float:
        """Estimate the seconds of a classifier with the steps of the evaluation, without its operating point."""
        time, train, arm = self._time_of(learner), self.fold.train, _real_arm(learner, self.evaluation)
        settings = self.evaluation.classifier_of(arm)
        pool = Pool(torch.from_numpy(train.images[None]), torch.from_numpy(train.labels))
        views = views_needed(pool, self.evaluation.model_copy(update={"classifier": settings}), 1.0) * len(train)
        start = self._seconds_to_start() if learner == "finetune" else 0.0
        sharing = max(self._trainings(learner) / self.jobs, 1.0)  # classifiers of a process that have the same views
        seconds = time.step * settings.steps + time.prediction * len(self.fold.test)
        return start + seconds + time.view * views / sharing

    def _seconds_to_start(self) -> float:
        """Estimate the seconds of the linear classifier that fine-tuning starts from; arms may share its features."""
        shared = any(arm.learner == "features" for arm in self.evaluation.arms)
        return len(self.fold.train) * (SECONDS_OF_LINEAR_FIT + (0.0 if shared else self._extraction()))

    def _trainings(self, learner: str) -> int:
        """Return how many classifiers of a learner a repeat trains."""
        return sum(_trainings_of(arm) for arm in self.evaluation.resolved_arms() if arm.learner == learner)

    def _seconds_of_feed(self, arm: Arm) -> float:
        """Estimate the seconds per repeat that the networks of an arm wait for generated images."""
        if arm.feed is None or arm.learner == "features":
            return 0.0
        settings, ratio = self.evaluation.classifier_of(arm), float(arm.mix(self.evaluation.ratio)["ratio"])
        images = settings.steps * settings.batch_size * ratio / (1 + ratio)
        each = self._time_of(arm.learner).view + (SECONDS_PER_IMAGE if arm.needs_generator else 0.0)
        return _trainings_of(arm) * images * each

    @cached_property
    def _seconds_per_classifier(self) -> float:
        """The mean over the arms of the evaluation."""
        arms, on_features = self.evaluation.resolved_arms(), self._trainings("features")
        seconds = 0.0
        for learner in PROBE_STEPS:
            if count := self._trainings(learner):
                seconds += self._seconds_of(learner) * count
        if on_features:
            seconds += on_features * linear_seconds(self.fold, self.evaluation, self._extraction())
        return (seconds + sum(map(self._seconds_of_feed, arms))) / len(arms)

    def seconds_to_fit(self, config: GeneratorConfig, generators: int) -> float:
        """Estimate the seconds to fit generators: one alone uses all threads, several in parallel use one each."""
        key = ("fit", config.model_dump_json(), generators == 1)
        with nullcontext() if generators == 1 else one_thread():
            seconds = self._once(key, lambda: fit_seconds(self.fold.train, config, self.device))
        return seconds * math.ceil(generators / self.jobs)

    def seconds_to_evaluate(self, classifiers: int, *, fidelity_folds: int = 0, cross_fitted_folds: int = 0) -> float:
        """Estimate the seconds to train and test classifiers, to measure the fidelity of folds, and to cross-fit."""
        networks = CLASSIFIERS_PER_FIDELITY * fidelity_folds + CROSS_FIT_PARTS * cross_fitted_folds
        others = self._seconds_of("network") * networks if networks else 0.0
        return (self._seconds_per_classifier * classifiers + others) / self.jobs

    def with_evaluation(self, evaluation: EvaluateConfig) -> Probe:
        """Return this probe for other arms, steps or operating points. What was measured is not measured again."""
        return replace(self, evaluation=evaluation)

    def memory(self, arms: Sequence[Arm], generated: int) -> float | None:
        """Estimate the peak memory of a plan in GB, above rather than below; None where it is not known.

        It is the peak of this process up to the last measurement that the estimates needed, for this process and as
        much for each worker process, and beside it the views of the arm with the most. generated: the number of stored
        synthetic images of a fold.
        """
        peaks = [peak for _, peak in (self.measured[key] for key in self.used) if peak is not None]
        if not peaks:
            return None
        views = max((bytes_of_views(arm, self.fold, self.evaluation, generated) for arm in arms), default=0)
        return (max(peaks) * (1 + (self.jobs if self.jobs > 1 else 0)) + views * self.jobs) / 1e9


def _trainings_of(arm: Arm) -> int:
    """Return how many classifiers an arm trains in a repeat; also those for its operating point and as teachers."""
    return (1 + PARTS * arm.is_cross_fitted) * (2 if arm.unlabelled else 1)


def fit_seconds(train: LabelledImages, config: GeneratorConfig, device: torch.device) -> float:
    """Estimate the seconds to fit one generator."""
    probe = GENERATORS[config.kind].estimate_seconds
    return 0.0 if probe is None else probe(TrainingData(train), config, device)


def _real_arm(learner: TrainedLearner, config: EvaluateConfig) -> Arm:
    return Arm(name="probe", policy=config.policy, learner=learner)


def classifier_time(
    learner: TrainedLearner, full_fold: Fold, config: EvaluateConfig, device: torch.device
) -> ClassifierTime:
    """Estimate the time of one network of an evaluation: of a training step, a view and a prediction."""
    train, arm, lengths = full_fold.train, _real_arm(learner, config), PROBE_STEPS[learner]
    subset = subset_per_class(train, max(MAX_PROBE_IMAGES // train.num_classes, 1), 0)
    fold, trainings, models = Fold(subset, subset), [], []  # trainings: seconds of each
    with one_thread():
        for steps in (1, *lengths):
            parts = {name: getattr(config, name).model_copy(update={"steps": steps}) for name in SECTIONS_WITH_STEPS}
            short = config.model_copy(update={**parts, "views": 1})
            trainings.append(
                seconds_of(lambda c=short: models.append(train_arm(arm, fold, c, seed=0, device=device)), device)  # type: ignore[misc]
            )
        prediction = seconds_of(lambda: predict(models[-1], subset.images), device)
        more = train.take(np.arange(min(len(train), MAX_VIEW_IMAGES)))
        bank = partial(bank_of_views, more, config.policy, views=1, horizontal_flip=config.horizontal_flip, seed=0)
        view = seconds_of(bank, device)
    return ClassifierTime(seconds_of_step(trainings[1:], lengths), view / len(more), prediction / len(subset))


def seconds_of_step(trainings: Sequence[float], lengths: tuple[int, int]) -> float:
    """Return the seconds per step: the difference of a shorter and a longer training, per step of the difference.

    If the shorter one took at least as long, because other programs slowed it down, it is the mean over the longer one.
    """
    (shorter, longer), (few, many) = trainings, lengths
    return (longer - shorter) / (many - few) if longer > shorter else longer / many


def extraction_seconds(fold: Fold, config: EvaluateConfig, device: torch.device) -> float:
    """Estimate the seconds to compute the pretrained features of one image."""
    subset = subset_per_class(fold.train, max(MAX_FEATURE_IMAGES // fold.train.num_classes, 1), 0)
    with one_thread():
        extractor = load_extractor(config.features).to(device)
        extract(extractor, subset.images, device)  # a warm-up
        return seconds_of(lambda: extract(extractor, subset.images, device), device) / len(subset)


def linear_seconds(fold: Fold, config: EvaluateConfig, extraction: float) -> float:
    """Estimate the seconds of one linear classifier, with its part of the features that arms and repeats share.

    extraction: the seconds to compute the features of one image.
    """
    arms = [arm for arm in config.arms if arm.learner == "features"]
    most = max((arm.ratio_or(config.ratio) for arm in arms if arm.synthetic), default=0.0)  # per real image
    stored = max((arm.ratio_or(config.ratio) for arm in arms if arm.uses_stored_images), default=0.0)
    views, learning = 2 if config.horizontal_flip else 1, sum(arm.unlabelled > 0 for arm in arms)
    images, unlabelled = len(fold.train) * views, len(fold.unlabelled or ()) * views if learning else 0
    learnt, drawn = images * (1 + most), images * sum(arm.ratio_or(config.ratio) for arm in arms if arm.feed)
    shared = (len(fold.test) + unlabelled) / config.repeats
    extracted = images * (1 + stored) / max(len(fold.repeats), 1) + shared + drawn  # in a repeat, by all arms
    trainings = len(arms) + learning  # an arm with unlabelled images fits a first classifier without them
    return extraction * extracted / trainings + SECONDS_OF_LINEAR_FIT * (learnt + unlabelled * learning / trainings)


def peak_process_memory() -> int | None:
    """Return the peak memory of this process so far, in bytes; None on Windows, where it is not known."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes per unit of ru_maxrss
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
