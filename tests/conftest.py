"""Real images for all tests: the bundled set, cut down."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from augment.dataset.images import LabelledImages, subset_per_class
from augment.dataset.sources import read_source

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def fashion() -> LabelledImages:
    """The bundled training images: 100 of each of 10 classes, 28 px, grey."""
    return read_source("bundled:fashion").train


@pytest.fixture(scope="session")
def shoes(fashion: LabelledImages) -> LabelledImages:
    """Three classes of unequal size, 12 px: sandal 9, sneaker 6, ankle-boot 4 images."""
    source = read_source("bundled:fashion", image_size=12).train
    names = ("sandal", "sneaker", "ankle-boot")
    members = [np.flatnonzero(source.labels == source.class_names.index(name)) for name in names]
    picked = [indices[:count] for indices, count in zip(members, (9, 6, 4), strict=True)]
    labels = np.repeat(np.arange(3), [len(p) for p in picked])
    return LabelledImages(source.images[np.concatenate(picked)], labels, names)


@pytest.fixture(scope="session")
def four(fashion: LabelledImages) -> LabelledImages:
    """100 real images of each of four classes."""
    names = ("t-shirt", "trouser", "sandal", "bag")
    members = [np.flatnonzero(fashion.labels == fashion.class_names.index(name)) for name in names]
    return LabelledImages(fashion.images[np.concatenate(members)], np.repeat(np.arange(4), 100), names)


@pytest.fixture(scope="session")
def image_folder(fashion: LabelledImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: train/ and test/ above three class folders of PNG files, 12 and 6 images a class."""
    from PIL import Image

    root = tmp_path_factory.mktemp("source")
    some = subset_per_class(fashion, 18, seed=3)
    for k in (1, 5, 9):
        for i, image in enumerate(some.images[some.labels == k]):
            folder = root / ("train" if i < 12 else "test") / some.class_names[k]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0]).save(folder / f"{i}.png")
    return root


@pytest.fixture(scope="session")
def pipeline(image_folder: Path) -> Callable[..., Any]:
    """The tiny pipeline on the user's folder, with some keys of its sections changed."""
    from tiny_pipeline import pipeline_on

    return partial(pipeline_on, image_folder)


@pytest.fixture(scope="session")
def done(pipeline: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished folder of the tiny pipeline, to be read only."""
    from pipelines.runner import run

    folder = tmp_path_factory.mktemp("done") / "out"
    run(pipeline(), folder)
    return folder


@pytest.fixture
def out(done: Path, tmp_path: Path) -> Path:
    """A finished folder of the tiny pipeline."""
    return Path(shutil.copytree(done, tmp_path / "out"))
