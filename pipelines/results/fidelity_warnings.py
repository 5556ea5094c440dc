"""What is broken about synthetic images, and which figures mean nothing for so few of them, in words.

A person looks at the samples first, so the report says it there and not only in a table of figures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from augment.words import counted

COLLAPSED = 0.25  # of `fidelity.distinctness`: real images have 0.55 or more, GANs of 20 images a class 0.44 to 0.63
UNVARIED = 0.5  # of `fidelity.spread`: real images have 0.55 or more, GANs of 20 images a class 0.45 to 0.87
FEWEST_IMAGES = 100  # of each kind: precision of two sets of 100 real images has a standard deviation of 0.04
CHANCE_ERRORS = 2.0  # standard errors above chance, below which an accuracy is no better than chance
NAMED = 5  # classes, at most, in one sentence
LIMITS = {"distinctness": COLLAPSED, "spread": UNVARIED}


def cautions(figures: Mapping[str, Any]) -> list[str]:
    """Sentences on the figures of `pipelines.results.fidelity_evaluation.Fidelity`; none if nothing is to be said."""
    return [*_unvaried(figures), *_at_chance(figures), *_meaningless(figures)]


def _unvaried(figures: Mapping[str, Any]) -> list[str]:
    per_class = figures["per_class"]
    collapsed, unvaried = (_below(per_class.get(key, {}), limit) for key, limit in LIMITS.items())
    total, said = len(per_class.get("spread", {})), []
    if collapsed:
        said.append(
            f"the synthetic images of {len(collapsed)} of {counted(total, 'class')} have collapsed, they are nearly "
            f"alike: {_listed(collapsed)}; in brackets their distance from the nearest other one, against real images"
        )
    if others := {name: value for name, value in unvaried.items() if name not in collapsed}:
        said.append(
            f"the synthetic images of {len(others)} of {counted(total, 'class')} vary less than half as much as real "
            f"ones: {_listed(others)}"
        )
    return said


def _below(of_class: Mapping[str, float | None], limit: float) -> dict[str, float]:
    """The classes below a limit, the lowest first."""
    found = {name: value for name, value in of_class.items() if value is not None and value < limit}
    return dict(sorted(found.items(), key=lambda item: item[1]))


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


def _listed(shares: Mapping[str, float]) -> str:
    names, more = [f"{name} ({value:.0%})" for name, value in shares.items()], len(shares) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
