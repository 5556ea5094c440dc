"""MODEL folders: the output of `augment train`, and the reading of a model for `predict` and `export`.

model.safetensors   the weights of all members, with the metadata and a checksum; all that prediction needs
model.json          the same metadata, for people and for other programs
README.md           the model card
suspect-labels.csv  the images whose labels look wrong, if they were checked
gan/, synthetic/    the generator and its stored images, if the recipe has them
parts/              what has been trained so far; deleted when the model is finished

No file is a pickle, so a model of somebody else cannot execute code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from torch import Tensor, nn

from augment.dataset.images import HASH_DIGITS, Resize, check_size
from augment.errors import SourceError
from augment.markers import read_marker
from augment.output_folders import OutputFolder
from augment.tensor_files import check_finite, check_matches, dump_tensors, load_tensors
from classifiers.ensemble import Ensemble
from classifiers.features import build_pretrained
from classifiers.long_tail import LONG_TAIL
from classifiers.networks import build
from pipelines.model.recipe import Recipe

N = TypeVar("N", bound=nn.Module)
MAX_MEMBERS = 100
WEIGHTS, METADATA, CARD = "model.safetensors", "model.json", "README.md"


class CrossValidation(BaseModel):
    """The metrics of ensembles on images that they had not seen, by the names of `classifiers.metrics`.

    before: as trained. after: with the temperature and the operating point, which were fitted on the same predictions.
    confusion: K x K counts of the images after that; rows are labels. None in models of an earlier version.
    """

    model_config = ConfigDict(frozen=True)

    images: int
    before: dict[str, float]
    after: dict[str, float]
    confusion: list[list[int]] | None = None

    def recognised(self, classes: Sequence[str]) -> dict[str, str]:
        """Return how many of the images of each class were classified correctly, such as "4 of 6"."""
        rows = enumerate(self.confusion or [])
        return {classes[k]: f"{row[k]:,} of {sum(row):,}" for k, row in rows}


class ClassifierMetadata(BaseModel):
    """The metadata of a model."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[1] = 1
    classes: tuple[str, ...] = Field(min_length=2)
    image_size: Annotated[int, AfterValidator(check_size)]  # px; height and width
    channels: int = Field(ge=1, le=4)
    resize: Resize  # how pictures that are not square become square
    members: int = Field(ge=1, le=MAX_MEMBERS)
    temperature: float = Field(gt=0)
    recipe: Recipe
    differs_from_run: tuple[str, ...] = ()  # how the trainings of the run differ from that of the model
    source: str  # the name of the source
    train_per_class: dict[str, int]
    fingerprint: str  # of the training images
    cross_validation: CrossValidation | None  # None if no image could be left out
    trained_on: str = ""  # `image_hashes` of the training images, one after the other
    suspect_labels: int | None = None  # labels that look wrong; None if they were not checked
    versions: dict[str, str]

    def training_hashes(self) -> set[str]:
        """Return the hashes of the training images; the set is empty for a model of an earlier version."""
        return {self.trained_on[i : i + HASH_DIGITS] for i in range(0, len(self.trained_on), HASH_DIGITS)}


@dataclass(frozen=True)
class SavedModel:
    """A model with its metadata. network: an `Ensemble` in eval mode on its device."""

    network: Ensemble
    metadata: ClassifierMetadata


def new_member(num_classes: int, channels: int, image_size: int, recipe: Recipe) -> nn.Module:
    """Return a classifier of the recipe's kind on the device "meta", without any values; `restored` gives it some."""
    arm, evaluate = recipe.arm, recipe.evaluate
    with torch.device("meta"):
        if arm.learner != "network":
            return build_pretrained(evaluate.features, num_classes)
        config = evaluate.classifier_of(arm)
        head = LONG_TAIL[config.long_tail].head
        return build(config.network, num_classes, channels, image_size, config.width, seed=0, head=head)


def restored(network: N, tensors: Mapping[str, Tensor]) -> N:
    """Return a network without values in eval mode on the CPU, with the values of `tensors`.

    Raises `SourceError`, before any memory is used, if they do not fit.
    """
    check_matches(network, tensors)
    network = network.to_empty(device="cpu").to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.load_state_dict(dict(tensors), strict=True)
    return network.eval()


def save_model(output: OutputFolder, network: Ensemble, metadata: ClassifierMetadata, card: str) -> None:
    """Write the files of a finished model."""
    output.write(WEIGHTS, dump_tensors(network.state_dict(), metadata))
    output.write(METADATA, metadata.model_dump_json(indent=1) + "\n")
    output.write(CARD, card)


def load_model(folder: Path, device: torch.device) -> SavedModel:
    """Load the model of a MODEL folder. Raises `SourceError` if it is damaged, or of another version."""
    path = folder / WEIGHTS
    if (marker := read_marker(folder)) is not None and marker.command != "train":
        raise SourceError(f"{folder} is no MODEL folder: it holds the output of `augment {marker.command}`")
    if not path.exists():
        raise SourceError(f"{folder} holds no finished model: expected {WEIGHTS}, which `augment train` writes")
    tensors, metadata = load_tensors(path, ClassifierMetadata)
    check_finite(tensors, path)
    shape = len(metadata.classes), metadata.channels, metadata.image_size
    with torch.device("meta"):
        network = Ensemble(
            [new_member(*shape, metadata.recipe) for _ in range(metadata.members)], len(metadata.classes)
        )
    return SavedModel(restored(network, tensors).to(device).requires_grad_(False), metadata)
