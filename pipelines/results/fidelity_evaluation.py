"""The fidelity figures of an evaluation: whether synthetic images look real, are varied, and are no copies.

Images are compared as features of a classifier trained on the training images only, or of Inception by the path of its
weights. All figures, memorisation included, rest on the same network, so that one statement holds for all of them; the
classifiers of GAN-train and GAN-test are this project's own in any case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from augment.dataset.images import LabelledImages
from augment.errors import InputError
from augment.fidelity import (
    Features,
    Memorisation,
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
from pipelines.config.sections import Arm, EvaluateConfig
from pipelines.experiment.arms import train_arm
from pipelines.experiment.cross_fitting import embed
from pipelines.experiment.experiment import GAN_TRAIN
from pipelines.experiment.folds import Fold
from pipelines.experiment.parallel import Call
from pipelines.experiment.records import Record
from pipelines.results.fidelity_warnings import cautions

AT_MOST = 2000  # images of each kind: distances and kernels grow with the square
VARIETY_OF = 200  # images of a class: enough for a median
FEWEST_OF_A_CLASS = 6  # of each kind: with one less there is no fifth neighbour


@dataclass(frozen=True)
class Fidelity:
    """The figures for results.json, and what the report shows of the nearest neighbours.

    figures: `features`, `test_images`, `synthetic_images`, `kid`, `kid_std`, `kid_subset_size`, `fid` or else
    `fid_note`, which says why not, `precision`, `recall`, `density`, `coverage`, `gan_train_accuracy`,
    `gan_test_accuracy`, `memorised_fraction`, `memorised_by_chance`, and `per_class`: by figure, then by class, None
    where a class has too few images for it, which `per_class_note` then says. Means over folds tell of how many in
    `folds`. `cautions` are sentences on what is broken, or means nothing for so few images. synthetic: the images that
    were judged.
    """

    figures: dict[str, Any]
    synthetic: LabelledImages
    memorisation: Memorisation
    fold: str = ""


def fidelity_calls(folds: Sequence[Fold], config: EvaluateConfig, device: torch.device) -> list[Call[Fidelity]]:
    """What has to be called for the figures of each fold, for `mean_fidelity`.

    Of a learning curve's folds those of the first size count, as for the headline. Nothing without synthetic images,
    or where a fold has a single test or synthetic image, of which no figure can be had.
    """
    of_first_size = [fold for fold in folds if fold.size == folds[0].size]
    if any(fold.synthetic is None or min(len(fold.synthetic), len(fold.test)) < 2 for fold in of_first_size):
        return []
    return [(measure_fidelity, (fold, config, device)) for fold in of_first_size]


def mean_fidelity(measured: Sequence[Fidelity], records: Sequence[Record]) -> Fidelity | None:
    """The figures averaged over folds, GAN-train's from the records, and the neighbours of the first fold."""
    if not measured:
        return None
    of_folds = [_with_gan_train(one, [r for r in records if r.fold == one.fold]) for one in measured]
    figures = {"folds": len(measured), **_average(of_folds)} if len(measured) > 1 else of_folds[0]
    return replace(measured[0], figures={**figures, "cautions": cautions(figures)})


def _with_gan_train(one: Fidelity, records: Sequence[Record]) -> dict[str, Any]:
    gan_train = [record for record in records if record.arm == GAN_TRAIN.name]
    return {
        **one.figures,
        "gan_train_accuracy": _mean([record.metrics["accuracy"] for record in gan_train]),
        "per_class": {
            **one.figures["per_class"],
            "gan_train": _of_records(gan_train, one.synthetic.class_names),
        },
    }


def measure_fidelity(fold: Fold, config: EvaluateConfig, device: torch.device) -> Fidelity:
    """The figures of one fold, from at most 2000 test and as many synthetic images; fold must hold some.

    GAN-test is the accuracy on synthetic images of a classifier that saw the training images only; GAN-train, the
    accuracy on real test images of those that saw synthetic ones only, is left to the records (Shmelkov et al., "How
    good is my GAN?", arXiv 1807.09499). Raises `ConfigError` if Inception's weights cannot be loaded.
    """
    assert fold.synthetic is not None
    arm = Arm(name="own", policy=config.policy)
    own = train_arm(arm, fold, config, seed=derive_seed(config.seed, "fidelity"), device=device)
    synthetic, test = _at_most(fold.synthetic.data), _at_most(fold.test)
    train_f, test_f, synthetic_f = _embed((fold.train, test, synthetic), own, config, device)
    memory = memorisation(train_f, test_f, synthetic_f)
    logits = predict(own, torch.from_numpy(np.ascontiguousarray(synthetic.images)))
    recognised = per_class_recall(logits, synthetic.labels, synthetic.num_classes)
    figures = {
        "features": "own classifier" if config.inception is None else "inception",
        "test_images": len(test),
        "synthetic_images": len(synthetic),
        **_distances(test_f, synthetic_f),
        **_shares(test_f, synthetic_f),
        "gan_train_accuracy": None,
        "gan_test_accuracy": float((logits.argmax(1).numpy() == synthetic.labels).mean()),
        "memorised_fraction": memory.fraction,
        "memorised_by_chance": memory.by_chance,
        "per_class": {
            **_of_classes((test_f, test), (synthetic_f, synthetic)),
            **_varieties(test, synthetic),
            "gan_train": {},
            "gan_test": dict(zip(test.class_names, recognised, strict=True)),
        },
        **_too_few(test, synthetic),
    }
    return Fidelity(figures, synthetic, memory, fold.name)


def _at_most(data: LabelledImages) -> LabelledImages:
    if len(data) <= AT_MOST:
        return data
    return data.take(np.sort(np.random.default_rng(0).permutation(len(data))[:AT_MOST]))


def _embed(
    parts: Sequence[LabelledImages], own: nn.Module, config: EvaluateConfig, device: torch.device
) -> list[Features]:
    """Features of each part; those of our own classifier in units of their root mean square over the first part.

    How large they are differs from one training to the next, and KID, which grows with the sixth power, with it.
    """
    if config.inception is not None:
        network = load_inception(config.inception).to(device)
        return [embed(network, data, device) for data in parts]
    raw = [embed(own, data, device) for data in parts]
    unit = float(np.sqrt(np.square(raw[0]).mean())) or 1.0
    return [features / unit for features in raw]


def _distances(real: Features, synthetic: Features) -> dict[str, Any]:
    distance = kid(real, synthetic)
    told = {"kid": distance.mean, "kid_std": distance.std, "kid_subset_size": distance.subset_size}
    try:
        return {**told, "fid": fid(real, synthetic)}
    except InputError as refused:
        return {**told, "fid_note": f"{refused} (at most {AT_MOST:,} of each are compared)"}


def _shares(real: Features, synthetic: Features) -> dict[str, float]:
    precision, recall = precision_recall(real, synthetic)
    density, coverage = density_coverage(real, synthetic)
    return {"precision": precision, "recall": recall, "density": density, "coverage": coverage}


def _of_classes(
    real: tuple[Features, LabelledImages], synthetic: tuple[Features, LabelledImages]
) -> dict[str, dict[str, float | None]]:
    """By figure, then by class: each class's synthetic images against its real ones alone."""
    by_class: dict[str, dict[str, float]] = {}
    for k, name in enumerate(real[1].class_names):
        ours, theirs = (features[data.labels == k] for features, data in (real, synthetic))
        enough = min(len(ours), len(theirs)) >= FEWEST_OF_A_CLASS
        by_class[name] = {"kid": kid(ours, theirs).mean, **_shares(ours, theirs)} if enough else {}
    figures = ("kid", "precision", "recall", "density", "coverage")
    return {figure: {name: of_class.get(figure) for name, of_class in by_class.items()} for figure in figures}


def _varieties(real: LabelledImages, synthetic: LabelledImages) -> dict[str, dict[str, float | None]]:
    """By figure, then by class, in pixels: features of a classifier draw the images of a class together."""
    found: dict[str, dict[str, float | None]] = {"spread": {}, "distinctness": {}}
    flat = [(data.images.reshape(len(data), -1), data.labels) for data in (real, synthetic)]
    for k, name in enumerate(real.class_names):
        ours, theirs = (pixels[labels == k][:VARIETY_OF].astype(np.float64) for pixels, labels in flat)
        enough = min(len(ours), len(theirs)) >= FEWEST_OF_A_CLASS
        found["spread"][name] = spread(ours, theirs) if enough else None
        found["distinctness"][name] = distinctness(ours, theirs) if enough else None
    return found


def _too_few(real: LabelledImages, synthetic: LabelledImages) -> dict[str, str]:
    few = int((np.minimum(real.counts(), synthetic.counts()) < FEWEST_OF_A_CLASS).sum())
    if not few:
        return {}
    return {
        "per_class_note": f"KID, precision, recall, density and coverage of a class need {FEWEST_OF_A_CLASS} test and "
        f"{FEWEST_OF_A_CLASS} synthetic images of it, which {few} of {real.num_classes} classes lack"
    }


def _of_records(records: Sequence[Record], names: Sequence[str]) -> dict[str, float | None]:
    return {name: _mean([record.per_class_recall[k] for record in records]) for k, name in enumerate(names)}


def _average(folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over the folds that have a figure; of words the first, of numbers of images the smallest."""
    averaged: dict[str, Any] = {}
    for key in dict.fromkeys(key for figures in folds for key in figures):
        values = [figures[key] for figures in folds if key in figures]
        if isinstance(values[0], Mapping):
            averaged[key] = _average(values)
        elif isinstance(values[0], str):
            averaged[key] = values[0]
        else:
            averaged[key] = min(values) if isinstance(values[0], int) else _mean(values)
    if "fid_note" in averaged:  # of folds that are not all large enough
        averaged.pop("fid", None)
    return averaged


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
