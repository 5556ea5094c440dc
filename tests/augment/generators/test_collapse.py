"""A generator that draws a single picture is noted, and no other one."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from fitting import TINY, fit
from PIL import Image

from augment.dataset.images import LabelledImages
from augment.errors import DivergedError
from augment.generators.collapse import COLLAPSED_SPREAD, collapse_notes, constant_classes, notes_on_run, spread


def as_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    content = io.BytesIO()
    Image.fromarray(image[0]).save(content, format="JPEG", quality=quality)
    with Image.open(content) as picture:
        return np.asarray(picture)[None]


def test_the_spread_is_the_deviation_from_the_mean_picture(fashion: LabelledImages) -> None:
    some = fashion.images[fashion.labels == 3]
    deviation = some.astype(float) - some.mean(0)
    assert spread(some) == pytest.approx(np.sqrt(np.square(deviation).mean()))
    assert spread(np.repeat(some[:1], 600, axis=0)) == pytest.approx(0, abs=1e-3)


def test_the_limit_lies_between_what_jpeg_changes_and_real_classes(fashion: LabelledImages) -> None:
    changed = [as_jpeg(image, 95).astype(float) - image for image in fashion.images[::10]]
    assert max(np.sqrt(np.square(d).mean()) for d in changed) < COLLAPSED_SPREAD
    assert min(spread(fashion.images[fashion.labels == k]) for k in range(10)) > 20 * COLLAPSED_SPREAD


def test_classes_of_one_picture_are_found_and_single_images_are_not(fashion: LabelledImages) -> None:
    images, labels = fashion.images.copy(), fashion.labels
    images[labels == 2] = images[labels == 2][0]
    images[labels == 7] = [as_jpeg(images[labels == 7][0], 90 + i % 9) for i in range(100)]
    kept = np.flatnonzero((labels != 5) | (np.arange(len(labels)) == np.flatnonzero(labels == 5)[0]))
    assert constant_classes(images[kept], labels[kept]) == (2, 7)
    (note,) = collapse_notes(LabelledImages(images[kept], labels[kept], fashion.class_names))
    assert note.startswith(f"all generated images of 2 classes look the same ({fashion.class_names[2]!r}, ")


def test_images_alike_over_all_classes_are_noted(fashion: LabelledImages) -> None:
    one = LabelledImages(np.repeat(fashion.images[:1], 20, axis=0), np.arange(20) % 10, fashion.class_names)
    assert collapse_notes(one)[0].startswith("all 20 generated images look the same: ")
    assert collapse_notes(fashion) == collapse_notes(fashion.take(np.arange(1))) == ()


@pytest.mark.parametrize(("rate", "collapsed"), [(10.0, True), (2e-4, False)])
def test_a_run_at_absurd_rates_has_collapsed(
    rate: float, collapsed: bool, shoes: LabelledImages, tmp_path: Path
) -> None:
    rates = {"lr_generator": rate, "lr_discriminator": rate}
    fit(shoes, TINY.model_copy(update={"steps": 30, **rates}), tmp_path)
    assert bool(notes_on_run(tmp_path, torch.device("cpu"))) == collapsed


def test_weights_that_overflow_are_a_divergence_and_no_generator(shoes: LabelledImages, tmp_path: Path) -> None:
    wild = TINY.model_copy(update={"steps": 30, "lr_generator": 1e10})
    with pytest.raises(DivergedError, match="training diverged"):
        fit(shoes, wild, tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
