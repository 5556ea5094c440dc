"""Fidelity figures of real images that stand in for synthetic ones, some of them spoilt on purpose."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models import inception_v3

from augment.dataset.images import LabelledImages, subset_per_class
from augment.errors import ConfigError
from augment.fidelity import Features, density_coverage, kid, precision_recall
from pipelines.config.reading import parse
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.arms import Materials
from pipelines.results import fidelity_evaluation as quality
from pipelines.results.fidelity_evaluation import Fidelity, fidelity_calls, mean_fidelity

CPU = torch.device("cpu")
SMALL = {"views": 4, "classifier": {"width": 8, "steps": 80, "batch_size": 32}}
CONFIG = parse(EvaluateConfig, SMALL, "the test")
NAMES = ("t-shirt", "trouser", "sandal", "bag")
OF_CLASSES = ("kid", "precision", "recall", "density", "coverage")


def record(accuracy: float, recall: list[float | None], arm: str = "gan-train", fold: str = "") -> dict[str, Any]:
    return {"arm": arm, "fold": fold, "accuracy": accuracy, "per_class_recall": recall}


RECORDS = [
    record(0.5, [0.1, 0.2, None, 0.4]),
    record(0.7, [0.3, 0.6, None, 0.6]),
    record(0.9, [1.0, 1.0, 1.0, 1.0], arm="synthetic"),
]


def part(source: LabelledImages, first: int, last: int) -> LabelledImages:
    """Images `first` to `last` of each class of a set of four classes."""
    places = [np.flatnonzero(source.labels == k)[first:last] for k in range(4)]
    return source.take(np.concatenate(places))


@pytest.fixture(scope="module")
def four(fashion: LabelledImages) -> LabelledImages:
    """100 real images of each of four classes."""
    members = [np.flatnonzero(fashion.labels == fashion.class_names.index(name)) for name in NAMES]
    return LabelledImages(fashion.images[np.concatenate(members)], np.repeat(np.arange(4), 100), NAMES)


@pytest.fixture(scope="module")
def honest(four: LabelledImages) -> Materials:
    """30 training, 30 test and 40 "synthetic" images of each class, all different and all real."""
    return Materials(part(four, 0, 30), part(four, 30, 60), part(four, 60, 100))


def measure(materials: Materials, records: list[dict[str, Any]] = RECORDS) -> Fidelity:
    found = measure_all([materials], CONFIG, records)
    assert found is not None
    return found


def measure_all(folds: list[Materials], config: EvaluateConfig, records: list[dict[str, Any]]) -> Fidelity | None:
    return mean_fidelity([call(*arguments) for call, arguments in fidelity_calls(folds, config, CPU)], records)


def spoilt(materials: Materials, places: Any, images: Any = None, labels: Any = None) -> Materials:
    """With other pixels or labels at some places of the synthetic images."""
    synthetic = materials.synthetic
    assert synthetic is not None
    pixels, classes = synthetic.images.copy(), synthetic.labels.copy()
    if images is not None:
        pixels[places] = images
    if labels is not None:
        classes[places] = labels
    return replace(materials, synthetic=LabelledImages(pixels, classes, synthetic.class_names))


@pytest.fixture(scope="module")
def of_honest(honest: Materials) -> dict[str, Any]:
    return measure(honest).figures


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
    honest: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert honest.synthetic is not None
    dark = LabelledImages(honest.synthetic.images // 2, honest.synthetic.labels, NAMES)
    materials = replace(honest, synthetic=(made := subset_per_class(dark, 20, seed=0)))
    monkeypatch.setattr(quality, "embed", pixels)
    figures = measure(materials).figures
    unit = np.mean(pixels(None, honest.train, None) ** 2) ** 0.5
    real_f, made_f = (pixels(None, data, None) / unit for data in (honest.test, made))

    def expected(real: Features, synthetic: Features) -> list[float]:
        assert precision_recall(real, synthetic) != precision_recall(synthetic, real)
        shares = (*precision_recall(real, synthetic), *density_coverage(real, synthetic))
        return [pytest.approx(v) for v in (kid(real, synthetic).mean, *shares)]

    assert [figures[key] for key in OF_CLASSES] == expected(real_f, made_f)
    for k, name in enumerate(NAMES):
        of_class = [figures["per_class"][key][name] for key in OF_CLASSES]
        assert of_class == expected(real_f[honest.test.labels == k], made_f[made.labels == k])


def test_a_collapsed_class_shows(honest: Materials, of_honest: dict[str, Any]) -> None:
    assert honest.synthetic is not None
    trousers = np.flatnonzero(honest.synthetic.labels == 1)
    collapsed = spoilt(honest, trousers, images=honest.synthetic.images[trousers[0]])
    before, after = of_honest["per_class"], measure(collapsed).figures["per_class"]
    assert after["recall"]["trouser"] < 0.1 < before["recall"]["trouser"]
    assert after["coverage"]["trouser"] < 0.5 < before["coverage"]["trouser"]
    assert after["kid"]["trouser"] > 5 * max(before["kid"].values())
    for name in ("t-shirt", "sandal", "bag"):  # which are as they were
        assert {key: after[key][name] for key in OF_CLASSES} == {key: before[key][name] for key in OF_CLASSES}


@pytest.mark.parametrize("different", [1, 3])
def test_a_class_of_20_images_that_has_collapsed_is_named(different: int, honest: Materials) -> None:
    """To one image or to three, each with the noise of a camera; the other classes are real and varied."""
    assert honest.synthetic is not None
    some = replace(honest, synthetic=part(honest.synthetic, 0, 20), test=part(honest.test, 0, 20))
    assert not any("collapsed" in caution for caution in measure(some).figures["cautions"])
    sandals = np.flatnonzero(part(honest.synthetic, 0, 20).labels == 2)
    noise = np.random.default_rng(0).normal(0, 4, (20, 1, 28, 28))
    repeated = np.clip(honest.synthetic.images[80 + np.arange(20) % different] + noise, 0, 255).astype(np.uint8)
    figures = measure(spoilt(some, sandals, images=repeated)).figures
    distinct = figures["per_class"]["distinctness"]
    assert distinct["sandal"] < 0.25 < 0.7 < min(value for name, value in distinct.items() if name != "sandal")
    (collapsed,) = [caution for caution in figures["cautions"] if "collapsed" in caution]
    assert collapsed.startswith(
        "the synthetic images of 1 of 4 classes have collapsed, they are nearly alike: sandal ("
    )


def test_synthetic_images_that_teach_nothing_are_named(honest: Materials) -> None:
    useful = [record(0.6, [0.3, 0.5, 0.9, 0.7])]
    assert not any("chance" in caution for caution in measure(honest, useful).figures["cautions"])
    useless = [record(0.27, [0.1, 0.5, 0.28, 0.2])]
    (caution,) = [caution for caution in measure(honest, useless).figures["cautions"] if "no better than" in caution]
    assert "(GAN-train, mean recall 27.0%; chance 25.0%)" in caution


def test_gan_test_knows_images_of_the_wrong_class(honest: Materials, of_honest: dict[str, Any]) -> None:
    assert honest.synthetic is not None
    sandals = np.flatnonzero(honest.synthetic.labels == 2)
    figures = measure(spoilt(honest, sandals, images=honest.synthetic.images[honest.synthetic.labels == 3])).figures
    recall = figures["per_class"]["gan_test"]
    assert recall["sandal"] < 0.2
    assert {**recall, "sandal": None} == {**of_honest["per_class"]["gan_test"], "sandal": None}
    assert figures["gan_test_accuracy"] == pytest.approx(np.mean(list(recall.values())))


def test_gan_train_is_the_mean_of_its_records(of_honest: dict[str, Any]) -> None:
    assert of_honest["gan_train_accuracy"] == pytest.approx(0.6)
    expected = {"t-shirt": pytest.approx(0.2), "trouser": pytest.approx(0.4), "sandal": None, "bag": 0.5}
    assert of_honest["per_class"]["gan_train"] == expected


def test_a_class_with_too_few_images_has_no_figures(honest: Materials) -> None:
    assert honest.synthetic is not None
    labels = honest.synthetic.labels
    places = [np.flatnonzero(labels == k)[:count] for k, count in enumerate((40, 6, 5, 0))]
    figures = measure(replace(honest, synthetic=honest.synthetic.take(np.concatenate(places)))).figures
    for key in OF_CLASSES:
        missing = [name for name, value in figures["per_class"][key].items() if value is None]
        assert missing == ["sandal", "bag"]
    gan_test = figures["per_class"]["gan_test"]
    assert gan_test["bag"] is None
    assert gan_test["sandal"] is not None
    assert figures["per_class_note"].endswith("need 6 test and 6 synthetic images of it, which 2 of 4 classes lack")
    assert "fid" not in figures
    assert "FID needs 64 images of each kind" in figures["fid_note"]
    assert "got 120 real and 51 synthetic ones (at most 2,000 of each are compared)" in figures["fid_note"]
    json.dumps(figures, allow_nan=False)


def test_copies_of_training_images_are_found_and_their_originals_named(honest: Materials) -> None:
    assert honest.synthetic is not None
    copied = spoilt(honest, slice(0, 8), images=honest.train.images[:8])
    found = measure(copied)
    assert found.figures["memorised_fraction"] >= 8 / 160
    assert found.memorisation.nearest[:8].tolist() == list(range(8))
    assert np.array_equal(found.synthetic.images[:8], honest.train.images[:8])
    assert max(found.memorisation.distance[:8]) < 1e-5 < min(found.memorisation.distance[8:])


def test_no_more_images_are_compared_than_the_limit(honest: Materials, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "AT_MOST", 50)
    found = measure(honest)
    assert (found.figures["test_images"], found.figures["synthetic_images"], len(found.synthetic)) == (50, 50, 50)
    assert len(found.memorisation.nearest) == 50
    assert set(found.synthetic.labels) == {0, 1, 2, 3}  # drawn from all over


@pytest.fixture(scope="module")
def folds(four: LabelledImages) -> list[Materials]:
    """Two of three folds are of the first size, of which one has 5 test images of a class, and so no figures."""
    few = part(four, 30, 60).take(np.arange(25, 120))
    return [
        Materials(part(four, 0, 30), part(four, 30, 60), part(four, 60, 90), fold="a", size=30),
        Materials(part(four, 5, 30), few, part(four, 60, 99), fold="b", size=30),
        Materials(part(four, 0, 20), part(four, 30, 60), part(four, 60, 70), fold="c", size=20),
    ]


def test_figures_are_means_over_the_folds_of_the_first_size(folds: list[Materials]) -> None:
    records = [record(0.1 * i, [0.1 * i, 0.2, None, 0.4], fold=m.fold) for i, m in enumerate(folds)]
    found = measure_all(folds, CONFIG, records)
    assert found is not None
    a, b = (measure(materials, [records[i]]).figures for i, materials in enumerate(folds[:2]))
    assert found.figures["folds"] == 2
    assert (found.figures["test_images"], found.figures["synthetic_images"]) == (95, 120)
    for key in ("kid", "fid", "coverage", "gan_train_accuracy", "gan_test_accuracy", "memorised_fraction"):
        assert a[key] != b[key]
        assert found.figures[key] == pytest.approx((a[key] + b[key]) / 2)
    assert found.figures["features"] == "own classifier"
    per_class = found.figures["per_class"]
    assert b["per_class"]["recall"]["t-shirt"] is None
    assert per_class["recall"]["t-shirt"] == a["per_class"]["recall"]["t-shirt"]
    assert per_class["recall"]["bag"] == pytest.approx(
        (a["per_class"]["recall"]["bag"] + b["per_class"]["recall"]["bag"]) / 2
    )
    assert per_class["gan_train"]["t-shirt"] == pytest.approx(0.05)
    assert "1 of 4 classes" in found.figures["per_class_note"]
    assert (found.fold, len(found.synthetic)) == ("a", 120)  # the neighbours are of the first fold


def test_one_fold_is_told_as_it_is(folds: list[Materials]) -> None:
    records = [record(0.3, [0.1, 0.2, 0.3, 0.4], fold="c"), record(0.9, [0.9] * 4, fold="a")]
    found = measure_all(folds[2:], CONFIG, records)
    assert found is not None
    assert found.figures == measure(folds[2], records[:1]).figures


def test_a_figure_that_one_fold_lacks_is_no_mean_of_the_others(folds: list[Materials]) -> None:
    small = replace(folds[1], test=folds[1].test.take(np.arange(20, 80)))
    records = [record(0.5, [0.5] * 4, fold=fold) for fold in "ab"]
    found = measure_all([folds[0], small], CONFIG, records)
    assert found is not None
    assert "fid" not in found.figures
    assert "got 60 real" in found.figures["fid_note"]


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_is_measured_without_two_images_of_each_kind(count: int, honest: Materials) -> None:
    assert honest.synthetic is not None
    single = honest.synthetic.take(np.arange(count))
    for changed in ({"synthetic": None}, {"synthetic": single}, {"test": single}):
        assert measure_all([replace(honest, **changed)], CONFIG, RECORDS) is None


def test_two_images_of_each_kind_have_figures(honest: Materials) -> None:
    assert honest.synthetic is not None
    tiny = Materials(honest.train, honest.test.take(np.arange(2)), honest.synthetic.take(np.arange(2)))
    figures = measure(tiny).figures
    json.dumps(figures, allow_nan=False)
    assert None not in [value for key, value in figures.items() if key != "per_class"]


def test_inception_takes_the_place_of_the_own_features(four: LabelledImages, tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.save(inception_v3(weights=None, init_weights=False).state_dict(), tmp_path / "weights.pth")
    config = parse(EvaluateConfig, {**SMALL, "inception": str(tmp_path / "weights.pth")}, "the test")
    materials = Materials(part(four, 0, 2), part(four, 2, 3), part(four, 4, 5))
    found = measure_all([materials], config, RECORDS)
    assert found is not None
    figures = found.figures
    assert figures["features"] == "inception"
    assert "FID needs 4,096 images of each kind, 2 for each of the 2,048 features" in figures["fid_note"]
    own = measure(materials).figures
    assert figures["kid"] != own["kid"]
    assert figures["gan_test_accuracy"] == own["gan_test_accuracy"]  # a classifier's of its own in any case


def test_inception_weights_are_looked_at_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"inception: path does not point to a file, got '.*/none\.pth'"):
        parse(EvaluateConfig, {"inception": str(tmp_path / "none.pth")}, "the test")
    (tmp_path / "noise.pth").write_bytes(b"noise")
    with pytest.raises(ConfigError, match=r"noise\.pth: expected a state dict of torchvision\.models\.inception_v3"):
        parse(EvaluateConfig, {"inception": str(tmp_path / "noise.pth")}, "the test")
