"""`LabelledImages`, the representation of images in the whole project, and the operations on it.

Pixels stay uint8 in memory, a quarter of the size of float32, and each batch is converted to floats on the device. The
networks require square images whose size is a multiple of 4 from 8 to 128 px. This module does not import torch: the
two pixel conversions only call methods of their argument.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from augment.errors import ConfigError, SourceError
from augment.words import counted

if TYPE_CHECKING:
    import torch

Resize = Literal["pad", "crop", "stretch"]
MIN_SIZE, MAX_SIZE, SIZE_STEP = 8, 128, 4  # px
SPLITS = ("train", "val", "test")
SPLIT_NAMES = {  # usual names of the splits, in lower case
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
HASH_DIGITS = 32  # of `image_hashes`


@dataclass(frozen=True)
class LabelledImages:
    """Images, each with one class.

    images: uint8, N x C x H x W, values 0 to 255, possibly a strided view. labels: int64, N, values 0 to K - 1.
    class_names: K names. Raises `SourceError` if the three are inconsistent.
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
            raise SourceError(f"expected {len(self.images)} labels, one per image, got shape {self.labels.shape}")
        if len(self.labels) and not (self.labels.min() >= 0 and self.labels.max() < len(self.class_names)):
            invalid = self.labels.max() if self.labels.max() >= len(self.class_names) else self.labels.min()
            raise SourceError(
                f"label {invalid} is outside the classes: {len(self.class_names)} class names mean labels "
                f"0 to {len(self.class_names) - 1}"
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def num_classes(self) -> int:
        """K, the number of classes, including empty ones."""
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

    @cached_property
    def hashes(self) -> list[str]:
        """The hash of each image; see `image_hashes`."""
        return image_hashes(self.images)

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of a SHA-256 hash of pixels, labels and class names."""
        digest = hashlib.sha256(repr((self.images.shape, self.class_names)).encode())
        digest.update(self.labels.tobytes())
        for image in self.images:
            digest.update(image.tobytes())
        return digest.hexdigest()[:16]

    def counts(self) -> NDArray[np.int64]:
        """Return the number of images of each class: int64, K."""
        return np.bincount(self.labels, minlength=self.num_classes)

    def per_class(self) -> dict[str, int]:
        """Return the number of images of each class, by class name."""
        return dict(zip(self.class_names, self.counts().tolist(), strict=True))

    def take(self, indices: NDArray[np.integer]) -> LabelledImages:
        """Return a copy of the images at `indices`, in that order."""
        return LabelledImages(self.images[indices], self.labels[indices], self.class_names)


def draw_per_class(labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Draw at most `count` images of each class without replacement, and return their indices in ascending order."""
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(np.flatnonzero(labels == k))[:count] for k in range(labels.max(initial=-1) + 1)]
    return np.sort(np.concatenate([np.empty(0, np.int64), *drawn]))


def subset_per_class(data: LabelledImages, count: int, seed: int) -> LabelledImages:
    """Draw at most `count` images of each class without replacement; classes with fewer images are kept completely."""
    return data.take(draw_per_class(data.labels, count, seed))


def split_per_class(
    data: LabelledImages, fraction: float, seed: int, purpose: str = "the test"
) -> tuple[LabelledImages, LabelledImages]:
    """Hold out `fraction` of each class and return (kept, held out), with at least one image of each class in both.

    purpose: what the images are held out for, in words. Raises `SourceError` if a class has fewer than two images.
    """
    rng = np.random.default_rng(seed)
    kept, held_out = [], []
    for k, name in enumerate(data.class_names):
        members = rng.permutation(np.flatnonzero(data.labels == k))
        if len(members) < 2:
            raise SourceError(
                f"class {name!r} has {counted(len(members), 'image')} here: 2 are needed to hold one out for {purpose}"
            )
        cut = min(max(round(fraction * len(members)), 1), len(members) - 1)
        held_out.append(members[:cut])
        kept.append(members[cut:])
    return data.take(np.sort(np.concatenate(kept))), data.take(np.sort(np.concatenate(held_out)))


def concatenate(parts: Sequence[LabelledImages]) -> LabelledImages:
    """Concatenate the parts in order. Raises `SourceError` if their classes, channels or sizes differ."""
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
    """Return `size` if it is a multiple of 4 from 8 to 128, else raise `ConfigError` that names the nearest one."""
    if size != nearest_size(size):
        raise ConfigError(
            f"image size {size} is not a multiple of {SIZE_STEP} from {MIN_SIZE} to {MAX_SIZE}; "
            f"the nearest is {nearest_size(size)}"
        )
    return size


def nearest_size(size: float) -> int:
    """Return the allowed image size nearest to `size` px; ties are rounded up."""
    clipped = min(max(size, MIN_SIZE), MAX_SIZE)  # before the division, because huge integers do not fit into a float
    return int(clipped / SIZE_STEP + 0.5) * SIZE_STEP


def fit_to_square(picture: Image.Image, size: int, resize: Resize) -> Image.Image:
    """Resize `picture` to size x size px: `pad` with the colour of its border, `crop` its centre, or `stretch` it."""
    width, height = picture.size
    if (width, height) == (size, size):
        return picture
    if resize == "stretch" or width == height:
        return picture.resize((size, size), Image.Resampling.LANCZOS)
    if resize == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        return picture.resize((size, size), Image.Resampling.LANCZOS, (left, top, left + side, top + side))
    scale = size / max(width, height)
    scaled = picture.resize((max(round(width * scale), 1), max(round(height * scale), 1)), Image.Resampling.LANCZOS)
    square = Image.new(scaled.mode, (size, size), _border_colour(scaled))
    square.paste(scaled, ((size - scaled.width) // 2, (size - scaled.height) // 2))
    return square


def _border_colour(picture: Image.Image) -> int | tuple[int, ...]:
    pixels = np.asarray(picture)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    median = np.median(border, axis=0).astype(int)
    return int(median) if median.ndim == 0 else tuple(int(m) for m in median)


def to_channels(pixels: NDArray[np.uint8], channels: int, name: str) -> NDArray[np.uint8]:
    """Return a picture of 1 or 3 channels with `channels` of them: channels x H x W.

    Raises `SourceError`, which names the picture, if it has colours and `channels` is 1.
    """
    if channels == 1 and (pixels != pixels[:1]).any():
        raise SourceError(f"{name} is in colour, but grey pictures are expected: convert it to grey")
    return pixels[:1] if channels == 1 else np.broadcast_to(pixels, (channels, *pixels.shape[1:]))


def resize_images(images: NDArray[np.uint8], size: int, resize: Resize) -> NDArray[np.uint8]:
    """Resize N x C x H x W uint8 to N x C x size x size; returned without a copy if they have that size already."""
    count, channels, height, width = images.shape
    if (height, width) == (size, size):
        return images
    out = np.empty((count, channels, size, size), np.uint8)
    for image, target in zip(images, out, strict=True):
        planes = [Image.fromarray(plane) for plane in np.ascontiguousarray(image)]
        target[:] = [np.asarray(fit_to_square(plane, size, resize)) for plane in planes]
    return out


def image_hashes(images: NDArray[np.uint8]) -> list[str]:
    """Return a hash of the pixels of each image, `HASH_DIGITS` hexadecimal digits. images: uint8, N x C x H x W.

    Images of different shapes have different hashes.
    """
    shape = repr(images.shape[1:]).encode()
    return [hashlib.blake2b(shape + image.tobytes(), digest_size=HASH_DIGITS // 2).hexdigest() for image in images]


def to_signed(images: torch.Tensor) -> torch.Tensor:
    """Convert uint8, 0 to 255, to float32, -1 to 1, the range that all networks use."""
    return images.float().div_(127.5).sub_(1)


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """Convert floats, -1 to 1, to uint8, 0 to 255, rounded to the nearest value and clipped."""
    return images.float().add(1).mul(127.5).round_().clamp_(0, 255).byte()


def match_format(other: LabelledImages, real: LabelledImages, what: str) -> LabelledImages:
    """Convert `other` to the class names, image size and number of channels of `real`; some classes may be empty.

    what: the name of `other` in error messages. Raises `ConfigError` if `other` has classes that `real` does not have,
    or if it is in colour and `real` is grey.
    """
    unknown = sorted(set(other.class_names) - set(real.class_names))
    if unknown:
        raise ConfigError(
            f"the {what} have a class {unknown[0]!r} that the training images do not have; "
            f"the training images have {', '.join(real.class_names)}"
        )
    if other.channels > real.channels:
        raise ConfigError(f"the {what} are in colour and the training images are grey; convert one of them")
    index = np.array([real.class_names.index(name) for name in other.class_names])
    images = resize_images(other.images, real.size, "pad")
    if other.channels < real.channels:
        images = np.repeat(images, real.channels, axis=1)
    return LabelledImages(images, index[other.labels], real.class_names)
