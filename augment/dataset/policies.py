"""Classical augmentation by named policies, made ahead as banks of views: the only file that imports albumentations.

albumentations and torchvision work on one image at a time on the CPU, at 0.15 to 0.3 ms for one view of a small image.
A few hundred images are therefore augmented ahead, V times each, and a training step draws from that bank. Release
2.0.8 of albumentations is the last under the MIT licence; its successor under the same import name, albumentationsx, is
AGPL and refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages
from augment.errors import ConfigError

if TYPE_CHECKING:
    import torch

LAST_MIT = "2.0.8"
VIEWS = 32  # of each image, where nothing else is asked for
FULL_SIDE = 64  # px; of this much a move by TrivialAugment's 32 px leaves half

Pixels = NDArray[np.uint8]
Bank = Callable[[LabelledImages, int, bool, int], NDArray[np.uint8]]  # data, views, horizontal_flip, seed
TensorChange = Callable[["torch.Tensor"], "torch.Tensor"]  # uint8, (N x) C x H x W with C of 1 or 3


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


def trivial_augment(size: int) -> TensorChange:
    """One of 14 operations at a random strength: Müller and Hutter, "TrivialAugment", arXiv 2103.10158, the wide space.

    As published it moves images by up to 32 px whatever their size, out of sight where they are smaller. Images of less
    than 64 px are therefore enlarged by a whole factor to 64 px or more, changed, and averaged back, so that a move
    leaves half of the image or more. Rotation goes up to 135 degrees: not for digits or letters.
    """
    from torchvision.transforms import v2

    change = v2.TrivialAugmentWide(interpolation=v2.InterpolationMode.BILINEAR)
    return _enlarged(change, times=max(-(-FULL_SIDE // size), 1))


def rand_augment(size: int) -> TensorChange:
    """Two of 14 operations at a fixed strength, 9 of 30: Cubuk et al., "RandAugment", arXiv 1909.13719.

    Moves are by 14 % of the side, rotations by 9 degrees.
    """
    from torchvision.transforms import v2

    return v2.RandAugment(2, 9, interpolation=v2.InterpolationMode.BILINEAR)  # type: ignore[no-any-return]


def _enlarged(change: TensorChange, times: int) -> TensorChange:
    def enlarged(x: torch.Tensor) -> torch.Tensor:
        large = change(x.repeat_interleave(times, -1).repeat_interleave(times, -2))
        squares = large.reshape(*x.shape[:-1], times, x.shape[-1], times)  # ... H x times x W x times
        return squares.float().mean((-3, -1)).round_().byte()

    return enlarged


def _by_albumentations(transforms: Callable[[int, bool], list[Any]]) -> Bank:
    def bank(data: LabelledImages, views: int, horizontal_flip: bool, seed: int) -> NDArray[np.uint8]:
        transform = _library().Compose(transforms(data.size, horizontal_flip), seed=seed)

        def view(image: Pixels) -> Pixels:
            pixels = np.ascontiguousarray(image.transpose(1, 2, 0))  # H x W x C
            out: Pixels = transform(image=pixels)["image"].transpose(2, 0, 1)
            return out

        return _fill(data, views, view)

    return bank


def _by_torchvision(make: Callable[[int], TensorChange]) -> Bank:
    """torchvision takes 1 or 3 channels: images of 2 or 4 go through it as so many grey ones, all changed alike."""

    def bank(data: LabelledImages, views: int, horizontal_flip: bool, seed: int) -> NDArray[np.uint8]:
        import torch

        change, flips = make(data.size), np.random.default_rng(seed)

        def view(image: Pixels) -> Pixels:
            x = torch.tensor(image)
            out: Pixels = change(x if len(x) in (1, 3) else x[:, None]).reshape(x.shape).numpy()
            return out

        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            filled = _fill(data, views, view)
        if horizontal_flip:
            mirrored = flips.random(filled.shape[:2]) < 0.5
            filled[mirrored] = filled[mirrored][..., ::-1]
        return filled

    return bank


def _fill(data: LabelledImages, views: int, view: Callable[[Pixels], Pixels]) -> NDArray[np.uint8]:
    bank = np.empty((views, *data.images.shape), np.uint8)
    for row in bank:
        for image, target in zip(data.images, row, strict=True):
            target[:] = view(image)
    return bank


POLICIES: dict[str, Bank] = {
    "light": _by_albumentations(light),
    "standard": _by_albumentations(standard),
    "strong": _by_albumentations(strong),
    "trivial-augment": _by_torchvision(trivial_augment),
    "rand-augment": _by_torchvision(rand_augment),
}


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
    return POLICIES[policy](data, views, horizontal_flip, seed)
