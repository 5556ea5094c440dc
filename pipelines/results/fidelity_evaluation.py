"""Measure the fidelity of synthetic images: whether they look real, are varied and are not copies.

The images are compared by the features of a classifier that was trained on the training images only, or of Inception if
the configuration gives a path to its weights. All metrics that compare features, including memorisation, use the same
network; spread and distinctness are measured in pixels. GAN-train and GAN-test always use this project's own
classifiers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from augment.dataset.images import LabelledImages
from augment.errors import InputError
from augment.fidelity import (
    Features,
    density_coverage,
    distinctness,
    fid,
    kid,
    memorisation,
    precision_recall,
    spread,
)
from augment.seeds import derive_seed
from classifiers.inception import load_inception
from classifiers.metrics import per_class_recall
from classifiers.training import predict
from pipelines.config.arm_section import Arm
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.arms import train_arm
from pipelines.experiment.cross_fitting import embed
from pipelines.experiment.folds import Fold, of_first_size
from pipelines.experiment.planning import GAN_TRAIN
from pipelines.experiment.records import Line, Record
from pipelines.results.closest_pairs import ClosestPair, closest_pairs
from pipelines.results.fidelity_warnings import cautions

MAX_IMAGES = 2000  # real and as many synthetic images; the matrices of distances grow with the square
MAX_FOR_VARIETY = 200  # images per class; they are enough for a median
MIN_PER_CLASS = 6  # real and as many synthetic images; the metrics use the fifth nearest neighbour


class Fidelity(Line):
    """The fidelity metrics of a fold: a line of fidelity.jsonl.

    metrics: the content of results.json under `fidelity`, for one fold. `mean_fidelity` adds `folds`, the number of
    folds, and `cautions`, sentences about defects of the images and about metrics that so few images make meaningless.

    - `features`, `test_images` and `synthetic_images` say what was compared.
    - `kid`, `kid_std`, `kid_subset_size`, `precision`, `recall`, `density`, `coverage`, `gan_train_accuracy`,
      `gan_test_accuracy`, `memorised_fraction` and `memorised_by_chance` are numbers.
    - `fid` is a number; if it cannot be computed, `fid_note` gives the reason instead.
    - `per_class` has a dict of classes for each metric. A value is None if the class has too few images for it, and
      `per_class_note` says so.

    fold: its name. closest: the pairs that the report shows; their indices are those of `compared_images` and of the
    training images.
    """

    fold: str
    metrics: dict[str, Any]
    closest: tuple[ClosestPair, ...]

    @property
    def key(self) -> str:
        """The name of the fold."""
        return self.fold


def measured_folds(folds: Sequence[Fold]) -> list[Fold]:
    """Return the folds whose fidelity is measured: for a learning curve, those of the first size, as for the headline.

    There are none without synthetic images, or if a fold has fewer than 2 test or synthetic images, too few for any
    metric.
    """
    measured = of_first_size(folds)
    if any(fold.synthetic is None or min(len(fold.synthetic), len(fold.test)) < 2 for fold in measured):
        return []
    return measured


def mean_fidelity(measured: Sequence[Fidelity], records: Sequence[Record]) -> dict[str, Any]:
    """Return the content of results.json under `fidelity`: means over the folds, with GAN-train from the records."""
    if not measured:
        return {}
    by_fold = [_with_gan_train(one, [r for r in records if r.fold == one.fold]) for one in measured]
    metrics = {"folds": len(measured), **_average(by_fold)} if len(measured) > 1 else by_fold[0]
    return {**metrics, "cautions": cautions(metrics)}


def _with_gan_train(one: Fidelity, records: Sequence[Record]) -> dict[str, Any]:
    """Return the metrics of a fold with GAN-train, computed from the records of this fold."""
    gan_train, per_class = [r for r in records if r.arm == GAN_TRAIN.name], one.metrics["per_class"]
    return {
        **one.metrics,
        "gan_train_accuracy": _mean([record.metrics["accuracy"] for record in gan_train]),
        "per_class": {**per_class, "gan_train": _mean_recalls(gan_train, list(per_class["gan_test"]))},
    }


def measure_fidelity(fold: Fold, config: EvaluateConfig, device: torch.device) -> Fidelity:
    """Measure the metrics of one fold with synthetic images, on at most 2000 test and 2000 synthetic images.

    GAN-test is the accuracy on synthetic images of a classifier that was trained on real ones only. GAN-train, the
    accuracy on real test images of classifiers that were trained on synthetic ones only, is None here and added from
    the records (Shmelkov et al., "How good is my GAN?", arXiv 1807.09499). Raises `ConfigError` if Inception's weights
    cannot be loaded.
    """
    seed = derive_seed(config.seed, "fidelity")
    classifier = train_arm(own_arm(config), fold, config, seed=seed, device=device)
    synthetic, test = compared_images(fold), _limit(fold.test)
    train_f, test_f, synthetic_f = _embed((fold.train, test, synthetic), classifier, config, device)
    neighbours = memorisation(train_f, test_f, synthetic_f)
    logits = predict(classifier, synthetic.images)
    class_accuracy = per_class_recall(logits, synthetic.labels, synthetic.num_classes)
    metrics = {
        "features": "own classifier" if config.inception is None else "inception",
        "test_images": len(test),
        "synthetic_images": len(synthetic),
        **_distances(test_f, synthetic_f),
        **_overlap(test_f, synthetic_f),
        "gan_train_accuracy": None,
        "gan_test_accuracy": float((logits.argmax(1).numpy() == synthetic.labels).mean()),
        "memorised_fraction": neighbours.fraction,
        "memorised_by_chance": neighbours.by_chance,
        "per_class": {
            **_class_metrics((test_f, test), (synthetic_f, synthetic)),
            **_class_variety(test, synthetic),
            "gan_train": {},
            "gan_test": dict(zip(test.class_names, class_accuracy, strict=True)),
        },
        **_class_note(test, synthetic),
    }
    return Fidelity(fold=fold.name, metrics=metrics, closest=tuple(closest_pairs(neighbours, synthetic.labels)))


def own_arm(config: EvaluateConfig) -> Arm:
    """Return the arm of the classifier for GAN-test, which also computes the features without Inception."""
    return Arm(name="own", policy=config.policy)


def compared_images(fold: Fold) -> LabelledImages:
    """Return the synthetic images of a fold that are compared with real ones: all, or a random subset of 2000."""
    assert fold.synthetic is not None
    return _limit(fold.synthetic.data)


def _limit(data: LabelledImages) -> LabelledImages:
    """Return a fixed random subset of at most 2000 images."""
    if len(data) <= MAX_IMAGES:
        return data
    return data.take(np.sort(np.random.default_rng(0).permutation(len(data))[:MAX_IMAGES]))


def _embed(
    parts: Sequence[LabelledImages], classifier: nn.Module, config: EvaluateConfig, device: torch.device
) -> list[Features]:
    """Return the features of each part.

    Features of the classifier are divided by their root mean square on the first part, because their scale differs
    between trainings and KID grows with its sixth power.
    """
    if config.inception is not None:
        network = load_inception(config.inception).to(device)
        return [embed(network, data, device) for data in parts]
    raw = [embed(classifier, data, device) for data in parts]
    unit = float(np.sqrt(np.square(raw[0]).mean())) or 1.0
    return [features / unit for features in raw]


def _distances(real: Features, synthetic: Features) -> dict[str, Any]:
    """Return KID, and FID or the reason why it cannot be computed."""
    distance = kid(real, synthetic)
    metrics = {"kid": distance.mean, "kid_std": distance.std, "kid_subset_size": distance.subset_size}
    try:
        return {**metrics, "fid": fid(real, synthetic)}
    except InputError as error:
        return {**metrics, "fid_note": f"{error} (at most {MAX_IMAGES:,} of each are compared)"}


def _overlap(real: Features, synthetic: Features) -> dict[str, float]:
    precision, recall = precision_recall(real, synthetic)
    density, coverage = density_coverage(real, synthetic)
    return {"precision": precision, "recall": recall, "density": density, "coverage": coverage}


def _class_metrics(
    real: tuple[Features, LabelledImages], synthetic: tuple[Features, LabelledImages]
) -> dict[str, dict[str, float | None]]:
    """Compare the synthetic images of each class with the real images of the same class; by metric, then by class."""
    by_class: dict[str, dict[str, float]] = {}
    for k, name in enumerate(real[1].class_names):
        real_k, synthetic_k = (features[data.labels == k] for features, data in (real, synthetic))
        enough = min(len(real_k), len(synthetic_k)) >= MIN_PER_CLASS
        by_class[name] = {"kid": kid(real_k, synthetic_k).mean, **_overlap(real_k, synthetic_k)} if enough else {}
    metrics = ("kid", "precision", "recall", "density", "coverage")
    return {metric: {name: scores.get(metric) for name, scores in by_class.items()} for metric in metrics}


def _class_variety(real: LabelledImages, synthetic: LabelledImages) -> dict[str, dict[str, float | None]]:
    """Measure spread and distinctness of each class's synthetic images, by metric, then by class.

    They are measured in pixels, because a classifier gives all images of a class similar features.
    """
    metrics: dict[str, dict[str, float | None]] = {"spread": {}, "distinctness": {}}
    flat = [(data.images.reshape(len(data), -1), data.labels) for data in (real, synthetic)]
    for k, name in enumerate(real.class_names):
        real_k, synthetic_k = (pixels[labels == k][:MAX_FOR_VARIETY].astype(np.float64) for pixels, labels in flat)
        enough = min(len(real_k), len(synthetic_k)) >= MIN_PER_CLASS
        metrics["spread"][name] = spread(real_k, synthetic_k) if enough else None
        metrics["distinctness"][name] = distinctness(real_k, synthetic_k) if enough else None
    return metrics


def _class_note(real: LabelledImages, synthetic: LabelledImages) -> dict[str, str]:
    few = int((np.minimum(real.counts(), synthetic.counts()) < MIN_PER_CLASS).sum())
    if not few:
        return {}
    return {
        "per_class_note": "KID, precision, recall, density, coverage, spread and distinctness of a class need "
        f"{MIN_PER_CLASS} test and {MIN_PER_CLASS} synthetic images of this class; {few} of "
        f"{real.num_classes} classes have fewer"
    }


def _mean_recalls(records: Sequence[Record], names: Sequence[str]) -> dict[str, float | None]:
    return {name: _mean([record.per_class_recall[k] for record in records]) for k, name in enumerate(names)}


def _average(folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average each metric over the folds that have it; a text is taken from the first fold, a count is the smallest."""
    averaged: dict[str, Any] = {}
    for key in dict.fromkeys(key for metrics in folds for key in metrics):
        values = [metrics[key] for metrics in folds if key in metrics]
        if isinstance(values[0], Mapping):
            averaged[key] = _average(values)
        elif isinstance(values[0], str):
            averaged[key] = values[0]
        else:
            averaged[key] = min(values) if isinstance(values[0], int) else _mean(values)
    if "fid_note" in averaged:  # some folds are too small for FID
        averaged.pop("fid", None)
    return averaged


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
