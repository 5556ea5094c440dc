"""Classical augmentation by named policies, computed in advance as banks of augmented views.

On a CPU a view of a small image takes albumentations 0.1 ms and torchvision 0.2 ms, or 0.03 ms in groups of images
that are transformed alike. A few hundred images are therefore augmented in advance, V times each, and training steps
draw from this bank. Only this module imports albumentations. Its release 2.0.8 is the last under the MIT licence; the
successor with the same import name, albumentationsx, has the AGPL licence and is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages
from augment.errors import ConfigError

if TYPE_CHECKING:
    import torch

LAST_MIT_VERSION = "2.0.8"
DEFAULT_POLICY = "rand-augment"  # docs/benchmarks.md, "Which views"
VIEWS = 128  # default number of views per image; docs/benchmarks.md, "More views"
# torchvision transforms the images of a group with the same random numbers
MIN_GROUPS, MAX_GROUP_SIZE = 16, 32  # groups in a view, images in a group
MIN_TRIVIAL_SIZE = 64  # px; a translation by the 32 px of TrivialAugment leaves half of the image visible

Pixels = NDArray[np.uint8]
# from data, views, horizontal_flip and seed to V x N x C x H x W
MakeBank = Callable[[LabelledImages, int, bool, int], NDArray[np.uint8]]
TensorTransform = Callable[["torch.Tensor"], "torch.Tensor"]  # uint8, (N x) C x H x W with C of 1 or 3


def check_license(albumentations: str | None, albumentationsx: str | None) -> None:
    """Raise `ConfigError` unless exactly the last MIT release is installed; None means not installed."""
    if albumentationsx is not None or albumentations != LAST_MIT_VERSION:
        versions = {"albumentationsx": albumentationsx, "albumentations": albumentations}
        found = next((f"{name} {version}" for name, version in versions.items() if version), "neither")
        raise ConfigError(
            f"expected albumentations {LAST_MIT_VERSION}, the last release under the MIT licence, found {found}; "
            f"run: pip uninstall -y albumentationsx albumentations && pip install albumentations=={LAST_MIT_VERSION}"
        )


def _installed_version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


@cache
def _import_albumentations() -> Any:
    check_license(_installed_version("albumentations"), _installed_version("albumentationsx"))
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # no check for updates over the network
    import albumentations

    return albumentations


def _flip(horizontal_flip: bool) -> list[Any]:
    return [_import_albumentations().HorizontalFlip(p=0.5)] if horizontal_flip else []


def _shift(size: int, fraction: float, **affine: Any) -> Any:
    """Translate by up to `fraction` of the side, at least 1 px, with other affine changes; replicate the border."""
    distance = max(round(fraction * size), 1)
    return _import_albumentations().Affine(
        translate_px=(-distance, distance), border_mode=1, p=1.0, **affine
    )  # 1: cv2.BORDER_REPLICATE


def _erase() -> Any:
    """Blacken a rectangle with sides of 0.2 to 0.5 times the image's, in 3 of 4 images (arXiv 1708.04896)."""
    side = (0.2, 0.5)
    return _import_albumentations().CoarseDropout(
        num_holes_range=(1, 1), hole_height_range=side, hole_width_range=side, fill=0, p=0.75
    )


def light(size: int, horizontal_flip: bool) -> list[Any]:
    """Translate by up to 1/32 of the side, which is safe for nearly all images."""
    return [*_flip(horizontal_flip), _shift(size, 1 / 32)]


def standard(size: int, horizontal_flip: bool) -> list[Any]:
    """Translate by up to 1/32 of the side and erase: tuned on Fashion-MNIST with 20 images per class."""
    return [*_flip(horizontal_flip), _shift(size, 1 / 32), _erase()]


def strong(size: int, horizontal_flip: bool) -> list[Any]:
    """Translate by up to an eighth, rotate, scale, change brightness and contrast, erase: for varied photographs."""
    return [
        *_flip(horizontal_flip),
        _shift(size, 1 / 8, scale=(0.9, 1.1), rotate=(-10, 10)),
        _import_albumentations().RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.8),
        _erase(),
    ]


def trivial_augment(size: int) -> TensorTransform:
    """Apply one of 14 operations at a random strength: Müller and Hutter, "TrivialAugment", arXiv 2103.10158 (wide).

    The published method translates by up to 32 px at any image size, which moves smaller images out of view. Images
    below 64 px are therefore enlarged by an integer factor to 64 px or more, transformed and averaged back, so that at
    least half of the image stays visible. Rotations reach 135 degrees, so do not use it for digits or letters.
    """
    from torchvision.transforms import v2

    transform = v2.TrivialAugmentWide(interpolation=v2.InterpolationMode.BILINEAR)
    return _on_enlarged(transform, factor=max(-(-MIN_TRIVIAL_SIZE // size), 1))


def rand_augment(size: int) -> TensorTransform:
    """Apply two of 14 operations at the fixed strength 9 of 30: Cubuk et al., "RandAugment", arXiv 1909.13719.

    Translations are by 14 % of the side, rotations by 9 degrees.
    """
    from torchvision.transforms import v2

    return v2.RandAugment(2, 9, interpolation=v2.InterpolationMode.BILINEAR)  # type: ignore[no-any-return]


def _on_enlarged(transform: TensorTransform, factor: int) -> TensorTransform:
    """Wrap `transform` so that it works on images enlarged by `factor`, which are averaged back to their size."""

    def wrapped(x: torch.Tensor) -> torch.Tensor:
        enlarged = transform(x.repeat_interleave(factor, -1).repeat_interleave(factor, -2))
        blocks = enlarged.reshape(*x.shape[:-1], factor, x.shape[-1], factor)  # ... H x factor x W x factor
        return blocks.float().mean((-3, -1)).round_().byte()

    return wrapped


def _by_albumentations(policy: Callable[[int, bool], list[Any]]) -> MakeBank:
    def bank(data: LabelledImages, views: int, horizontal_flip: bool, seed: int) -> NDArray[np.uint8]:
        transform = _import_albumentations().Compose(policy(data.size, horizontal_flip), seed=seed)
        out = np.empty((views, *data.images.shape), np.uint8)
        for view in out:
            for image, target in zip(data.images, view, strict=True):
                pixels = np.ascontiguousarray(image.transpose(1, 2, 0))  # H x W x C
                target[:] = transform(image=pixels)["image"].transpose(2, 0, 1)
        return out

    return bank


def _by_torchvision(policy: Callable[[int], TensorTransform]) -> MakeBank:
    """Build a bank function; images with 2 or 4 channels are transformed as a batch of grey images, all alike.

    torchvision itself supports only 1 or 3 channels.
    """

    def bank(data: LabelledImages, views: int, horizontal_flip: bool, seed: int) -> NDArray[np.uint8]:
        import torch

        transform, rng = policy(data.size), np.random.default_rng(seed)
        images = torch.tensor(data.images if data.images.shape[1] in (1, 3) else data.images[:, :, None])
        out = np.empty((views, *data.images.shape), np.uint8)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            for view in out:
                view[:] = _transform_in_groups(images, transform).numpy().reshape(view.shape)
        if horizontal_flip:
            mirrored = rng.random(out.shape[:2]) < 0.5
            out[mirrored] = out[mirrored][..., ::-1]
        return out

    return bank


def _transform_in_groups(images: torch.Tensor, transform: TensorTransform) -> torch.Tensor:
    """Transform each of N images, those of a group alike, which takes a fraction of the time of one by one.

    The groups are drawn at random for each view, so every view has the distribution of the policy by itself.
    """
    import torch

    out, size = torch.empty_like(images), max(min(len(images) // MIN_GROUPS, MAX_GROUP_SIZE), 1)
    for group in torch.split(torch.randperm(len(images)), size):
        out[group] = transform(images[group])
    return out


POLICIES: dict[str, MakeBank] = {
    "light": _by_albumentations(light),
    "standard": _by_albumentations(standard),
    "strong": _by_albumentations(strong),
    "trivial-augment": _by_torchvision(trivial_augment),
    "rand-augment": _by_torchvision(rand_augment),
}


def bank_of_views(
    data: LabelledImages, policy: str, *, views: int, horizontal_flip: bool, seed: int
) -> NDArray[np.uint8]:
    """Return `views` augmented copies of each image: uint8, V x N x C x H x W, reproducible by `seed`.

    The first views do not depend on how many there are. Raises `ConfigError` if the policy is unknown, `SourceError` if
    the images are not square.
    """
    if policy not in POLICIES:
        raise ConfigError(f"unknown policy {policy!r}; known are {', '.join(POLICIES)}")
    return POLICIES[policy](data, views, horizontal_flip, seed)
