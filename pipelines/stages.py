"""The stages of `augment run`, each of them one object: what it depends on, what it writes, and how it runs.

`STAGES` lists them in their order; a stage that a pipeline does not have is None for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from augment.dataset.images import LabelledImages, fingerprint
from augment.generators.runs import MODEL, read_log
from augment.identity import Identity
from augment.runtime import Runtime
from pipelines.choosing import choose_mix, mixes, read_choice
from pipelines.config.sections import Pipeline
from pipelines.evaluation import Context, evaluate_folds
from pipelines.experiment.experiment import GAN_TRAIN_REPEATS
from pipelines.experiment.fold_generators import FoldGenerators, fit_all, generate_all
from pipelines.experiment.folds import Fold
from pipelines.experiment.loading import Loaded, load_synthetic
from pipelines.experiment.protocols import Protocol
from pipelines.experiment.time_estimate import SECONDS_AN_IMAGE, Probe
from pipelines.metric_specs import default_metric
from pipelines.stage_file import listed_files


@dataclass(frozen=True)
class PipelineFolds:
    """A pipeline with its images, cut into folds.

    inner: by the name of each fold of the protocol, the folds that its mix is chosen on.
    """

    pipeline: Pipeline
    loaded: Loaded
    protocol: Protocol
    inner: Mapping[str, Sequence[Fold]]
    generators: FoldGenerators

    @property
    def validation(self) -> list[Fold]:
        """All folds that mixes are chosen on."""
        return list(chain.from_iterable(self.inner.values()))

    @property
    def fitted(self) -> list[Fold]:
        """All folds that a generator is fitted for."""
        return [*self.protocol.folds, *self.validation]

    @property
    def folder(self) -> Path:
        """Where everything is written."""
        return self.generators.folder

    def subfolders(self, name: str) -> list[str]:
        """The folder `name` of each fold, relative to the pipeline's, with /."""
        paths = [self.generators.folder_of(fold).relative_to(self.folder) / name for fold in self.fitted]
        return [path.as_posix() for path in paths]

    def with_synthetic(self, fold: Fold) -> Fold:
        """The fold with the images that its generator has made."""
        synthetic, _ = load_synthetic(self.generators.folder_of(fold) / "synthetic", fold.train)
        return replace(fold, synthetic=synthetic)


@dataclass(frozen=True)
class Stage:
    """One stage of one pipeline.

    inputs: what it depends on; a later stage depends on all that an earlier one does. folders: that it writes, relative
    to the pipeline's. total: how many parts it has (steps, images, classifiers). seconds: that it will take, by a
    probe. outputs: the files that are its result, relative to the pipeline's folder. run: does it, given the seconds
    that it will take and whether everything begins anew; False if it was stopped.
    """

    name: str
    inputs: Identity
    folders: Sequence[str]
    total: int
    seconds: Callable[[Probe], float]
    outputs: Callable[[], list[str]]
    run: Callable[[Runtime, float, bool], bool]


def _fit(folds: PipelineFolds) -> Stage:
    folders, config, fitted = folds.subfolders("gan"), folds.pipeline.generator, folds.fitted

    def run(runtime: Runtime, seconds: float, overwrite: bool) -> bool:
        return fit_all(folds.generators, fitted, runtime, overwrite=overwrite, seconds=seconds)

    return Stage(
        "fit",
        Identity({"generator": config}, _training_images(folds)),
        folders,
        config.total * len(fitted),
        lambda probe: probe.fitting(config, len(fitted)),
        lambda: [f"{folder}/{MODEL}" for folder in folders],  # checkpoints and pictures of a finished run may go
        run,
    )


def _generate(folds: PipelineFolds) -> Stage:
    folders, pipeline, fitted = folds.subfolders("synthetic"), folds.pipeline, folds.fitted
    total = pipeline.generate.per_class * fitted[0].train.num_classes * len(fitted)

    def run(runtime: Runtime, seconds: float, overwrite: bool) -> bool:
        generate_all(folds.generators, fitted, pipeline.generate, runtime)
        return True

    return Stage(
        "generate",
        Identity({"generator": pipeline.generator, "generate": pipeline.generate}, _training_images(folds)),
        folders,
        total,
        lambda probe: total * SECONDS_AN_IMAGE,
        lambda: listed_files(folds.folder, folders),
        run,
    )


def _choose(folds: PipelineFolds) -> Stage | None:
    config, evaluation = folds.pipeline.choose, folds.pipeline.evaluate
    if config is None:
        return None
    total = (1 + len(mixes(config))) * config.repeats * len(folds.validation)
    metric = evaluation.metric or default_metric(folds.protocol.folds[0].train.per_class())
    validation = {"validation images": _fingerprints(fold.test for fold in folds.validation)}

    def run(runtime: Runtime, seconds: float, overwrite: bool) -> bool:
        inner = {name: [folds.with_synthetic(fold) for fold in splits] for name, splits in folds.inner.items()}
        choice = choose_mix(
            inner,
            config,
            evaluation,
            folds.folder / "choice",
            runtime,
            metric=metric,
            overwrite=overwrite,
            replace="anything",
            seconds=seconds,
        )
        return choice is not None

    return Stage(
        "choose",
        Identity(_all_settings(folds.pipeline), {**_training_images(folds), **validation}),
        ["choice"],
        total,
        lambda probe: probe.classifying(total),
        lambda: listed_files(folds.folder, ["choice"]),
        run,
    )


def _evaluate(folds: PipelineFolds) -> Stage:
    pipeline, outer = folds.pipeline, folds.protocol.folds
    total = sum(len(pipeline.evaluate.arms) * len(fold.repeats) for fold in outer)
    total += sum(min(GAN_TRAIN_REPEATS, len(fold.repeats)) for fold in outer)

    def run(runtime: Runtime, seconds: float, overwrite: bool) -> bool:
        choice = read_choice(folds.folder / "choice") if pipeline.choose else None
        ready = [_mixed(folds.with_synthetic(fold), choice) for fold in outer]
        context = Context(
            folds.loaded.name,
            folds.protocol.design,
            (*folds.loaded.warnings, *folds.protocol.warnings),
            pipeline.model_dump(mode="json"),
            _loss_curves(folds.generators.folder_of(outer[0]) / "gan"),
            choice,
        )
        folder, settings = folds.folder / "evaluation", pipeline.evaluate
        results = evaluate_folds(
            ready, settings, folder, context, runtime, overwrite=overwrite, replace="anything", seconds=seconds
        )
        return results is not None

    return Stage(
        "evaluate",
        Identity(
            _all_settings(pipeline),
            {**_training_images(folds), "test images": _fingerprints(fold.test for fold in outer)},
        ),
        ["evaluation"],
        total,
        lambda probe: probe.classifying(total, fidelity=len(folds.fitted)),
        lambda: listed_files(folds.folder, ["evaluation"]),
        run,
    )


STAGES: tuple[Callable[[PipelineFolds], Stage | None], ...] = (_fit, _generate, _choose, _evaluate)


def _mixed(fold: Fold, choice: Mapping[str, Any] | None) -> Fold:
    """The fold with the mix that was chosen for it."""
    return replace(fold, mixes={choice["arm"]: choice["by_fold"][fold.name]}) if choice else fold


def _loss_curves(run: Path) -> dict[str, tuple[list[int], list[float]]]:
    """By name, the steps and values of every loss in a run's log."""
    curves: dict[str, tuple[list[int], list[float]]] = {}
    for line in read_log(run):
        for name, value in line.losses.items():
            steps, values = curves.setdefault(name.replace("_", " "), ([], []))
            steps.append(line.step)
            values.append(value)
    return curves


def _all_settings(pipeline: Pipeline) -> dict[str, Any]:
    chosen = {"choose": pipeline.choose} if pipeline.choose else {}
    return {
        "generator": pipeline.generator,
        "generate": pipeline.generate,
        "evaluate": pipeline.evaluate,
        **chosen,
    }


def _training_images(folds: PipelineFolds) -> dict[str, str]:
    return {"training images": _fingerprints(fold.train for fold in folds.fitted)}


def _fingerprints(sets: Iterable[LabelledImages]) -> str:
    """One for all: of a single set its own, and otherwise a digest of theirs."""
    prints = [fingerprint(data) for data in sets]
    return prints[0] if len(prints) == 1 else hashlib.sha256("".join(prints).encode()).hexdigest()[:16]
