"""`augment fit`: fit a generator to a source, in a RUN folder."""

from __future__ import annotations

from pathlib import Path

from augment.dataset.images import LabelledImages
from augment.generators.base import GeneratorConfig, Origin, Outcome, TrainingData
from augment.generators.registry import fit
from augment.generators.runs import newest_step
from augment.runtime import Runtime
from augment.words import counted
from pipelines.config.sections import DataConfig
from pipelines.experiment.loading import LoadedSource, load, unused_notes
from pipelines.experiment.time_estimate import fit_seconds, format_duration


def fit_source(
    data: DataConfig,
    config: GeneratorConfig,
    folder: Path,
    runtime: Runtime,
    *,
    arguments: tuple[str, ...] = (),
    overwrite: bool = False,
) -> tuple[Outcome, LoadedSource]:
    """Fit a generator to the training images of a source. Returns the outcome and the loaded images.

    arguments: command-line arguments that read the same source, for the next command that `augment generate` prints.
    Raises the errors of `read_source` and `registry.fit`.
    """
    loaded = load(data)
    for note in (*loaded.warnings, *unused_notes(loaded, data)):
        runtime.observer.on_note(note)
    origin = Origin(loaded.name, arguments, tested=loaded.test is not None)
    begun, seconds = 0 if overwrite else newest_step(folder), None
    if runtime.observer.wants_estimates and begun < config.total:
        seconds = fit_seconds(loaded.train, config, runtime.device)
        runtime.observer.on_note(_what_it_does(loaded.train, config, begun, seconds))
    training = TrainingData(loaded.train, origin)
    return fit(training, config, folder, runtime, overwrite=overwrite, seconds=seconds).outcome, loaded


def _what_it_does(train: LabelledImages, config: GeneratorConfig, begun: int, seconds: float) -> str:
    """Return a sentence on the work ahead. begun: steps that are done. seconds: of all steps."""
    images = f"{counted(len(train), 'image')} of {counted(train.num_classes, 'class')} at {train.size} px"
    steps = f"from step {begun:,} to {config.total:,}" if begun else counted(config.total, "step")
    return f"{config.kind}: {steps} on {images}, about {format_duration(seconds * (1 - begun / config.total))}"
