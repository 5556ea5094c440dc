"""`augment train`: train the classifier to keep on all labelled images, and calibrate it on images left out.

Each member of the ensemble is trained on all images with a seed of its own. For each of five parts of the images, as
many members are trained without it; their predictions for it show the accuracy and calibration of such an ensemble on
images that it has not seen. The temperature is fitted on these predictions, and if the recipe says so, the operating
point too. A generator, and classifiers that score images or give soft labels, if the recipe has such, are fitted to all
images first, those left out included, so that this accuracy may be too good; the model card says so.

The trainings run in parallel processes. The result of each is written as soon as it arrives, so an interrupted command
continues where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel

from augment.dataset.images import LabelledImages, concatenate
from augment.errors import ConfigError
from augment.filtering import CrossFittedPredictions, needed_before_filter
from augment.identity import Identity
from augment.output_folders import OutputFolder, open_output, remove_if_empty
from augment.runtime import Runtime, Task
from augment.seeds import derive_seed
from augment.tensor_files import dump_tensors, load_metadata, load_tensors
from augment.versions import versions
from pipelines.config.sections import DataConfig, GenerateConfig
from pipelines.experiment.arms import predict_test, train_arm
from pipelines.experiment.cross_fitting import cross_fit_folds
from pipelines.experiment.feature_learning import with_features
from pipelines.experiment.fold_generators import FoldGenerators, fit_all, generate_all
from pipelines.experiment.folds import Fold
from pipelines.experiment.loading import (
    LoadedSource,
    duplicate_warnings,
    leak_warnings,
    limit_notes,
    load,
    load_synthetic,
)
from pipelines.experiment.operating_point import ALWAYS_SEEN, assign_parts
from pipelines.experiment.parallel import end_processes, run_in_processes
from pipelines.model.card import model_card
from pipelines.model.cross_validation import (
    NONE_LEFT_OUT,
    FoldParts,
    Key,
    Tensors,
    calibrate,
    ensemble_of,
    out_of_fold_predictions,
)
from pipelines.model.recipe import Recipe, differences_from_run
from pipelines.model.saved_model import (
    CARD,
    METADATA,
    WEIGHTS,
    ClassifierMetadata,
    save_model,
)
from pipelines.model.suspect_labels import SUSPECTS, as_csv, can_check_labels, find_suspects

PARTS_FOLDER = "parts"


class MemberTraining(BaseModel):
    """A classifier to train: on all images, or on those outside of one part. member: its number in the ensemble."""

    part: int
    member: int

    @property
    def key(self) -> Key:
        """What identifies it among the trainings of a model."""
        return self.part, self.member

    @property
    def file(self) -> str:
        """The file that keeps its result, relative to the MODEL folder."""
        return f"{PARTS_FOLDER}/{'all' if self.part == NONE_LEFT_OUT else self.part}-{self.member}.safetensors"


@end_processes()
def train(
    data: DataConfig,
    recipe: Recipe,
    folder: Path,
    runtime: Runtime,
    *,
    members: int = 3,
    keep_test: bool = False,
    overwrite: bool = False,
) -> ClassifierMetadata | None:
    """Train the classifier of a recipe on a source, and write it into the MODEL folder. Returns None if it was stopped.

    members: classifiers in the ensemble; a linear classifier on pretrained features, which hardly depends on random
    numbers, is always alone. keep_test: leave the test images of the source out. Raises the errors of `read_source`,
    `ConfigError` if the classes are not those of the recipe's run, and `OutputError` if `folder` holds another output.
    """
    loaded, labelled = _load(data, recipe, keep_test, runtime)
    members = 1 if recipe.arm.learner == "features" else members
    inputs = {"images": labelled.fingerprint, "members": members, "resize": data.resize}
    if loaded.unlabelled is not None:
        inputs["unlabelled images"] = loaded.unlabelled.fingerprint
    identity, files = Identity({"recipe": recipe}, inputs), (WEIGHTS, METADATA, CARD)
    with open_output(folder, "train", identity, files=files, overwrite=overwrite) as output:
        if output.finished:
            return load_metadata(folder / WEIGHTS, ClassifierMetadata)
        whole = Fold(labelled, labelled, unlabelled=loaded.unlabelled)
        fold = _prepare_fold(whole, recipe, loaded.name, output, runtime)
        if fold is None:
            return None
        images = FoldParts(fold, assign_parts(fold, derive_seed(recipe.evaluate.seed, "parts")))
        trainings = plan(images, members)
        if not _train_missing(trainings, images, recipe, output, runtime):
            return None
        results = {training.key: load_tensors(folder / training.file, MemberTraining)[0] for training in trainings}
        metadata = _assemble(results, images, recipe, loaded, data, output)
        _delete_parts(trainings, output)
        output.finish(WEIGHTS)
    return metadata


def _assemble(
    results: Mapping[Key, Tensors],
    images: FoldParts,
    recipe: Recipe,
    loaded: LoadedSource,
    data: DataConfig,
    output: OutputFolder,
) -> ClassifierMetadata:
    """Write the calibrated ensemble, its metadata and card, and the images whose labels look wrong."""
    labelled = images.fold.train
    network, unseen = ensemble_of(results, images, recipe), out_of_fold_predictions(results, images)
    validation = calibrate(network, unseen, recipe) if unseen else None
    found = find_suspects(unseen, network) if unseen and can_check_labels() else None
    metadata = ClassifierMetadata(
        classes=labelled.class_names,
        image_size=labelled.size,
        channels=labelled.channels,
        resize=data.resize,
        members=len(network.members),
        temperature=float(network.temperature),
        recipe=recipe,
        differs_from_run=differences_from_run(recipe, loaded, data),
        source=loaded.name,
        train_per_class=labelled.per_class(),
        fingerprint=labelled.fingerprint,
        cross_validation=validation,
        trained_on="".join(labelled.hashes),
        suspect_labels=None if found is None else len(found),
        versions=versions(),
    )
    if found is not None:
        output.write(SUSPECTS, as_csv(found, labelled, loaded.names))
    save_model(output, network, metadata, model_card(metadata))
    return metadata


def _load(data: DataConfig, recipe: Recipe, keep_test: bool, runtime: Runtime) -> tuple[LoadedSource, LabelledImages]:
    """Return the source, and all its labelled images or all but the test images.

    Raises `ConfigError` if the source has other classes than the run that the recipe is from.
    """
    loaded = load(data, runtime.observer)
    names = loaded.train.class_names
    if recipe.classes is not None and names != recipe.classes:
        raise ConfigError(
            f"the run compared classifiers of {', '.join(recipe.classes)}, and the source has {', '.join(names)}: give "
            "the source of the run, or train without --run"
        )
    notes = [*loaded.warnings, *limit_notes(loaded.pool, data)]
    if keep_test and loaded.test is None:
        notes.append(f"{loaded.name} has no test images that could be left out: all its images are trained on")
    elif keep_test and loaded.test is not None:
        notes += leak_warnings(loaded.train, loaded.test, runtime.observer)
    if differs := differences_from_run(recipe, loaded, data):
        notes.append(f"the run measured {' and '.join(differs)}, so its figure is not that of this model")
    others = [loaded.val, None if keep_test else loaded.test]
    labelled = concatenate([loaded.train, *(other for other in others if other is not None)])
    notes += duplicate_warnings(labelled, runtime.observer, "the cross-validated accuracy is too high")
    for note in notes:
        runtime.observer.on_note(note)
    return loaded, labelled


def _delete_parts(trainings: Sequence[MemberTraining], output: OutputFolder) -> None:
    for training in trainings:
        output.delete(training.file)
    remove_if_empty(output.path / PARTS_FOLDER)


def plan(images: FoldParts, members: int) -> list[MemberTraining]:
    """Return the trainings of the members on all images, then those without each part."""
    parts = [NONE_LEFT_OUT, *sorted(set(images.part_of.tolist()) - {ALWAYS_SEEN})]
    return [MemberTraining(part=part, member=member) for part, member in product(parts, range(members))]


def _prepare_fold(fold: Fold, recipe: Recipe, name: str, output: OutputFolder, runtime: Runtime) -> Fold | None:
    """Return the fold with all that the arm needs: a generator, images, scores, features; None if it was stopped."""
    if recipe.generator is not None:
        generators = FoldGenerators(output.path, name, recipe.generator)
        if not fit_all(generators, [fold], runtime):
            return None
        fold = replace(fold, run=output.path / "gan")
        if recipe.generate is not None:
            generate_all(generators, [fold], _with_enough_images(recipe.generate, fold.train, recipe), runtime)
            fold = replace(fold, synthetic=load_synthetic(output.path / "synthetic", fold.train)[0])
    folds = with_features(cross_fit_folds([fold], recipe.evaluate, runtime), [recipe.arm], recipe.evaluate, runtime)
    return folds[0] if folds else None


def _with_enough_images(generate: GenerateConfig, train: LabelledImages, recipe: Recipe) -> GenerateConfig:
    """Return the settings with as many images as the arm needs for all real images, which are more than in the run."""
    needed = needed_before_filter(train, recipe.arm.ratio_or(recipe.evaluate.ratio), recipe.arm.keep)
    return generate.model_copy(update={"per_class": max(generate.per_class, needed)})


def _train_missing(
    trainings: Sequence[MemberTraining], images: FoldParts, recipe: Recipe, output: OutputFolder, runtime: Runtime
) -> bool:
    """Run the trainings whose results are missing, and write each. Returns False if it was stopped."""
    missing = [training for training in trainings if output.read(training.file) is None]
    task = Task("train", len(trainings))
    runtime.observer.on_start(task)
    calls = [(train_one, (training, images, recipe, runtime.device)) for training in missing]
    done = len(trainings) - len(missing)
    for index, tensors in run_in_processes(calls, runtime.jobs):
        output.write(missing[index].file, dump_tensors(tensors, missing[index]))
        done += 1
        runtime.observer.on_progress(task, done, {})
        if runtime.stopped():
            return False
    runtime.observer.on_end(task, {})
    return True


def train_one(training: MemberTraining, images: FoldParts, recipe: Recipe, device: torch.device) -> Tensors:
    """Return the weights of a member, or the logits of its part of the images: float32, n x K."""
    arm = recipe.arm.model_copy(update={"operating_point": "as-trained"})
    seed, fold = derive_seed(recipe.evaluate.seed, "member", training.member), images.fold
    if training.part == NONE_LEFT_OUT:
        model = train_arm(arm, fold, recipe.evaluate, seed=seed, device=device)
        return {name: tensor.cpu() for name, tensor in model.state_dict().items()}
    unseen, seen = (np.flatnonzero(images.part_of == training.part), np.flatnonzero(images.part_of != training.part))
    predictions = _of_subset(fold.cross_fitted, seen)
    part = replace(fold, train=fold.train.take(seen), test=fold.train.take(unseen), cross_fitted=predictions)
    model = train_arm(arm, part, recipe.evaluate, seed=derive_seed(seed, "part", training.part), device=device)
    return {"logits": predict_test(arm, model, part)}


def _of_subset(cross_fitted: CrossFittedPredictions | None, seen: NDArray[np.int64]) -> CrossFittedPredictions | None:
    """Return the predictions for the synthetic images and for the `seen` real ones."""
    return cross_fitted and replace(cross_fitted, real_probabilities=cross_fitted.real_probabilities[seen])
