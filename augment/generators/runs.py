"""RUN folders: the output of `augment fit`, and the checks that decide whether a run can be continued.

config.yaml            settings under `generator:`, versions and the fingerprint of the data, for people to read
log.jsonl              one line per logged step: the step, the losses by name, images_per_second
samples/step-*.png     one row per class, always from the same noise
checkpoints/           the last two
model.safetensors      everything that sampling needs; written when the run is finished

Each checkpoint and the model contain the settings and the fingerprint of the data. These are compared when the file is
read, so that a file of another run is never used by mistake.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
import yaml
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from augment.dataset.images import LabelledImages
from augment.errors import OutputError, SourceError
from augment.fields import Settings
from augment.identity import Identity
from augment.markers import read_marker
from augment.output_folders import OutputFolder, Replace, open_output
from augment.runtime import Observer, Task
from augment.tensor_files import check_finite, dump_tensors, load_metadata, load_tensors
from augment.versions import versions

CONFIG, LOG, MODEL = "config.yaml", "log.jsonl", "model.safetensors"
IMAGES, UNLABELLED = "training images", "unlabelled images"
CHECKPOINTS_KEPT = 2
CHANGEABLE_SETTINGS = {"steps", "log_every", "sample_every", "checkpoint_every"}  # a continued run may change them


class LogLine(BaseModel):
    """A line of log.jsonl: the step and metrics by name, such as losses, averaged since the previous line."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, float]

    step: int = Field(ge=0)
    images_per_second: float | None = None

    @property
    def losses(self) -> dict[str, float]:
        """The metrics without the speed."""
        return dict(self.__pydantic_extra__)


class GeneratorMetadata(BaseModel):
    """The metadata inside model.safetensors, common to all kinds of generators."""

    model_config = ConfigDict(extra="ignore")

    kind: str = "cgan"
    identity: dict[str, Any]
    classes: tuple[str, ...]
    train_per_class: dict[str, int]
    name: str  # of the source
    origin: tuple[str, ...] = ()  # command line arguments that read the source, as the user gave them
    tested: bool = False  # whether the source has test images
    unlabelled: int = Field(0, ge=0)  # images without labels that it has learnt from too
    step: int = Field(ge=0)
    threads: int = Field(ge=1)  # used for fitting; results depend on it, through rounding

    @model_validator(mode="after")
    def _classes_agree(self) -> Self:
        if set(self.train_per_class) != set(self.classes):
            raise ValueError("the classes and their counts do not agree")
        return self


A = TypeVar("A", bound=GeneratorMetadata)


@dataclass(frozen=True)
class Run:
    """A RUN folder that is open for fitting, with the identity of the run. config_text: the text of config.yaml."""

    output: OutputFolder
    identity: Identity
    config_text: str

    @property
    def model(self) -> Path:
        """Path of the finished model, which may not exist yet."""
        return self.output.path / MODEL

    def begin(self) -> None:
        """Mark the run as unfinished and write its settings, before it is fitted or continued."""
        self.output.reopen()
        self.output.write(CONFIG, self.config_text)

    def finished_step(self) -> int | None:
        """Return the training step of the finished model, or None if there is no model or if it is damaged."""
        if MODEL not in self.output.files or not self.model.exists():
            return None
        try:
            return read_model(self.output.path, GeneratorMetadata)[1].step
        except SourceError:
            return None

    def save_model(self, tensors: Mapping[str, Tensor], metadata: GeneratorMetadata) -> None:
        """Write the finished model and mark the run as finished."""
        self.output.write(MODEL, dump_tensors(tensors, metadata))
        self.output.finish()

    def checkpoints(self) -> list[Path]:
        """Return the paths of the checkpoints of this run, newest first."""
        names = [name for name in self.output.files if name.startswith("checkpoints/")]
        return [path for name in sorted(names, reverse=True) if (path := self.output.path / name).exists()]

    def newest_step(self) -> int:
        """Return the step of the newest checkpoint, or 0 if there is none."""
        return max((int(path.stem.removeprefix("step-")) for path in self.checkpoints()), default=0)

    def save_checkpoint(self, step: int, content: bytes) -> None:
        """Write the checkpoint of `step`, then delete all but the newest `CHECKPOINTS_KEPT`."""
        self.output.write(f"checkpoints/step-{step:08d}.safetensors", content)
        for old in self.checkpoints()[CHECKPOINTS_KEPT:]:
            self.output.delete(f"checkpoints/{old.name}")

    def save_picture(self, step: int, picture: Image.Image) -> None:
        """Write a sample grid as PNG."""
        content = io.BytesIO()
        picture.save(content, format="PNG")
        self.output.write(f"samples/step-{step:08d}.png", content.getvalue(), durable=False)


@dataclass(frozen=True)
class RunLog(Observer):
    """An observer that writes log.jsonl of an open run."""

    output: OutputFolder

    def on_progress(self, task: Task, done: int, metrics: Mapping[str, float], label: str = "") -> None:
        """Append one line."""
        self.output.append(LOG, json.dumps({"step": done, **metrics}) + "\n")

    def truncate(self, step: int) -> None:
        """Delete the lines after `step`, because a continued run repeats these steps."""
        kept = [line for line in read_log(self.output.path) if line.step <= step]
        self.output.write(LOG, "".join(line.model_dump_json(exclude_none=True) + "\n" for line in kept))


@contextmanager
def open_run(
    folder: Path,
    config: Settings,
    data: LabelledImages,
    name: str,
    unlabelled: LabelledImages | None = None,
    *,
    overwrite: bool,
    replace: Replace,
) -> Iterator[Run]:
    """Lock `folder` while a new or a continued run fits `config` to `data`.

    name: that of the source. unlabelled: further images that are learnt from. overwrite, replace: see `open_output`.
    Raises `OutputError` if the folder holds a run with other settings, which are named, or something else.
    """
    identity = run_identity(config, data, unlabelled)
    files = (CONFIG, LOG, MODEL)
    with open_output(folder, "fit", identity, files=files, overwrite=overwrite, replace=replace) as output:
        settings = _describe(config, data, name, identity)
        yield Run(output, identity, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))


def run_identity(config: Settings, data: LabelledImages, unlabelled: LabelledImages | None = None) -> Identity:
    """Return the identity of a run: its settings and the fingerprints of its data."""
    changeable = {f"generator.{key}" for key in CHANGEABLE_SETTINGS}
    fingerprints = {IMAGES: data.fingerprint}
    if unlabelled is not None:
        fingerprints[UNLABELLED] = unlabelled.fingerprint
    return Identity({"generator": config}, fingerprints, changeable)


def read_log(folder: Path) -> list[LogLine]:
    """Return the lines of log.jsonl. Damaged lines, such as one that a kill interrupted, are left out."""
    path = folder / LOG
    lines = []
    for line in path.read_bytes().splitlines() if path.is_file() and not path.is_symlink() else ():
        try:
            lines.append(LogLine.model_validate_json(line))
        except ValidationError:
            continue
    return lines


def read_metadata(folder: Path) -> GeneratorMetadata:
    """Return the metadata of a finished run without its weights. Raises `SourceError` if there is no such run."""
    return load_metadata(_model_file(folder), GeneratorMetadata)


def read_model(folder: Path, model: type[A]) -> tuple[dict[str, Tensor], A]:
    """Return the tensors and the metadata of a finished run.

    Raises `SourceError` if there is none, if it is damaged, or if the folder belongs to a newer run with other
    settings.
    """
    path = _model_file(folder)
    tensors, metadata = load_tensors(path, model)
    marker = read_marker(folder)
    if marker is not None and marker.identity != metadata.identity:
        raise SourceError(
            f"{path} is from another run than the one that {folder} records; run `augment fit` again with --overwrite"
        )
    check_finite(tensors, path)
    return tensors, metadata


def _model_file(folder: Path) -> Path:
    """Return the path of the model in a finished RUN folder. Raises `SourceError` if it is no such folder."""
    path = folder / MODEL
    try:
        marker = read_marker(folder)
    except OutputError as error:
        raise SourceError(str(error)) from error
    if marker is None and not path.exists():
        raise SourceError(f"{folder} is not a RUN folder: expected one that `augment fit` has written")
    if marker is not None and marker.command != "fit":
        raise SourceError(f"{folder} is not a RUN folder: it holds the output of `augment {marker.command}`")
    if not path.exists() or (marker is not None and MODEL in marker.replaced):
        raise SourceError(f"{folder} is not finished; `augment fit` with --out {folder} continues it")
    return path


def unfinished_notes(folder: Path, metadata: GeneratorMetadata) -> tuple[str, ...]:
    """Return a note if a RUN folder holds a model, and a later fit that has not finished. metadata: of the model."""
    marker = read_marker(folder)
    if marker is None or marker.finished:
        return ()
    return (
        f"the model in {folder} is of step {metadata.step:,}, and a longer fit has not finished; `augment fit` with "
        f"--out {folder} continues it",
    )


def _describe(config: Settings, data: LabelledImages, name: str, identity: Identity) -> dict[str, Any]:
    return {
        "generator": config.model_dump(mode="json"),
        "data": {
            "name": name,
            "fingerprint": identity.data[IMAGES],
            "image_size": data.size,
            "channels": data.channels,
            "train_per_class": data.per_class(),
        },
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }
