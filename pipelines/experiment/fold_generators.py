"""Fit the generators of all folds in parallel, and generate their images.

A fold's folder holds `gan/`, which is a RUN folder, and `synthetic/`. Several generators are fitted in processes of one
thread each. The main process reads their logs to report progress, and tells the processes when to stop. Each of them
then saves a checkpoint, from which the next call continues.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from augment.errors import OutputError
from augment.generators.base import Fitted, GeneratorConfig, Origin, Outcome, TrainingData
from augment.generators.collapse import collapse_notes
from augment.generators.generated_folder import generate_folder
from augment.generators.registry import fit, load_model
from augment.generators.runs import LOG, LogLine, read_log, run_identity
from augment.markers import read_marker
from augment.runtime import Observer, Runtime, Task
from augment.seeds import derive_seed
from pipelines.config.sections import GenerateConfig
from pipelines.experiment.folds import Fold
from pipelines.experiment.parallel import run_in_processes
from pipelines.process import tune_allocator

POLL_SECONDS = 0.5  # between two reads of the logs that the other processes write


@dataclass(frozen=True)
class FoldGenerators:
    """The folders and the settings of the generators of a pipeline's folds."""

    folder: Path  # of the pipeline
    source: str  # the name of the source
    config: GeneratorConfig

    def folder_of(self, fold: Fold) -> Path:
        """Return the folder that holds `gan/` and `synthetic/` of a fold."""
        return self.folder / "folds" / fold.name if fold.name else self.folder

    def data_of(self, fold: Fold) -> TrainingData:
        """Return the images that the generator of a fold is fitted to."""
        unlabelled = fold.unlabelled if self.config.uses_unlabelled else None
        return TrainingData(fold.train, Origin(self.source), unlabelled)

    def config_of(self, fold: Fold) -> GeneratorConfig:
        """Return the settings with a seed that is derived for the fold."""
        return self.config.model_copy(update={"seed": derive_seed(self.config.seed, "generator", *fold.numbers)})


def fit_all(
    generators: FoldGenerators,
    folds: Sequence[Fold],
    runtime: Runtime,
    *,
    overwrite: bool = False,
    seconds: float | None = None,
) -> bool:
    """Fit the generator of every fold. Returns False if it was stopped.

    A generator with the same settings and images continues from its last checkpoint; with other ones, with fewer steps
    than it has, or with `overwrite`, it starts from scratch. seconds: the expected total time.
    """
    if len(folds) == 1:
        fitted = _fit(generators, folds[0], runtime, overwrite=overwrite, seconds=seconds)
        return fitted.outcome != Outcome.STOPPED
    settings = generators.config.model_dump(mode="json")
    task = Task("fit", generators.config.total * len(folds), seconds, settings)
    runtime.observer.on_start(task)
    with TemporaryDirectory() as folder:
        stop_file = Path(folder) / "stop"
        calls = [(_fit_in_worker, (generators, fold, runtime.device, overwrite, stop_file)) for fold in folds]
        logs = _Logs(generators, folds, overwrite)
        with _report_progress(logs, runtime, task, stop_file):
            results = sorted(run_in_processes(calls, runtime.jobs))
    for index, (_, notes) in results:
        for note in notes:
            runtime.observer.on_note(f"{folds[index].name}: {note}")
    if any(fitted.outcome == Outcome.STOPPED for _, (fitted, _) in results):
        return False
    runtime.observer.on_progress(task, task.total, logs.losses())
    runtime.observer.on_end(task, logs.losses())
    return True


class _NoteCollector(Observer):
    """An observer that keeps the notes on a fit in a worker process, so that they can be returned."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def on_note(self, sentence: str) -> None:
        """Keep the sentence."""
        self.sentences.append(sentence)


def _fit_in_worker(
    generators: FoldGenerators, fold: Fold, device: torch.device, overwrite: bool, stop_file: Path
) -> tuple[Fitted, list[str]]:
    """Fit one generator until it is finished or `stop_file` exists. Returns the outcome and the notes on it."""
    if stop_file.exists():
        return Fitted(Outcome.STOPPED, 0), []
    tune_allocator()
    notes = _NoteCollector()
    runtime = Runtime(device, stopped=stop_file.exists, observer=notes)
    return _fit(generators, fold, runtime, overwrite=overwrite), notes.sentences


def _fit(
    generators: FoldGenerators, fold: Fold, runtime: Runtime, *, overwrite: bool, seconds: float | None = None
) -> Fitted:
    """Fit one generator. One that an earlier call has trained for more steps than there are now is fitted again."""
    data, path, config = generators.data_of(fold), generators.folder_of(fold) / "gan", generators.config_of(fold)
    fitted = fit(data, config, path, runtime, overwrite=overwrite, replace="anything", seconds=seconds)
    if fitted.step <= config.total:
        return fitted
    return fit(data, config, path, runtime, overwrite=True, replace="anything", seconds=seconds)


class _Logs:
    """The logs of the runs of all folds. A log of other settings, or one to be overwritten, is treated as empty."""

    def __init__(self, generators: FoldGenerators, folds: Sequence[Fold], overwrite: bool) -> None:
        self.total = generators.config.total
        self.runs = {
            generators.folder_of(fold) / "gan": run_identity(generators.config_of(fold), data.images, data.unlabelled)
            for fold, data in ((fold, generators.data_of(fold)) for fold in folds)
        }
        self.overwritten = {run: _modified_at(run / LOG) for run in self.runs} if overwrite else {}

    def last_lines(self) -> list[LogLine]:
        """Return the last line of each log that has one."""
        return [log[-1] for run in self.runs if self._is_current(run) and (log := read_log(run))]

    def losses(self) -> dict[str, float]:
        """Return the losses of the run with the most steps, of those that still train if there are any."""
        lines = self.last_lines()
        training = [line for line in lines if line.step < self.total]
        return max(training or lines, key=lambda line: line.step, default=LogLine(step=0)).losses

    def _is_current(self, run: Path) -> bool:
        try:
            marker = read_marker(run)
        except OutputError:
            return False  # the worker process raises the error
        if marker is None or LOG in marker.replaced or self.runs[run].differences(marker.identity):
            return False
        return run not in self.overwritten or self.overwritten[run] != _modified_at(run / LOG)


def _modified_at(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None


@contextmanager
def _report_progress(logs: _Logs, runtime: Runtime, task: Task, stop_file: Path) -> Iterator[None]:
    """Report the progress of all folds from their logs, and create `stop_file` once the runtime is stopped."""
    finished = threading.Event()

    def poll() -> None:
        reported = 0
        while not finished.wait(POLL_SECONDS):
            if runtime.stopped():
                stop_file.touch()
            done = sum(min(line.step, logs.total) for line in logs.last_lines())
            if reported < done < task.total:  # the total is reported once every process has ended
                runtime.observer.on_progress(task, done, logs.losses())
                reported = done

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()


def generate_all(generators: FoldGenerators, folds: Sequence[Fold], config: GenerateConfig, runtime: Runtime) -> None:
    """Generate the images of every fold, and replace those that exist."""
    task = Task("generate", config.per_class * folds[0].train.num_classes * len(folds))
    runtime.observer.on_start(task)
    generated = 0
    for fold in folds:
        folder = generators.folder_of(fold)
        model = load_model(folder / "gan", runtime.device)
        counts = dict.fromkeys(model.metadata.classes, config.per_class)
        observer = _OffsetProgress(runtime.observer, task, generated)
        path, seed = folder / "synthetic", derive_seed(config.seed, "synthetic images", *fold.numbers)
        synthetic = generate_folder(model, counts, path, "png", seed=seed, overwrite=True, observer=observer)
        generated += sum(counts.values())
        for note in collapse_notes(synthetic.data) if synthetic else ():
            runtime.observer.on_note(f"{fold.name}: {note}" if fold.name else note)
    runtime.observer.on_end(task, {})


@dataclass(frozen=True)
class _OffsetProgress(Observer):
    """Reports the progress of one part as progress of the whole task. offset: what the parts before have done."""

    observer: Observer
    task: Task
    offset: int

    def on_progress(self, task: Task, done: int, metrics: Mapping[str, float], label: str = "") -> None:
        """Report the progress of the whole task."""
        self.observer.on_progress(self.task, self.offset + done, metrics, label)
