"""`augment fit`: from a source to a fitted generator in a RUN folder."""

from __future__ import annotations

from pathlib import Path

from augment.generators.base import GeneratorConfig, Origin, Outcome, TrainingData
from augment.generators.registry import fit
from augment.runtime import Runtime
from pipelines.config.sections import DataConfig
from pipelines.experiment.loading import Loaded, load, used_notes
from pipelines.experiment.time_estimate import fit_seconds


def fit_source(
    data: DataConfig,
    config: GeneratorConfig,
    folder: Path,
    runtime: Runtime,
    *,
    arguments: tuple[str, ...] = (),
    overwrite: bool = False,
) -> tuple[Outcome, Loaded]:
    """Fit a generator to the training images of a source; how that ended, and the images.

    arguments: of a command line that read the source again, for the next command that `augment generate` prints. Raises
    what `read_source` and `registry.fit` raise.
    """
    loaded = load(data)
    for note in (*loaded.warnings, *used_notes(loaded, data)):
        runtime.observer.on_note(note)
    origin = Origin(loaded.name, arguments, tested=loaded.test is not None)
    seconds = fit_seconds(loaded.train, config, runtime.device) if runtime.observer.wants_estimates else None
    training = TrainingData(loaded.train, origin)
    return fit(training, config, folder, runtime, overwrite=overwrite, seconds=seconds).outcome, loaded
