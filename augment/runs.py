"""RUN folders: what `augment fit` leaves behind, and what decides whether a run can be continued.

config.yaml            the settings under `gan:`, beside versions and the data's fingerprint
log.jsonl              a line a logged step
samples/step-*.png     a row a class, always from the same noise
checkpoints/           the last two
model.safetensors      the averaged generator and the discriminator, when the run is finished
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from augment.checkpoints import load_tensors
from augment.config import GanConfig
from augment.errors import OutputError, SourceError
from augment.images import LabelledImages, fingerprint
from augment.outputs import claim, holds_output_of, write_text

FILES = ("config.yaml", "log.jsonl", "samples/step-*.png", "checkpoints/step-*.safetensors", "model.safetensors")
CHECKPOINTS_KEPT = 2
FREE_TO_CHANGE = {"steps", "log_every", "sample_every", "checkpoint_every"}  # without making it another run


@dataclass(frozen=True)
class Run:
    """A claimed RUN folder."""

    folder: Path

    @property
    def model(self) -> Path:
        """The finished model; may not exist yet."""
        return self.folder / "model.safetensors"

    def model_step(self) -> int | None:
        """The step at which the finished model was taken, or None if there is none."""
        return int(load_tensors(self.model)[1]["step"]) if self.model.exists() else None

    def latest_checkpoint(self) -> Path | None:
        """The newest checkpoint, or None."""
        return max(self.folder.glob("checkpoints/step-*.safetensors"), default=None)

    def keep_checkpoint(self, step: int, save: Callable[[Path], None]) -> None:
        """Have `save` write the checkpoint of `step`, then drop all but the newest."""
        save(self.folder / "checkpoints" / f"step-{step:08d}.safetensors")
        for old in sorted(self.folder.glob("checkpoints/step-*.safetensors"))[:-CHECKPOINTS_KEPT]:
            old.unlink()

    def append_log(self, entry: Mapping[str, float]) -> None:
        """Add one line to log.jsonl."""
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def read_log(self) -> list[dict[str, Any]]:
        """All whole lines of log.jsonl; one that a crash cut short is left out."""
        path = self.folder / "log.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def cut_log(self, step: int) -> None:
        """Drop the lines after `step`: the steps that a continued run will do again."""
        kept = [json.dumps(line) + "\n" for line in self.read_log() if line["step"] <= step]
        write_text(self.folder / "log.jsonl", "".join(kept))

    def save_picture(self, step: int, picture: Image.Image) -> None:
        """Write a sample grid."""
        (self.folder / "samples").mkdir(exist_ok=True)
        picture.save(self.folder / "samples" / f"step-{step:08d}.png")

    def about(self) -> dict[str, Any]:
        """The contents of config.yaml. Raises `SourceError` if this is not a RUN folder."""
        return _read_config(self.folder)


def open_run(folder: Path, config: GanConfig, data: LabelledImages, name: str, *, overwrite: bool) -> Run:
    """Claim `folder` for training `config` on `data`, new or to be continued.

    Raises `OutputError` that names the settings if it holds a run of others, or if it holds something else.
    """
    about = _describe(config, data, name)
    if not overwrite and holds_output_of(folder, "fit") and (folder / "config.yaml").exists():
        changed = _differences(_read_config(folder), about)
        if changed:
            raise OutputError(
                f"{folder} is a run made with other settings ({'; '.join(changed)}); "
                "choose another --out, or give --overwrite to begin anew"
            )
    claim(folder, "fit", FILES, overwrite=overwrite, resume=not overwrite)
    write_text(folder / "config.yaml", yaml.safe_dump(about, sort_keys=False))
    return Run(folder)


def versions() -> dict[str, str]:
    """What the results depend on besides the settings."""
    packages = ("augment-osgan", "torch", "torchvision", "numpy", "scikit-learn", "albumentations")
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}


def _describe(config: GanConfig, data: LabelledImages, name: str) -> dict[str, Any]:
    return {
        "gan": config.model_dump(mode="json"),
        "data": {
            "name": name,
            "fingerprint": fingerprint(data),
            "image_size": data.size,
            "channels": data.channels,
            "train_per_class": data.per_class(),
        },
        "versions": versions(),
    }


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        about = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        if {"gan", "data"} <= set(about):
            return dict(about)
    except (OSError, yaml.YAMLError, TypeError):
        pass
    raise SourceError(f"{folder} is no RUN folder: expected a config.yaml written by `augment fit`")


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    was = GanConfig().model_dump(mode="json") | old["gan"]  # a setting newer than the run has its default
    keys = [key for key in new["gan"] if key not in FREE_TO_CHANGE]
    changed = [f"{key}: {was[key]}, now {new['gan'][key]}" for key in keys if was[key] != new["gan"][key]]
    changed += [f"{key}: {value}, unknown to this version" for key, value in was.items() if key not in new["gan"]]
    if old["data"]["fingerprint"] != new["data"]["fingerprint"]:
        changed.append(f"data: {old['data']['name']}, now {new['data']['name']} with other images")
    return changed
