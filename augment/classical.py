"""Classical augmentation by named policies, made ahead as banks of views: the only file that imports albumentations.

albumentations works on one image at a time on the CPU, at about 0.15 ms for one view of a small image. A few hundred
images are therefore augmented ahead, V times each, and a training step draws from that bank. Release 2.0.8 is the last
under the MIT licence; its successor under the same import name, albumentationsx, is AGPL and refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment.errors import ConfigError
from augment.images import LabelledImages

LAST_MIT = "2.0.8"
VIEWS = 32  # of each image, where nothing else is asked for


def refuse_unless_mit(albumentations: str | None, albumentationsx: str | None) -> None:
    """Raise `ConfigError` unless the installed versions (None: not installed) are of the MIT line alone."""
    if albumentationsx is not None or albumentations != LAST_MIT:
        found = f"albumentationsx {albumentationsx}" if albumentationsx else f"albumentations {albumentations}"
        raise ConfigError(
            f"expected albumentations {LAST_MIT}, the last release under the MIT licence, found {found}; "
            f"run: pip uninstall -y albumentationsx albumentations && pip install albumentations=={LAST_MIT}"
        )


def _installed(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _library() -> Any:
    refuse_unless_mit(_installed("albumentations"), _installed("albumentationsx"))
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it asks the network for its latest version otherwise
    import albumentations

    return albumentations


def _flip(horizontal_flip: bool) -> list[Any]:
    return [_library().HorizontalFlip(p=0.5)] if horizontal_flip else []


def _shift(size: int, share: float, **affine: Any) -> Any:
    """Moves by up to `share` of the side, at least 1 px, with any further change; the border's colour comes in."""
    reach = max(round(share * size), 1)
    return _library().Affine(translate_px=(-reach, reach), border_mode=1, p=1.0, **affine)  # 1: cv2.BORDER_REPLICATE


def _erase(smallest: float, largest: float, p: float) -> Any:
    """Blackens one rectangle with sides of this share of the image (Zhong et al., arXiv 1708.04896)."""
    side = (smallest, largest)
    return _library().CoarseDropout(num_holes_range=(1, 1), hole_height_range=side, hole_width_range=side, fill=0, p=p)


def light(size: int, horizontal_flip: bool) -> list[Any]:
    """A shift by 1 px in 32: safe for nearly anything."""
    return [*_flip(horizontal_flip), _shift(size, 1 / 32)]


def standard(size: int, horizontal_flip: bool) -> list[Any]:
    """A shift by 1 px in 32 and erasing: the default, tuned on Fashion-MNIST at 20 images a class."""
    return [*_flip(horizontal_flip), _shift(size, 1 / 32), _erase(0.2, 0.5, p=0.75)]


def strong(size: int, horizontal_flip: bool) -> list[Any]:
    """Shifts by up to an eighth, rotation, scale, brightness, contrast and erasing: for varied photographs."""
    return [
        *_flip(horizontal_flip),
        _shift(size, 1 / 8, scale=(0.9, 1.1), rotate=(-10, 10)),
        _library().RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.8),
        _erase(0.2, 0.5, p=0.75),
    ]


POLICIES: dict[str, Callable[[int, bool], list[Any]]] = {"light": light, "standard": standard, "strong": strong}


def check_policy(policy: str) -> None:
    """Raise `ConfigError` that names the known policies if `policy` is unknown."""
    if policy not in POLICIES:
        raise ConfigError(f"unknown policy {policy!r}; known are {', '.join(POLICIES)}")


def bank_of_views(
    data: LabelledImages, policy: str, *, views: int, horizontal_flip: bool, seed: int
) -> NDArray[np.uint8]:
    """`views` augmented copies of each image: uint8, V x N x C x H x W, the same for the same seed.

    Raises `ConfigError` if the policy is unknown, `SourceError` if the images are not square.
    """
    check_policy(policy)
    transform = _library().Compose(POLICIES[policy](data.size, horizontal_flip), seed=seed)
    bank = np.empty((views, *data.images.shape), np.uint8)
    for view in bank:
        for image, target in zip(data.images, view, strict=True):
            pixels = np.ascontiguousarray(image.transpose(1, 2, 0))  # H x W x C
            target[:] = transform(image=pixels)["image"].transpose(2, 0, 1)
    return bank
