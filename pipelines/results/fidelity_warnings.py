"""Warn about defects of synthetic images, and about fidelity metrics that too few images make meaningless.

The report shows these sentences beside the samples, because people look at the samples before the tables.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from augment.words import counted, listed

COLLAPSED = 0.25  # lowest `distinctness`; real images have at least 0.55, GANs from 20 images per class 0.44 to 0.63
UNVARIED = 0.5  # lowest `spread`; real images have at least 0.55, GANs from 20 images per class 0.45 to 0.87
MIN_IMAGES = 100  # real and synthetic; the precision of two sets of 100 real images has a standard deviation of 0.04
CHANCE_ERRORS = 2.0  # standard errors that an accuracy must lie above chance
MAX_NAMED = 5  # classes that one sentence names
RELATIVE = "in brackets, the distance between nearest images relative to real images"
LIMITS = {"distinctness": COLLAPSED, "spread": UNVARIED}


def cautions(metrics: Mapping[str, Any]) -> list[str]:
    """Return warnings about the metrics of `pipelines.results.fidelity_evaluation.Fidelity`, one sentence each."""
    return [*_unvaried(metrics), *_at_chance(metrics), *_meaningless(metrics)]


def _unvaried(metrics: Mapping[str, Any]) -> list[str]:
    """Warn about classes whose synthetic images are nearly identical, in groups or all of them, or vary too little."""
    per_class = metrics["per_class"]
    alike, unvaried = (_below(per_class.get(key, {}), limit) for key, limit in LIMITS.items())
    groups = {  # by what the sentence says of them
        f"are nearly identical (mode collapse): %s; {RELATIVE}": _select(alike, unvaried, in_both=True),
        f"repeat a few pictures with small changes: %s; {RELATIVE}": _select(alike, unvaried, in_both=False),
        "vary less than half as much as real ones: %s": _select(unvaried, alike, in_both=False),
    }
    total = counted(len(per_class.get("spread", {})), "class")
    return [
        f"the synthetic images of {len(classes)} of {total} {said % _listed(classes)}"
        for said, classes in groups.items()
        if classes
    ]


def _select(classes: Mapping[str, float], others: Mapping[str, float], *, in_both: bool) -> dict[str, float]:
    """Return those of `classes` that are among the `others`, or are not."""
    return {name: value for name, value in classes.items() if (name in others) == in_both}


def _below(values: Mapping[str, float | None], limit: float) -> dict[str, float]:
    """Return the classes with a value below the limit, the lowest first."""
    below = {name: value for name, value in values.items() if value is not None and value < limit}
    return dict(sorted(below.items(), key=lambda item: item[1]))


def _at_chance(metrics: Mapping[str, Any]) -> list[str]:
    """Warn if GAN-train may be chance: by the mean recall of all folds, which is 1/K by chance for any class sizes."""
    recalls = [value for value in metrics["per_class"].get("gan_train", {}).values() if value is not None]
    if len(recalls) < 2:
        return []
    mean, chance = sum(recalls) / len(recalls), 1 / len(recalls)
    error = math.sqrt(chance * (1 - chance) / (metrics["test_images"] * metrics.get("folds", 1)))
    if mean > chance + CHANCE_ERRORS * error:
        return []
    return [
        f"a classifier that is trained on the synthetic images alone is not better than chance on real "
        f"images (GAN-train, mean recall {mean:.1%}; chance {chance:.1%}): the synthetic images may not show their "
        "classes"
    ]


def _meaningless(metrics: Mapping[str, Any]) -> list[str]:
    """Warn about metrics that rest on too few images, and about a KID within its own spread."""
    sentences = []
    fewest = min(metrics["test_images"], metrics["synthetic_images"])
    if fewest < MIN_IMAGES:
        sentences.append(
            f"KID, precision, recall, density and coverage rest on {metrics['test_images']} real and "
            f"{metrics['synthetic_images']} synthetic images and mean little with fewer than {MIN_IMAGES} of "
            "each: between two such sets of real images they may differ by 0.1 or more"
        )
    elif fewest < MIN_IMAGES * len(metrics["per_class"].get("recall", {})):
        sentences.append(
            f"KID, precision, recall, density and coverage of single classes rest on fewer than {MIN_IMAGES} images "
            "for some or all classes: between two such sets of real images they may differ by 0.1 or more, and between "
            "sets of 20 images by 0.2"
        )
    if abs(metrics["kid"]) < metrics["kid_std"]:
        sentences.append(
            f"KID ({metrics['kid']:.3f} ± {metrics['kid_std']:.3f} over subsets of {metrics['kid_subset_size']} images)"
            " cannot be distinguished from 0, the KID of real images"
        )
    return sentences


def _listed(fractions: Mapping[str, float]) -> str:
    return listed([f"{name} ({value:.0%})" for name, value in fractions.items()], MAX_NAMED)
