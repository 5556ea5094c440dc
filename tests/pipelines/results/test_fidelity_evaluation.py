"""Fidelity figures of real images that stand in for synthetic ones, some of them spoilt on purpose."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stand_ins import CONFIG, CPU, NAMES, OF_CLASSES, RECORDS, SMALL, fold_of, measure, measure_all, part, record
from torchvision.models import inception_v3

from augment.dataset.images import LabelledImages, subset_per_class
from augment.errors import ConfigError
from augment.fidelity import Features, density_coverage, kid, precision_recall
from augment.generators.sampling import SyntheticImages
from pipelines.config.reading import parse
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.folds import Fold
from pipelines.experiment.planning import plan_trainings
from pipelines.results import fidelity_evaluation as quality
from pipelines.results.fidelity_evaluation import compared_images, measure_fidelity


@pytest.fixture(scope="module")
def honest(four: LabelledImages) -> Fold:
    """30 training, 30 test and 40 "synthetic" images of each class, all different and all real."""
    return fold_of(part(four, 0, 30), part(four, 30, 60), part(four, 60, 100))


def spoilt(fold: Fold, places: Any, images: Any = None, labels: Any = None) -> Fold:
    """The fold with other pixels or labels at some places of its synthetic images."""
    assert fold.synthetic is not None
    synthetic = fold.synthetic.data
    pixels, classes = synthetic.images.copy(), synthetic.labels.copy()
    if images is not None:
        pixels[places] = images
    if labels is not None:
        classes[places] = labels
    return replace(fold, synthetic=SyntheticImages(LabelledImages(pixels, classes, synthetic.class_names)))


@pytest.fixture(scope="module")
def of_honest(honest: Fold) -> dict[str, Any]:
    return measure(honest)


def test_figures_are_those_that_readers_rely_on(of_honest: dict[str, Any]) -> None:
    assert list(of_honest) == [
        *("features", "test_images", "synthetic_images", "kid", "kid_std", "kid_subset_size", "fid"),
        *("precision", "recall", "density", "coverage", "gan_train_accuracy", "gan_test_accuracy"),
        *("memorised_fraction", "memorised_by_chance", "per_class", "cautions"),
    ]
    assert list(of_honest["per_class"]) == [*OF_CLASSES, "spread", "distinctness", "gan_train", "gan_test"]
    assert all(list(of_class) == list(NAMES) for of_class in of_honest["per_class"].values())
    assert json.loads(json.dumps(of_honest, allow_nan=False)) == of_honest
    sizes = {"features": "own classifier", "test_images": 120, "synthetic_images": 160, "kid_subset_size": 60}
    assert of_honest.items() >= sizes.items()


def test_unseen_real_images_are_as_good_as_real(of_honest: dict[str, Any]) -> None:
    assert abs(of_honest["kid"]) < of_honest["kid_std"]
    assert of_honest["gan_test_accuracy"] > 0.8
    assert min(of_honest[figure] for figure in ("precision", "recall", "density", "coverage")) > 0.6
    assert of_honest["memorised_fraction"] < 0.06
    assert of_honest["memorised_by_chance"] == pytest.approx((1 + 1.19) / 121)


def pixels(_: object, data: LabelledImages, __: object) -> Features:
    """Means over 4 x 4 px in place of a network's features."""
    return data.images.reshape(len(data), 7, 4, 7, 4).mean((2, 4)).reshape(len(data), 49) / 255


def test_figures_are_of_real_and_synthetic_features_in_that_order(
    honest: Fold, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert honest.synthetic is not None
    dark = LabelledImages(honest.synthetic.data.images // 2, honest.synthetic.data.labels, NAMES)
    made = subset_per_class(dark, 20, seed=0)
    fold = replace(honest, synthetic=SyntheticImages(made))
    monkeypatch.setattr(quality, "embed", pixels)
    metrics = measure(fold)
    unit = np.mean(pixels(None, honest.train, None) ** 2) ** 0.5
    real_f, made_f = (pixels(None, data, None) / unit for data in (honest.test, made))

    def expected(real: Features, synthetic: Features) -> list[float]:
        assert precision_recall(real, synthetic) != precision_recall(synthetic, real)
        shares = (*precision_recall(real, synthetic), *density_coverage(real, synthetic))
        return [pytest.approx(v) for v in (kid(real, synthetic).mean, *shares)]

    assert [metrics[key] for key in OF_CLASSES] == expected(real_f, made_f)
    for k, name in enumerate(NAMES):
        of_class = [metrics["per_class"][key][name] for key in OF_CLASSES]
        assert of_class == expected(real_f[honest.test.labels == k], made_f[made.labels == k])


def test_a_collapsed_class_shows(honest: Fold, of_honest: dict[str, Any]) -> None:
    assert honest.synthetic is not None
    synthetic = honest.synthetic.data
    trousers = np.flatnonzero(synthetic.labels == 1)
    collapsed = spoilt(honest, trousers, images=synthetic.images[trousers[0]])
    before, after = of_honest["per_class"], measure(collapsed)["per_class"]
    assert after["recall"]["trouser"] < 0.1 < before["recall"]["trouser"]
    assert after["coverage"]["trouser"] < 0.5 < before["coverage"]["trouser"]
    assert after["kid"]["trouser"] > 5 * max(before["kid"].values())
    for name in ("t-shirt", "sandal", "bag"):  # which are as they were
        assert {key: after[key][name] for key in OF_CLASSES} == {key: before[key][name] for key in OF_CLASSES}


@pytest.mark.parametrize(
    ("different", "named"),
    [(1, "are nearly identical (mode collapse)"), (3, "repeat a few pictures with small changes")],
)
def test_a_class_of_20_images_that_repeats_itself_is_named(different: int, named: str, honest: Fold) -> None:
    """It repeats one image or three, each with the noise of a camera; the other classes are real and varied."""
    assert honest.synthetic is not None
    synthetic = honest.synthetic.data
    some = fold_of(honest.train, part(honest.test, 0, 20), part(synthetic, 0, 20))
    assert not any("1 of 4 classes" in caution for caution in measure(some)["cautions"])
    sandals = np.flatnonzero(part(synthetic, 0, 20).labels == 2)
    noise = np.random.default_rng(0).normal(0, 4, (20, 1, 28, 28))
    repeated = np.clip(synthetic.images[80 + np.arange(20) % different] + noise, 0, 255).astype(np.uint8)
    metrics = measure(spoilt(some, sandals, images=repeated))
    distinct = metrics["per_class"]["distinctness"]
    assert distinct["sandal"] < 0.25 < 0.7 < min(value for name, value in distinct.items() if name != "sandal")
    (repeats,) = [caution for caution in metrics["cautions"] if "1 of 4 classes" in caution]
    assert repeats.startswith(f"the synthetic images of 1 of 4 classes {named}: sandal (")


def test_synthetic_images_that_teach_nothing_are_named(honest: Fold) -> None:
    useful = [record(0.6, [0.3, 0.5, 0.9, 0.7])]
    assert not any("chance" in caution for caution in measure(honest, useful)["cautions"])
    useless = [record(0.27, [0.1, 0.5, 0.28, 0.2])]
    (caution,) = [caution for caution in measure(honest, useless)["cautions"] if "not better than chance" in caution]
    assert "(GAN-train, mean recall 27.0%; chance 25.0%)" in caution


def test_gan_test_knows_images_of_the_wrong_class(honest: Fold, of_honest: dict[str, Any]) -> None:
    assert honest.synthetic is not None
    synthetic = honest.synthetic.data
    sandals = np.flatnonzero(synthetic.labels == 2)
    metrics = measure(spoilt(honest, sandals, images=synthetic.images[synthetic.labels == 3]))
    recall = metrics["per_class"]["gan_test"]
    assert recall["sandal"] < 0.2
    assert {**recall, "sandal": None} == {**of_honest["per_class"]["gan_test"], "sandal": None}
    assert metrics["gan_test_accuracy"] == pytest.approx(np.mean(list(recall.values())))


def test_gan_train_is_the_mean_of_its_records(of_honest: dict[str, Any]) -> None:
    assert of_honest["gan_train_accuracy"] == pytest.approx(0.6)
    expected = {"t-shirt": pytest.approx(0.2), "trouser": pytest.approx(0.4), "sandal": None, "bag": 0.5}
    assert of_honest["per_class"]["gan_train"] == expected


def test_a_class_with_too_few_images_has_no_figures(honest: Fold) -> None:
    assert honest.synthetic is not None
    labels = honest.synthetic.data.labels
    places = [np.flatnonzero(labels == k)[:count] for k, count in enumerate((40, 6, 5, 0))]
    metrics = measure(replace(honest, synthetic=honest.synthetic.take(np.concatenate(places))))
    for key in OF_CLASSES:
        missing = [name for name, value in metrics["per_class"][key].items() if value is None]
        assert missing == ["sandal", "bag"]
    gan_test = metrics["per_class"]["gan_test"]
    assert gan_test["bag"] is None
    assert gan_test["sandal"] is not None
    assert metrics["per_class_note"].endswith("6 synthetic images of this class; 2 of 4 classes have fewer")
    assert "fid" not in metrics
    assert "FID needs 64 images of each kind" in metrics["fid_note"]
    assert "got 120 real and 51 synthetic ones (at most 2,000 of each are compared)" in metrics["fid_note"]
    json.dumps(metrics, allow_nan=False)


def test_copies_of_training_images_are_found_and_their_originals_named(honest: Fold) -> None:
    assert honest.synthetic is not None
    copied = spoilt(honest, slice(0, 8), images=honest.train.images[:8])
    found = measure_fidelity(copied, CONFIG, CPU)
    assert found.metrics["memorised_fraction"] >= 8 / 160
    copies, others = found.closest[:8], found.closest[8:]
    assert sorted((pair.synthetic, pair.train) for pair in copies) == [(i, i) for i in range(8)]
    assert np.array_equal(compared_images(copied).images[:8], honest.train.images[:8])
    assert max(pair.distance for pair in copies) < 1e-5 < min(pair.distance for pair in others)


def test_no_more_images_are_compared_than_the_limit(honest: Fold, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "MAX_IMAGES", 50)
    found, compared = measure_fidelity(honest, CONFIG, CPU), compared_images(honest)
    assert (found.metrics["test_images"], found.metrics["synthetic_images"], len(compared)) == (50, 50, 50)
    assert max(pair.synthetic for pair in found.closest) < 50
    assert set(compared.labels) == {0, 1, 2, 3}  # drawn from all over


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_is_measured_without_two_images_of_each_kind(count: int, honest: Fold) -> None:
    assert honest.synthetic is not None
    single = honest.synthetic.take(np.arange(count))
    for changed in ({"synthetic": None}, {"synthetic": single}, {"test": single.data}):
        assert measure_all([replace(honest, **changed)], CONFIG, RECORDS) == {}


def test_two_images_of_each_kind_have_figures(honest: Fold) -> None:
    assert honest.synthetic is not None
    tiny = fold_of(honest.train, honest.test.take(np.arange(2)), honest.synthetic.data.take(np.arange(2)))
    metrics = measure(tiny)
    json.dumps(metrics, allow_nan=False)
    assert None not in [value for key, value in metrics.items() if key != "per_class"]


def test_inception_takes_the_place_of_the_own_features(four: LabelledImages, tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.save(inception_v3(weights=None, init_weights=False).state_dict(), tmp_path / "weights.pth")
    config = parse(EvaluateConfig, {**SMALL, "inception": str(tmp_path / "weights.pth")}, "the test")
    fold = fold_of(part(four, 0, 2), part(four, 2, 3), part(four, 4, 5))
    metrics = measure_all([fold], config, RECORDS)
    assert metrics["features"] == "inception"
    assert "FID needs 4,096 images of each kind, 2 for each of the 2,048 features" in metrics["fid_note"]
    own = measure(fold)
    assert metrics["kid"] != own["kid"]
    assert metrics["gan_test_accuracy"] == own["gan_test_accuracy"]  # a classifier's of its own in any case


def test_inception_weights_are_looked_at_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "noise.pth").write_bytes(b"noise")
    os.mkfifo(tmp_path / "pipe.pth")
    for name in ("none.pth", 5000 * "a", "noise.pth", "pipe.pth"):
        config = parse(EvaluateConfig, {**SMALL, "inception": str(tmp_path / name)}, "the test")
        with pytest.raises(ConfigError, match=rf"{name[:9]}.*: expected a state dict of torchvision.* cannot be read"):
            plan_trainings(config, [])
