"""Labelled images: the one form in which pictures travel through the project.

Pixels stay uint8 in memory (a quarter of float32) and become floats batch by batch, on the device. Square sizes that
are multiples of 4 from 8 to 128 px are what the networks are built for. No torch is imported here: the two pixel
conversions only call methods of the tensor they are given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from augment.errors import ConfigError, SourceError
from augment.words import counted

if TYPE_CHECKING:
    import torch

Resize = Literal["pad", "crop", "stretch"]
SMALLEST, LARGEST, MULTIPLE = 8, 128, 4  # px
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class LabelledImages:
    """Images with one class each.

    images: uint8, N x C x H x W, values 0 to 255; may be a strided view. labels: int64, N, values 0 to K - 1.
    class_names: K names. Raises `SourceError` if the three do not fit each other.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise SourceError(
                f"expected uint8 images of shape N x C x H x W, got {self.images.dtype} of shape {self.images.shape}"
            )
        if self.labels.shape != (len(self.images),):
            raise SourceError(f"expected {len(self.images)} labels, one an image, got shape {self.labels.shape}")
        if len(self.labels) and not (self.labels.min() >= 0 and self.labels.max() < len(self.class_names)):
            wrong = self.labels.max() if self.labels.max() >= len(self.class_names) else self.labels.min()
            raise SourceError(
                f"label {wrong} is outside the classes: {len(self.class_names)} class names mean labels "
                f"0 to {len(self.class_names) - 1}"
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def num_classes(self) -> int:
        """K, the number of classes, empty ones included."""
        return len(self.class_names)

    @property
    def channels(self) -> int:
        """C, the number of channels."""
        return int(self.images.shape[1])

    @property
    def size(self) -> int:
        """Height and width in px. Raises `SourceError` if the images are not square."""
        height, width = self.images.shape[2:]
        if height != width:
            raise SourceError(f"expected square images, got {height} x {width} px; give an image size to resize to")
        return int(height)

    def counts(self) -> NDArray[np.int64]:
        """Images of each class: int64, K."""
        return np.bincount(self.labels, minlength=self.num_classes)

    def per_class(self) -> dict[str, int]:
        """Images of each class, by its name."""
        return dict(zip(self.class_names, self.counts().tolist(), strict=True))

    def take(self, indices: NDArray[np.integer]) -> LabelledImages:
        """The images at `indices`, copied, in that order."""
        return LabelledImages(self.images[indices], self.labels[indices], self.class_names)


def draw_per_class(labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Places of at most `count` images of each class, drawn without replacement, in ascending order."""
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(np.flatnonzero(labels == k))[:count] for k in range(labels.max(initial=-1) + 1)]
    return np.sort(np.concatenate([np.empty(0, np.int64), *drawn]))


def subset_per_class(data: LabelledImages, count: int, seed: int) -> LabelledImages:
    """At most `count` images of each class, drawn without replacement; a class with fewer keeps all that it has."""
    return data.take(draw_per_class(data.labels, count, seed))


def split_per_class(data: LabelledImages, share: float, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """(kept, held out): `share` of each class is held out, at least one image, and at least one is kept.

    Raises `SourceError` if a class has a single image.
    """
    rng = np.random.default_rng(seed)
    kept, held_out = [], []
    for k, name in enumerate(data.class_names):
        members = rng.permutation(np.flatnonzero(data.labels == k))
        if len(members) < 2:
            raise SourceError(
                f"class {name!r} has {counted(len(members), 'image')}: 2 are needed to hold one out for the test"
            )
        cut = min(max(round(share * len(members)), 1), len(members) - 1)
        held_out.append(members[:cut])
        kept.append(members[cut:])
    return data.take(np.sort(np.concatenate(kept))), data.take(np.sort(np.concatenate(held_out)))


def concatenate(parts: Sequence[LabelledImages]) -> LabelledImages:
    """All parts in order. Raises `SourceError` if classes, channels or sizes differ."""
    first = parts[0]
    for other in parts[1:]:
        if other.class_names != first.class_names:
            raise SourceError(f"the classes differ: {list(first.class_names)} and {list(other.class_names)}")
        if other.images.shape[1:] != first.images.shape[1:]:
            raise SourceError(f"the image shapes differ: {first.images.shape[1:]} and {other.images.shape[1:]}")
    return LabelledImages(
        np.concatenate([p.images for p in parts]), np.concatenate([p.labels for p in parts]), first.class_names
    )


def check_size(size: int) -> int:
    """`size` if it is a multiple of 4 from 8 to 128, else `ConfigError` that names the nearest."""
    if size != nearest_size(size):
        raise ConfigError(
            f"image size {size} is not a multiple of {MULTIPLE} from {SMALLEST} to {LARGEST}; "
            f"the nearest is {nearest_size(size)}"
        )
    return size


def nearest_size(size: float) -> int:
    """The allowed image size nearest to `size` px; halves go up."""
    within = min(max(size, SMALLEST), LARGEST)  # first, for the sake of integers that no float can hold
    return int(within / MULTIPLE + 0.5) * MULTIPLE


def fit_to_square(picture: Image.Image, size: int, resize: Resize) -> Image.Image:
    """`picture` at size x size px: `pad` with the colour of its border, `crop` its centre, or `stretch` it."""
    width, height = picture.size
    if (width, height) == (size, size):
        return picture
    if resize == "stretch" or width == height:
        return picture.resize((size, size), Image.Resampling.LANCZOS)
    scale = size / (max if resize == "pad" else min)(width, height)
    scaled = picture.resize((max(round(width * scale), 1), max(round(height * scale), 1)), Image.Resampling.LANCZOS)
    left, top = (size - scaled.width) // 2, (size - scaled.height) // 2  # negative where the picture is cropped
    square = Image.new(scaled.mode, (size, size), _border_colour(scaled))
    square.paste(scaled, (left, top))
    return square


def _border_colour(picture: Image.Image) -> int | tuple[int, ...]:
    pixels = np.asarray(picture)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    median = np.median(border, axis=0).astype(int)
    return int(median) if median.ndim == 0 else tuple(int(m) for m in median)


def resize_images(images: NDArray[np.uint8], size: int, resize: Resize) -> NDArray[np.uint8]:
    """N x C x H x W uint8 to N x C x size x size uint8; unchanged, not copied, if it has that size already."""
    count, channels, height, width = images.shape
    if (height, width) == (size, size):
        return images
    out = np.empty((count, channels, size, size), np.uint8)
    for image, target in zip(images, out, strict=True):
        planes = [Image.fromarray(plane) for plane in np.ascontiguousarray(image)]
        target[:] = [np.asarray(fit_to_square(plane, size, resize)) for plane in planes]
    return out


def fingerprint(data: LabelledImages) -> str:
    """16 hexadecimal digits of SHA-256 over pixels, labels and class names."""
    digest = hashlib.sha256(repr((data.images.shape, data.class_names)).encode())
    digest.update(data.labels.tobytes())
    for image in data.images:
        digest.update(image.tobytes())
    return digest.hexdigest()[:16]


def to_signed(images: torch.Tensor) -> torch.Tensor:
    """uint8, 0 to 255, to float32, -1 to 1: the range of generators, discriminators and classifiers."""
    return images.float().div_(127.5).sub_(1)


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """Float, -1 to 1, to uint8, 0 to 255, rounded to nearest and clipped."""
    return images.float().add(1).mul(127.5).round_().clamp_(0, 255).byte()
