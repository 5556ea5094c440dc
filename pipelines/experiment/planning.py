"""Which classifiers an evaluation trains: one for each fold, arm and repeat, and a few beside the comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines import record_names
from pipelines.config.arm_section import Arm
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.arms import arms_of, check_arms, check_pretrained_weights
from pipelines.experiment.folds import Fold, of_first_size

# This arm gives the fidelity metric GAN-train and takes no part in the comparison.
GAN_TRAIN = Arm(name=record_names.GAN_TRAIN, real=False, synthetic=True, policy="classical")
GAN_TRAIN_REPEATS = 2


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
    """List the trainings that the arms need, repeat by repeat; those on half of the images come last.

    Raises the errors of `check_arms` and `check_pretrained_weights`.
    """
    check_pretrained_weights(config)
    trainings = []
    for fold in folds:
        check_arms(fold, config)
        arms = arms_of(fold, config)
        trainings += [Training(arm, repeat, fold.name) for repeat in fold.repeats for arm in arms]
    return trainings + _trainings_on_half(config, folds)


def gan_train_trainings(config: EvaluateConfig, folds: Sequence[Fold]) -> list[Training]:
    """List the trainings for the metric GAN-train on stored images; for a learning curve, at its first size."""
    arm = GAN_TRAIN.model_copy(update={"policy": config.policy})
    return [
        Training(arm, repeat, fold.name)
        for fold in of_first_size(folds)
        if fold.synthetic is not None
        for repeat in fold.repeats[:GAN_TRAIN_REPEATS]
    ]


def _trainings_on_half(config: EvaluateConfig, folds: Sequence[Fold]) -> list[Training]:
    """List the trainings on half of the images of arms with a forecast; for a learning curve, at its first size."""
    return [
        Training(arm.model_copy(update={"name": record_names.name_of_half(arm.name)}), repeat, fold.name, on_half=True)
        for arm in config.resolved_arms()
        if arm.forecast
        for fold in of_first_size(folds)
        for repeat in fold.repeats
    ]


def count_trainings(config: EvaluateConfig, folds: Sequence[Fold]) -> int:
    """Return how many trainings there will be when all folds have the synthetic images that the arms need."""
    measured = of_first_size(folds) if config.needs_generator else []
    gan_trainings = sum(min(GAN_TRAIN_REPEATS, len(fold.repeats)) for fold in measured)
    of_arms = sum(len(config.arms) * len(fold.repeats) for fold in folds)
    return of_arms + len(_trainings_on_half(config, folds)) + gan_trainings
