"""Names in the records of an evaluation that are not those of its arms; no arm may have them."""

from __future__ import annotations

GAN_TRAIN = "gan-train"  # the classifiers behind the fidelity metric of this name


def name_of_half(arm: str) -> str:
    """Return the name of the classifiers of an arm that learn from half of the images only."""
    return f"half of the images: {arm}"
