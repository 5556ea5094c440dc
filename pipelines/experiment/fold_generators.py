"""The generators of all folds, trained side by side, and their images.

A fold's folder holds `gan/`, a RUN folder, and `synthetic/`. Several folds are trained in processes of one thread each,
a stretch of steps at a time, so that progress is told, Ctrl-C is heard, and what is done is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import torch

from augment.gan.config import GanConfig
from augment.gan.training import Origin, Outcome, Progress, fit
from augment.generators.collapse import collapse_notes
from augment.generators.generated_folder import generate_folder
from augment.generators.runs import LogLine, open_run, read_log
from augment.generators.sampling import load_model
from pipelines.config.sections import GenerateConfig
from pipelines.experiment.parallel import run_in_processes
from pipelines.experiment.protocols import Fold
from pipelines.process import tune_allocator


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
    overwrite: bool,
    on_progress: Callable[[Progress], None],
    on_note: Callable[[str], None],
    stopped: Callable[[], bool],
) -> bool:
    """Train the generator of every fold; False if it was stopped.

    Each goes on where it stands if its settings and images are the same, and begins anew otherwise, or by `overwrite`.
    """
    if len(folds) == 1:
        options = {"overwrite": overwrite, "on_progress": on_progress, "on_note": on_note, "stopped": stopped}
        return _fit(shop, folds[0], **options) != Outcome.STOPPED
    for fold in folds if overwrite else ():
        with open_run(shop.of_fold(fold) / "gan", shop.config(fold), fold.train, shop.name, overwrite=True):
            pass
    steps = dict.fromkeys((fold.name for fold in folds), 0)
    unfinished = list(folds)
    while unfinished:
        ended = []
        for index, stretch in run_in_processes([(_stretch, (shop, fold)) for fold in unfinished], shop.jobs):
            name = unfinished[index].name
            for note in stretch.notes:
                on_note(f"{name}: {note}")
            if stretch.log is not None:
                steps[name] = stretch.log.step
                losses = (stretch.log.loss_d, stretch.log.loss_g, stretch.log.images_per_second)
                on_progress(Progress(sum(steps.values()), shop.gan.steps * len(folds), *losses))
            ended += [name] if stretch.outcome != Outcome.STOPPED else []
            if stopped():
                return False
        unfinished = [fold for fold in unfinished if fold.name not in ended]
    return True


class _Stretch(NamedTuple):
    """Some steps of one generator: how they ended, the last line of the log so far, and notes."""

    outcome: Outcome
    log: LogLine | None
    notes: list[str]


def _stretch(shop: Workshop, fold: Fold) -> _Stretch:
    """As many further steps of one generator as lie between two checkpoints."""
    tune_allocator()
    calls, notes = count(), list[str]()
    outcome = _fit(shop, fold, on_note=notes.append, stopped=lambda: next(calls) == shop.gan.checkpoint_every)
    return _Stretch(outcome, next(iter(read_log(shop.of_fold(fold) / "gan")[-1:]), None), notes)


def _fit(shop: Workshop, fold: Fold, **options: Any) -> Outcome:
    folder, origin = shop.of_fold(fold) / "gan", Origin(shop.name)
    return fit(fold.train, shop.config(fold), folder, origin=origin, device=shop.device, replace="anything", **options)


def generate_all(
    shop: Workshop,
    folds: Sequence[Fold],
    config: GenerateConfig,
    on_images: Callable[[int], None],
    on_note: Callable[[str], None],
) -> None:
    """The images of every fold's generator; what was there before is replaced.

    on_images: how many there are so far. on_note: a sentence on a generator whose images are all alike.
    """
    before = 0
    for fold in folds:
        folder = shop.of_fold(fold)
        model = load_model(folder / "gan", shop.device)
        counts = dict.fromkeys(model.class_names, config.per_class)
        made = generate_folder(
            model,
            counts,
            folder / "synthetic",
            "png",
            seed=config.seed,
            overwrite=True,
            on_images=lambda n, b=before: on_images(b + n),  # type: ignore[misc]
        )
        before += sum(counts.values())
        for note in collapse_notes(made.data) if made else ():
            on_note(f"{fold.name}: {note}" if fold.name else note)
