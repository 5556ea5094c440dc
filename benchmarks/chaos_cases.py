"""The commands that `chaos.py` and `hostile.py` run, their inputs, and what of their outputs can be compared."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from augment.dataset.images import subset_per_class
from augment.dataset.sources import read_source

GAN = {
    "width": 4, "latent_dim": 8, "batch_size": 8, "steps": 30, "log_every": 5, "sample_every": 10,
    "checkpoint_every": 10,
}  # fmt: skip
CLASSIFIER = {"width": 4, "steps": 4, "batch_size": 6}
EVALUATE = {"arms": ["none", "none+synthetic"], "repeats": 2, "views": 2, "classifier": CLASSIFIER}
PIPELINE = {
    "data": {"source": "source", "image_size": 12},
    "gan": GAN,
    "generate": {"per_class": 24},
    "protocol": {"kind": "kfold", "folds": 2},
    "choose": {"arm": "none+synthetic", "ratios": [0.5], "splits": 1, "repeats": 2},
    "evaluate": EVALUATE,
}
TIME_KEYS = {"seconds", "images_per_second", "checksum", "outputs"}  # times, and digests of files that contain times


@dataclass
class Case:
    """A command that runs in its own folder."""

    name: str
    command: list[str]
    before: list[list[str]] = field(default_factory=list)  # commands that run to their end first
    seconds: float = 0.0  # run time of the uninterrupted command
    changes: int = 0  # changes on the disk by the uninterrupted command
    expected: dict[str, Any] = field(default_factory=dict)  # its output


FIT = ["fit", "source", "--out", "out", "--config", "gan.yaml", "--image-size", "12", "--quiet"]
GENERATE = ["generate", "out", "--out", "images", "--per-class", "20", "--quiet"]
EVALUATION = ["evaluate", "source", "--synthetic", "images", "--out", "answer", "--config", "evaluate.yaml"]
EVALUATION += ["--image-size", "12", "--ratio", "0.5", "--quiet", "--jobs"]
TUNE = ["tune", "source", "--out", "tuned", "--trials", "3", "--splits", "1", "--config", "evaluate.yaml"]
TUNE += ["--image-size", "12", "--quiet", "--jobs", "1"]
RUN = ["run", "pipeline.yaml", "--out", "out", "--quiet", "--jobs", "1"]
CASES = [
    Case("fit", FIT),
    Case("fit further", [*FIT, "--steps", "50"], [FIT]),
    Case("fit over another run", [*FIT, "--loss", "fisher", "--overwrite"], [FIT]),
    Case("generate", GENERATE, [FIT]),
    Case("generate over others", [*GENERATE, "--seed", "3", "--overwrite"], [FIT, GENERATE]),
    Case("generate an archive", [*GENERATE, "--format", "npz"], [FIT]),
    Case("evaluate", [*EVALUATION, "1"], [FIT, GENERATE]),
    Case("evaluate in two processes", [*EVALUATION, "2"], [FIT, GENERATE]),
    Case("tune", TUNE),
    Case("run", RUN),
    Case("run with another loss", [*RUN, "--set", "gan.loss=fisher"], [RUN]),
    Case("run with another ratio", [*RUN, "--set", "choose.ratios=[0.25]"], [RUN]),
    Case("run anew", [*RUN, "--overwrite"], [RUN]),
]


def prepare(folder: Path) -> None:
    """Write a source with 3 real classes, the settings, and a folder that no command may touch."""
    pool = subset_per_class(read_source("bundled:fashion").train, 18, seed=3)
    for k in (1, 5, 9):
        for i, image in enumerate(pool.images[pool.labels == k]):
            path = folder / "source" / ("train" if i < 12 else "test") / pool.class_names[k] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0]).save(path)
    for name, tree in (("gan", GAN), ("evaluate", EVALUATE), ("pipeline", PIPELINE)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(tree))
    (folder / "bystander").mkdir()
    (folder / "bystander" / "thesis.txt").write_text("mine")


def contents(folder: Path) -> dict[str, Any]:
    """Return the content of every file, without parts that depend on time, place or where a run was interrupted."""
    result: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if not path.is_file() or path.name == ".augment.json":
            continue
        if path.suffix in (".jsonl", ".json"):
            result[name] = comparable(path)
        elif "checkpoints" not in name or path.name == max(p.name for p in path.parent.iterdir()):
            result[name] = path.read_bytes().replace(os.fsencode(folder.resolve()), b".")  # config.yaml has full paths
    return result


def comparable(path: Path) -> Any:
    """Return the sorted JSON lines of a file without times, or its bytes if it is not JSON."""
    content = path.read_bytes()
    lines = content.splitlines() if path.suffix == ".jsonl" else [content]
    try:
        return sorted(json.dumps(without_times(json.loads(line)), sort_keys=True) for line in lines)
    except (ValueError, RecursionError):
        return content


def without_times(tree: Any) -> Any:
    """Return the tree without the keys whose values differ from run to run."""
    if isinstance(tree, dict):
        return {key: without_times(value) for key, value in tree.items() if key not in TIME_KEYS}
    return tree


def outputs(folder: Path) -> dict[str, Any]:
    """Return the contents of all files but the logs of this benchmark."""
    logs = {"stdout.txt", "stderr.txt", "changes.txt"}
    return {name: content for name, content in contents(folder).items() if name not in logs}
