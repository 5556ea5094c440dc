"""`PipelineFolds`: a pipeline with its images, divided into the folds that everything is trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from augment.errors import ConfigError
from augment.filtering import needed_before_filter
from pipelines.config.sections import Pipeline
from pipelines.experiment.fold_generators import FoldGenerators
from pipelines.experiment.folds import Fold
from pipelines.experiment.loading import LoadedSource, load_synthetic
from pipelines.experiment.protocols import Protocol, inner_folds, make_protocol


@dataclass(frozen=True)
class PipelineFolds:
    """A pipeline with its images, divided into folds.

    inner: the folds that the mix is chosen on, by the name of the protocol's fold that they belong to. decisions: a
    sentence on each group of settings that was chosen for the images.
    """

    pipeline: Pipeline
    loaded: LoadedSource
    protocol: Protocol
    inner: Mapping[str, Sequence[Fold]]
    generators: FoldGenerators
    decisions: Sequence[str] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know before anything is fitted, apart from the choice of the protocol."""
        return (*self.decisions, *self.loaded.warnings, *self.protocol.warnings)

    @property
    def validation_folds(self) -> list[Fold]:
        """All folds that mixes are chosen on."""
        return list(chain.from_iterable(self.inner.values()))

    @property
    def generator_folds(self) -> list[Fold]:
        """All folds that a generator is fitted for; none if no arm needs one."""
        return [*self.protocol.folds, *self.validation_folds] if self.pipeline.evaluate.needs_generator else []

    @property
    def folder(self) -> Path:
        """The output folder of the pipeline."""
        return self.generators.folder

    def subfolders(self, name: str) -> list[str]:
        """Return the folder `name` of each fold, as a POSIX path relative to the output folder."""
        paths = [self.generators.folder_of(fold).relative_to(self.folder) / name for fold in self.generator_folds]
        return [path.as_posix() for path in paths]

    def with_synthetic(self, fold: Fold) -> Fold:
        """Return the fold with its generator and the images of it, read from its folder, if an arm needs them."""
        if not self.generator_folds:
            return fold
        folder = self.generators.folder_of(fold)
        synthetic, _ = load_synthetic(folder / "synthetic", fold.train)
        return replace(fold, run=folder / "gan", synthetic=synthetic)


def draw_folds(pipeline: Pipeline, loaded: LoadedSource, folder: Path, decisions: Sequence[str] = ()) -> PipelineFolds:
    """Draw the folds of a pipeline, whose generators are stored under `folder`. decisions: why it has its settings.

    Raises `ConfigError` if the source does not suit the protocol, or if too few images would be generated, so that this
    is known before anything is fitted.
    """
    repeats, chooses_mix = pipeline.evaluate.repeats, pipeline.choose is not None
    protocol = make_protocol(loaded, pipeline.data, pipeline.protocol, repeats, chooses_mix=chooses_mix)
    inner = inner_folds(protocol.folds, pipeline.choose, pipeline.data.seed) if pipeline.choose else {}
    _check_ratio(pipeline, protocol.folds)
    return PipelineFolds(
        pipeline, loaded, protocol, inner, FoldGenerators(folder, loaded.name, pipeline.generator), decisions
    )


def _check_ratio(pipeline: Pipeline, folds: Sequence[Fold]) -> None:
    """Raise `ConfigError` if too few images would be generated."""
    evaluation, per_class = pipeline.evaluate, pipeline.generate.per_class
    arms = [arm for arm in evaluation.arms if arm.real and arm.uses_stored_images and not arm.by_need]
    ratios = [("evaluate.ratio", arm.ratio_or(evaluation.ratio), arm.keep) for arm in arms]
    if pipeline.choose is not None:
        ratios.append(("choose.ratios", max(pipeline.choose.ratios), min(pipeline.choose.keep)))
    largest = max(folds, key=lambda fold: len(fold.train)).train
    for key, ratio, keep in ratios:
        needed = needed_before_filter(largest, ratio, keep)
        if per_class < needed:
            kept = "" if keep == 1 else f", of which {keep:.0%} are kept"
            raise ConfigError(
                f"{key} {ratio:g} with {len(largest)} real images needs {needed} synthetic images "
                f"of each class{kept}, but generate.per_class is {per_class}; raise it or lower the ratio"
            )
