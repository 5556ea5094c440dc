"""The generators of all folds, trained side by side, and their images.

A fold's folder holds `gan/`, a RUN folder, and `synthetic/`. Several folds are trained in processes of one thread each,
a stretch of steps at a time, so that progress is told, Ctrl-C is heard, and what is done is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import torch

from augment.config import GanConfig
from augment.runs import Run, open_run
from augment.sampling import generate, load_model
from augment.synthesis import write_images
from augment.training import Outcome, Progress, fit
from pipelines.definition import GenerateConfig
from pipelines.parallel import run_in_processes
from pipelines.process import tune_allocator
from pipelines.protocols import Fold

TOLD = ("loss_d", "loss_g", "images_per_second")


@dataclass(frozen=True)
class Workshop:
    """Where the generators of a pipeline are made, and of what."""

    folder: Path
    name: str  # of the source
    gan: GanConfig
    device: torch.device
    jobs: int

    def of_fold(self, fold: Fold) -> Path:
        """The folder that holds a fold's gan/ and synthetic/."""
        return self.folder / "folds" / fold.name if fold.name else self.folder

    def config(self, fold: Fold) -> GanConfig:
        """Every fold has a generator seed of its own."""
        return self.gan.model_copy(update={"seed": self.gan.seed + fold.number})


def fit_all(
    shop: Workshop,
    folds: Sequence[Fold],
    *,
    afresh: bool,
    on_progress: Callable[[Progress], None],
    stopped: Callable[[], bool],
) -> bool:
    """Train the generator of every fold, going on where each stands, `afresh` from nothing; False if it was stopped."""
    if len(folds) == 1:
        return _fit(shop, folds[0], afresh, on_progress, stopped) != Outcome.STOPPED
    for fold in folds if afresh else ():
        open_run(shop.of_fold(fold) / "gan", shop.config(fold), fold.train, shop.name, overwrite=True)
    steps = dict.fromkeys((fold.name for fold in folds), 0)
    unfinished = list(folds)
    while unfinished:
        ended = []
        for place, (outcome, log) in run_in_processes([(_stretch, (shop, fold)) for fold in unfinished], shop.jobs):
            name = unfinished[place].name
            steps[name] = int(log["step"])
            on_progress(Progress(sum(steps.values()), shop.gan.steps * len(folds), *(log[key] for key in TOLD)))
            ended += [name] if outcome != Outcome.STOPPED else []
            if stopped():
                return False
        unfinished = [fold for fold in unfinished if fold.name not in ended]
    return True


def _stretch(shop: Workshop, fold: Fold) -> tuple[Outcome, dict[str, float]]:
    """As many further steps of one generator as lie between two checkpoints; the last line of its log."""
    tune_allocator()
    asked = count()
    outcome = _fit(shop, fold, False, lambda _: None, lambda: next(asked) == shop.gan.checkpoint_every)
    return outcome, Run(shop.of_fold(fold) / "gan").read_log()[-1]


def _fit(
    shop: Workshop, fold: Fold, afresh: bool, on_progress: Callable[[Progress], None], stopped: Callable[[], bool]
) -> Outcome:
    return fit(
        fold.train,
        shop.config(fold),
        shop.of_fold(fold) / "gan",
        name=shop.name,
        device=shop.device,
        overwrite=afresh,
        on_progress=on_progress,
        stopped=stopped,
    )


def generate_all(shop: Workshop, folds: Sequence[Fold], config: GenerateConfig) -> None:
    """The images of every fold's generator; what was there before is replaced."""
    for fold in folds:
        folder = shop.of_fold(fold)
        model = load_model(folder / "gan", shop.device)
        made = generate(model, dict.fromkeys(model.class_names, config.per_class), seed=config.seed)
        write_images(made, folder / "synthetic", "png", overwrite=True)  # within a folder that is ours
