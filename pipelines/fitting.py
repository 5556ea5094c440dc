"""`augment fit`: fit a generator to a source, in a RUN folder."""

from __future__ import annotations

from pathlib import Path

from augment.errors import ConfigError, OutputError, SourceError
from augment.generators.base import GeneratorConfig, Origin, Outcome, TrainingData
from augment.generators.registry import fit
from augment.generators.runs import read_metadata
from augment.markers import read_marker
from augment.runtime import Runtime
from pipelines.config.sections import DataConfig
from pipelines.experiment.loading import LoadedSource, load, unused_notes
from pipelines.experiment.time_estimate import fit_seconds


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
    If `config` sets no steps, a finished run is left as it is. Raises the errors of `read_source` and
    `registry.fit`, and `ConfigError` for unlabelled images that the generator does not learn from.
    """
    if data.unlabelled is not None and not config.uses_unlabelled:
        raise ConfigError(
            f"the generator {config.kind} with these settings does not learn from unlabelled images; set "
            "`unlabelled: 0.5` in the --config file of cgan or anchored, or leave --unlabelled out"
        )
    if not overwrite and "steps" not in config.model_fields_set:
        config = _with_steps_of(folder, config)
    loaded = load(data, runtime.observer)
    for note in (*loaded.warnings, *unused_notes(loaded, data)):
        runtime.observer.on_note(note)
    origin = Origin(loaded.name, arguments, tested=loaded.test is not None)
    seconds = fit_seconds(loaded.train, config, runtime.device) if runtime.observer.wants_estimates else None
    training = TrainingData(loaded.train, origin, loaded.unlabelled if config.uses_unlabelled else None)
    fitted = fit(training, config, folder, runtime, overwrite=overwrite, seconds=seconds)
    if fitted.outcome == Outcome.BEYOND:
        raise ConfigError(
            f"{folder} is at step {fitted.step} already: give --steps {fitted.step} or more, or --overwrite"
        )
    return fitted.outcome, loaded


def _with_steps_of(folder: Path, config: GeneratorConfig) -> GeneratorConfig:
    """Return the settings with the steps of the finished run in `folder`, if there is one."""
    try:
        marker, step = read_marker(folder), read_metadata(folder).step
    except (OutputError, SourceError):
        return config
    if marker is None or not marker.finished:
        return config
    return config.model_copy(update={"steps": step}) if "steps" in type(config).model_fields else config
