"""How the classifier to keep is trained: by the arm that a run recommends, or by the defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from augment.dataset.images import Resize
from augment.errors import ConfigError
from augment.fields import Settings
from augment.markers import Marker, read_marker
from augment.words import counted, quoted
from augment.yaml_text import read_mapping
from pipelines.config.arm_section import Arm
from pipelines.config.generator_section import AnyGenerator
from pipelines.config.sections import DataConfig, EvaluateConfig, GenerateConfig, Pipeline
from pipelines.experiment.loading import LoadedSource
from pipelines.results.document import EVALUATION, RESULTS, Results, read_results
from pipelines.results.keeping import arm_to_keep, interval_of_mean, metric_of

WITHOUT_RUN = (
    "the defaults, and nothing was measured; to measure first, run `augment run auto` and give its folder with --run"
)


class Measured(Settings):
    """What a run measured of the arm, on images that its classifiers had not seen.

    mean, low, high: of single classifiers over the repeats, with the 95 % interval of the mean. arms: how many the run
    compared on these images, of which this may be the best. leaves_out: the sources of variance that the interval
    leaves out. answer: the recommendation of the run. images: the fingerprint of its source. subsets: whether an
    `augment run` drew few of these. train_per_class: the training images of an `augment evaluate`. horizontal_flip,
    steps: of its classifiers. They are None if they are not known, or if the arm has no steps.
    """

    metric: str
    mean: float
    low: float
    high: float
    repeats: int
    arms: int = 1
    leaves_out: str
    answer: str
    images: str | None = None
    subsets: bool = False
    train_per_class: dict[str, int] | None = None
    horizontal_flip: bool | None = None
    steps: int | None = None


class Recipe(Settings):
    """An arm with all the settings that it depends on.

    It depends on no file, so that a model can be moved to another machine.

    evaluate: the settings of an evaluation of this arm alone. generator, generate: None if it needs no generator. why:
    where the recipe comes from. image_size, resize, drop_duplicates: how the images were read; None: as the command
    decides. unlabelled: the source of unlabelled images that the arm or its generator learns from. classes: of the run;
    None without one.
    """

    evaluate: EvaluateConfig
    generator: AnyGenerator | None = None
    generate: GenerateConfig | None = None
    why: str = WITHOUT_RUN
    measured: Measured | None = None
    image_size: int | None = None
    resize: Resize | None = None
    drop_duplicates: bool | None = None
    unlabelled: str | None = None
    classes: tuple[str, ...] | None = None

    @property
    def arm(self) -> Arm:
        """The arm, with what it takes from the evaluation."""
        (arm,) = self.evaluate.resolved_arms()
        return arm

    def reading(self) -> dict[str, Any]:
        """Return how the run read its images, under the names of the fields in `DataConfig`."""
        return self.model_dump(include={"image_size", "resize", "drop_duplicates", "unlabelled"}, exclude_none=True)


def choose_recipe(
    run: Path | None, *, steps: int | None = None, horizontal_flip: bool | None = None, seed: int = 0
) -> Recipe:
    """Return the recipe of a run, or without one the defaults; settings that are not None replace its own.

    steps: of each network. Raises the errors of `recipe_of_run`.
    """
    recipe = Recipe(evaluate=EvaluateConfig(arms=("classical",))) if run is None else recipe_of_run(run)
    evaluate = recipe.evaluate
    changes: dict[str, Any] = {"seed": seed}
    if steps is not None:
        part = _part_with_steps(recipe.arm)
        changes[part] = getattr(evaluate, part).model_copy(update={"steps": steps})
    if horizontal_flip is not None:
        changes["horizontal_flip"] = horizontal_flip
    generator = recipe.generator.with_horizontal_flip() if recipe.generator and horizontal_flip else recipe.generator
    return recipe.model_copy(update={"evaluate": evaluate.model_copy(update=changes), "generator": generator})


def differences_from_run(recipe: Recipe, loaded: LoadedSource, data: DataConfig) -> tuple[str, ...]:
    """Describe how the trainings that the run measured differ from that of a model of this recipe and source.

    If they do, the accuracy that the run measured is not that of the model. Empty without a run.
    """
    run, found, size = recipe.measured, list[str](), loaded.train.size
    if run is None:
        return ()
    if recipe.image_size not in (None, size):
        found.append(f"another image size ({recipe.image_size} px, this model {size} px)")
    elif recipe.resize not in (None, data.resize):
        found.append(f"pictures made square by {recipe.resize} (this model by {data.resize})")
    elif run.images not in (None, loaded.fingerprint):
        found.append("other images")
    found += _difference_in_number(run, loaded, data)
    if recipe.drop_duplicates not in (None, data.drop_duplicates):
        found.append("images without duplicates" if recipe.drop_duplicates else "images with duplicates")
    if run.horizontal_flip not in (None, recipe.evaluate.horizontal_flip):
        found.append("training with flips" if run.horizontal_flip else "training without flips")
    steps = _steps(recipe.evaluate, recipe.arm)
    if run.steps not in (None, steps):
        found.append(f"training for {counted(run.steps or 0, 'step')} (this model {steps:,})")
    return tuple(found)


def _difference_in_number(run: Measured, loaded: LoadedSource, data: DataConfig) -> list[str]:
    if run.train_per_class is None:
        differ, fewer = run.subsets != (data.samples_per_class is not None), run.subsets
    else:
        here = loaded.train.per_class()
        differ, fewer = run.train_per_class != here, sum(run.train_per_class.values()) < sum(here.values())
    return ["few images of each class" if fewer else "more images of each class"] if differ else []


def _part_with_steps(arm: Arm) -> str:
    return "finetune" if arm.learner == "finetune" else "classifier"


def _steps(evaluation: EvaluateConfig, arm: Arm) -> int | None:
    return None if arm.learner == "features" else int(getattr(evaluation, _part_with_steps(arm)).steps)


def recipe_of_run(folder: Path) -> Recipe:
    """Return the recipe that a finished `augment run` or `augment evaluate` recommends.

    If nothing was compared, it is the best arm of real images. Raises `ConfigError` if `folder` is not such a folder,
    not finished or damaged, if it has no arm to recommend, or if the arm needs a generator that the folder does not
    hold.
    """
    marker = read_marker(folder)
    if marker is None or marker.command not in ("run", "evaluate"):
        raise ConfigError(f"--run {folder}: expected the folder of a finished `augment run` or `augment evaluate`")
    if not marker.finished:
        raise ConfigError(f"--run {folder} is not finished; run the same `augment {marker.command}` again")
    pipeline = _pipeline(folder) if marker.command == "run" else None
    results = read_results((folder / EVALUATION if pipeline else folder) / RESULTS)
    evaluation = pipeline.evaluate if pipeline else _evaluation(folder, marker)
    arm = _recommended(results, evaluation, folder)
    if arm.needs_generator and pipeline is None:
        raise ConfigError(
            f"--run {folder} recommends images of a generator that it does not hold: give the folder of an "
            "`augment run`, which trains its own"
        )
    generator = pipeline.generator if pipeline and arm.needs_generator else None
    learns_from_unlabelled = arm.unlabelled or (generator is not None and generator.uses_unlabelled)
    return Recipe(
        evaluate=evaluation.model_copy(update={"arms": (arm,), "inception": None}),  # for metrics of generated images
        generator=generator,
        generate=pipeline.generate if pipeline and generator and arm.feed is None else None,
        why=f"the arm {arm.name}, which {_merit(results)} in {folder.name}",
        measured=_measured(results, arm, evaluation, pipeline),
        image_size=results.dataset.image_size,
        resize=pipeline.data.resize if pipeline else None,
        drop_duplicates=pipeline.data.drop_duplicates if pipeline else None,
        unlabelled=pipeline.data.unlabelled if pipeline and learns_from_unlabelled else None,
        classes=tuple(results.dataset.classes),
    )


def _pipeline(folder: Path) -> Pipeline:
    try:
        return Pipeline.model_validate(read_mapping(folder / "config.yaml"))
    except (ConfigError, ValidationError) as error:
        raise ConfigError(f"{folder / 'config.yaml'} is damaged or of another version; run it again") from error


def _evaluation(folder: Path, marker: Marker) -> EvaluateConfig:
    try:
        return EvaluateConfig.model_validate(marker.identity["settings"]["evaluate"])
    except (KeyError, TypeError, ValidationError) as error:
        raise ConfigError(f"{folder} is damaged or of another version; evaluate again") from error


def _recommended(results: Results, evaluation: EvaluateConfig, folder: Path) -> Arm:
    """Return the recommended arm with its chosen mix, or if nothing was compared, the best arm of real images."""
    arms, recommended = {arm.name: arm for arm in evaluation.arms}, results.recommendation
    if recommended.arm is not None:
        if recommended.arm not in arms:
            raise ConfigError(f"{folder} is damaged: it recommends {quoted(recommended.arm)}, and has no such arm")
        return arms[recommended.arm].with_mix(recommended.mix or {})
    kept = arm_to_keep(results, [arm.name for arm in evaluation.arms if not arm.synthetic])
    if kept is None:
        raise ConfigError(f"--run {folder} compared no arm of real images, so it recommends nothing")
    return arms[kept]


def _merit(results: Results) -> str:
    return "has the best mean" if results.recommendation.arm is None else "is recommended"


def _measured(results: Results, arm: Arm, evaluation: EvaluateConfig, pipeline: Pipeline | None) -> Measured:
    """Return what the run measured of the arm. pipeline: None for an `augment evaluate`."""
    metric, limited = metric_of(results), pipeline is not None and pipeline.data.samples_per_class is not None
    summary = results.arms[arm.name][metric]
    low, high = interval_of_mean(results, arm.name)
    return Measured(
        metric=metric,
        mean=summary.mean,
        low=low,
        high=high,
        repeats=len(summary.values),
        arms=len(results.arms),
        leaves_out=results.protocol.note,
        answer=results.recommendation.sentence,
        images=results.dataset.fingerprint,
        subsets=limited or results.protocol.kind in ("subsample", "imbalance"),
        train_per_class=None if pipeline else results.dataset.train_per_class,
        horizontal_flip=evaluation.horizontal_flip,
        steps=_steps(evaluation, arm),
    )
