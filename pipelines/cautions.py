"""What is broken about synthetic images, and which figures mean nothing for so few of them, in words.

A person looks at the samples first, so the report says it there and not only in a table of figures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

COLLAPSED = 0.25  # of `augment.fidelity.spread`: real images have 0.55 or more, GANs of 20 images a class 0.44 to 0.63
FEWEST_IMAGES = 100  # of each kind: precision of two sets of 100 real images has a standard deviation of 0.04
CHANCE_ERRORS = 2.0  # standard errors above chance, below which an accuracy is no better than chance
NAMED = 5  # classes, at most, in one sentence


def cautions(figures: Mapping[str, Any]) -> list[str]:
    """Sentences on the figures of `pipelines.quality.Fidelity`; none if nothing is to be said."""
    return [*_collapsed(figures), *_at_chance(figures), *_meaningless(figures)]


def _collapsed(figures: Mapping[str, Any]) -> list[str]:
    spreads = figures["per_class"].get("spread", {})
    found = {name: value for name, value in spreads.items() if value is not None and value < COLLAPSED}
    if not found:
        return []
    shares = _listed([f"{name} ({value:.0%})" for name, value in sorted(found.items(), key=lambda item: item[1])])
    return [
        f"the synthetic images of {len(found)} of {len(spreads)} classes have collapsed, they are nearly alike: "
        f"{shares} of the distance that real images of the class have from the nearest other one"
    ]


def _at_chance(figures: Mapping[str, Any]) -> list[str]:
    """On GAN-train; the mean recall stands for it, which is 1/K by chance however the classes differ in size."""
    recalls = [value for value in figures["per_class"].get("gan_train", {}).values() if value is not None]
    if len(recalls) < 2:
        return []
    mean, chance = sum(recalls) / len(recalls), 1 / len(recalls)
    error = math.sqrt(chance * (1 - chance) / figures["test_images"])
    if mean > chance + CHANCE_ERRORS * error:
        return []
    return [
        f"a classifier that learns from the synthetic images alone is no better than chance on real ones (GAN-train, "
        f"mean recall {mean:.1%}; chance {chance:.1%}): they do not show their classes"
    ]


def _meaningless(figures: Mapping[str, Any]) -> list[str]:
    found = []
    fewest = min(figures["test_images"], figures["synthetic_images"])
    if fewest < FEWEST_IMAGES:
        found.append(
            f"KID, precision, recall, density and coverage rest on {figures['test_images']} real and "
            f"{figures['synthetic_images']} synthetic images and mean little below {FEWEST_IMAGES} of each: two such "
            "sets of real images may differ by 0.1 and more"
        )
    elif fewest < FEWEST_IMAGES * len(figures["per_class"].get("recall", {})):
        found.append(
            f"KID, precision, recall, density and coverage of single classes rest on fewer than {FEWEST_IMAGES} images "
            "in some or all of them: two such sets of real images may differ by 0.1 and more, of 20 images by 0.2"
        )
    if abs(figures["kid"]) < figures["kid_std"]:
        found.append(
            f"KID ({figures['kid']:.3f} ± {figures['kid_std']:.3f} over subsets of {figures['kid_subset_size']} images)"
            " cannot be told from 0, that of real images"
        )
    return found


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
