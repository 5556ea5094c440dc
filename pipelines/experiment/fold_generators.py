"""The generators of all folds, fitted side by side, and their images.

A fold's folder holds `gan/`, a RUN folder, and `synthetic/`. Several folds are fitted in processes of one thread each.
This process follows their logs and tells them to stop; each saves a checkpoint then, and goes on from it in the next
call.
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

SECONDS_BETWEEN_LOOKS = 0.5  # at the logs of generators that are fitted in other processes


@dataclass(frozen=True)
class FoldGenerators:
    """Where the generators of a pipeline's folds lie, and how they are fitted."""

    folder: Path  # of the pipeline
    source: str  # its name
    config: GeneratorConfig

    def folder_of(self, fold: Fold) -> Path:
        """The folder that holds a fold's gan/ and synthetic/."""
        return self.folder / "folds" / fold.name if fold.name else self.folder

    def config_of(self, fold: Fold) -> GeneratorConfig:
        """The settings with a seed of the fold's own."""
        return self.config.model_copy(update={"seed": derive_seed(self.config.seed, "generator", *fold.numbers)})


def fit_all(
    generators: FoldGenerators,
    folds: Sequence[Fold],
    runtime: Runtime,
    *,
    overwrite: bool = False,
    seconds: float | None = None,
) -> bool:
    """Fit the generator of every fold; False if it was stopped.

    Each goes on where it stands if its settings and images are the same, and begins anew otherwise, or by `overwrite`.
    seconds: that all of it is expected to take.
    """
    if len(folds) == 1:
        (fold,) = folds
        data = TrainingData(fold.train, Origin(generators.source))
        path, config = generators.folder_of(fold) / "gan", generators.config_of(fold)
        options = {"overwrite": overwrite, "replace": "anything", "seconds": seconds}
        return fit(data, config, path, runtime, **options).outcome != Outcome.STOPPED  # type: ignore[arg-type]
    settings = generators.config.model_dump(mode="json")
    task = Task("fit", generators.config.total * len(folds), seconds, settings)
    runtime.observer.on_start(task)
    with TemporaryDirectory() as folder:
        stop = Path(folder) / "stop"
        calls = [(_fit_in_worker, (generators, fold, runtime.device, overwrite, stop)) for fold in folds]
        logs = _Logs(generators, folds, overwrite)
        with _followed(logs, runtime, task, stop):
            ended = sorted(run_in_processes(calls, runtime.jobs))
    for index, (_, notes) in ended:
        for note in notes:
            runtime.observer.on_note(f"{folds[index].name}: {note}")
    if any(fitted.outcome == Outcome.STOPPED for _, (fitted, _) in ended):
        return False
    runtime.observer.on_progress(task, task.total, logs.losses())
    runtime.observer.on_end(task, logs.losses())
    return True


class _Notes(Observer):
    """The sentences that a fit in another process has for a person."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def on_note(self, sentence: str) -> None:
        """Keep it."""
        self.sentences.append(sentence)


def _fit_in_worker(
    generators: FoldGenerators, fold: Fold, device: torch.device, overwrite: bool, stop: Path
) -> tuple[Fitted, list[str]]:
    """Fit one generator until it is finished or the file `stop` appears; and the notes on it."""
    if stop.exists():
        return Fitted(Outcome.STOPPED, 0), []
    tune_allocator()
    notes = _Notes()
    runtime = Runtime(device, stopped=stop.exists, observer=notes)
    data = TrainingData(fold.train, Origin(generators.source))
    path, config = generators.folder_of(fold) / "gan", generators.config_of(fold)
    return fit(data, config, path, runtime, overwrite=overwrite, replace="anything"), notes.sentences


class _Logs:
    """The logs of all folds' runs. One of other settings, or one that is to be overwritten, counts as empty."""

    def __init__(self, generators: FoldGenerators, folds: Sequence[Fold], overwrite: bool) -> None:
        self.total = generators.config.total
        self.runs = {
            generators.folder_of(fold) / "gan": run_identity(generators.config_of(fold), fold.train) for fold in folds
        }
        self.overwritten = {run: _changed_at(run / LOG) for run in self.runs} if overwrite else {}

    def newest_lines(self) -> list[LogLine]:
        """The last line of each log that has one."""
        return [log[-1] for run in self.runs if self._counts(run) and (log := read_log(run))]

    def losses(self) -> dict[str, float]:
        """Those of the run that is the furthest."""
        return max(self.newest_lines(), key=lambda line: line.step, default=LogLine(step=0)).losses

    def _counts(self, run: Path) -> bool:
        try:
            marker = read_marker(run)
        except OutputError:
            return False  # the fit itself says what is wrong
        if marker is None or LOG in marker.replaced or self.runs[run].differences(marker.identity):
            return False
        return run not in self.overwritten or self.overwritten[run] != _changed_at(run / LOG)


def _changed_at(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None


@contextmanager
def _followed(logs: _Logs, runtime: Runtime, task: Task, stop: Path) -> Iterator[None]:
    """Report what the logs of all folds say, and make the file `stop` once the runtime is stopped."""
    over = threading.Event()

    def follow() -> None:
        before = 0
        while not over.wait(SECONDS_BETWEEN_LOOKS):
            if runtime.stopped():
                stop.touch()
            done = sum(min(line.step, logs.total) for line in logs.newest_lines())
            if before < done < task.total:  # the whole is reported when every process has ended
                runtime.observer.on_progress(task, done, logs.losses())
                before = done

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def generate_all(generators: FoldGenerators, folds: Sequence[Fold], config: GenerateConfig, runtime: Runtime) -> None:
    """The images of every fold's generator; what was there before is replaced."""
    task = Task("generate", config.per_class * folds[0].train.num_classes * len(folds))
    runtime.observer.on_start(task)
    before = 0
    for fold in folds:
        folder = generators.folder_of(fold)
        model = load_model(folder / "gan", runtime.device)
        counts = dict.fromkeys(model.about.classes, config.per_class)
        observer = _Shifted(runtime.observer, task, before)
        path, seed = folder / "synthetic", derive_seed(config.seed, "synthetic images", *fold.numbers)
        synthetic = generate_folder(model, counts, path, "png", seed=seed, overwrite=True, observer=observer)
        before += sum(counts.values())
        for note in collapse_notes(synthetic.data) if synthetic else ():
            runtime.observer.on_note(f"{fold.name}: {note}" if fold.name else note)
    runtime.observer.on_end(task, {})


@dataclass(frozen=True)
class _Shifted(Observer):
    """Progress of a part of a task as progress of the whole, which has come to `before` already."""

    whole: Observer
    task: Task
    before: int

    def on_progress(self, task: Task, done: int, metrics: Mapping[str, float], label: str = "") -> None:
        """Report it as progress of the whole."""
        self.whole.on_progress(self.task, self.before + done, metrics, label)
