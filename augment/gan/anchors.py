"""Which training images a synthetic image is made from, and how their feature maps are combined: `ANCHOR_POLICIES`.

An anchor is a training image of the class that is generated. A policy combines the features of the anchor with those of
a second image of the class (the partner), and with the difference between two images of another class (the lender and
the base), of which the base is similar to the anchor. A class with few images can thus show a variation that only a
class with many images contains. Related work: ChimeraMix (arXiv 2202.11616) for masks, DeltaGAN (ECCV 2022) and
generative invariance transfer (arXiv 2203.09739) for variation from other classes.

All random numbers of an image come as one row of a uniform tensor, so that an image can be generated again from a seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from augment.dataset.images import LabelledImages, to_signed
from augment.dataset.pair_mixing import GRID_SIDES
from augment.errors import ConfigError
from augment.gan.class_index import ClassIndex

INDEX_UNIFORMS = 7  # random numbers of one image for the indices, the flips, and whether it gets a difference
POLICY_UNIFORMS = 1 + GRID_SIDES[-1] ** 2  # random numbers for a policy
UNIFORMS_PER_IMAGE = INDEX_UNIFORMS + POLICY_UNIFORMS  # per image, in [0, 1)
DIFFERENCE_FRACTION = 0.5  # fraction of the images that get a difference
DIFFERENCE_COLUMN = INDEX_UNIFORMS - 1  # the column of the number that decides this for an image
NEAREST_BASES = 10  # the base is drawn from this many images, those most similar to the anchor
THUMBNAIL = 7  # px; images are compared by their thumbnails
CHUNK = 1024  # images that are compared at once


class Features(NamedTuple):
    """Feature maps (B, C, H, W) of the images behind B synthetic images; None for those that a policy does not use.

    Only some of the B images get a difference, and the lenders of the others are not encoded.
    """

    anchor: Tensor
    partner: Tensor | None = None  # of the same class
    lender: Tensor | None = None  # (R, C, H, W); both of one class, usually not the anchor's; lender - base is added
    base: Tensor | None = None
    with_difference: Tensor | slice = slice(None)  # which R of the B images get a difference


COLUMNS = {name: column for column, name in enumerate(("anchor", "partner", "lender", "base"))}  # of `Anchors.draw`


class AnchorPolicy(NamedTuple):
    """How features are combined, and which images that needs beside the anchor."""

    partner: bool
    lenders: bool
    combine: Callable[[Features, Tensor], Tensor]  # (features, uniforms: (B, POLICY_UNIFORMS)) -> (B, C, H, W)

    @property
    def used_fields(self) -> tuple[str, ...]:
        """The fields of `Features` that the policy uses."""
        return ("anchor", *(["partner"] if self.partner else []), *(["lender", "base"] if self.lenders else []))


def anchor_alone(features: Features, uniforms: Tensor) -> Tensor:
    """Return the features of the anchor, so that the network reconstructs it: a control for the other policies."""
    return features.anchor


def grid(features: Features, uniforms: Tensor) -> Tensor:
    """Take each cell of a random mask of 2 x 2 to 4 x 4 cells from the anchor or from the partner.

    Source: ChimeraMix, arXiv 2202.11616, section 3 (its grid mask, with the number of cells drawn here for each image).
    """
    assert features.partner is not None
    return torch.where(grid_mask(uniforms, features.anchor.shape[-1]), features.anchor, features.partner)


def difference(features: Features, uniforms: Tensor) -> Tensor:
    """Add the difference between lender and base at each spatial position; this suits aligned objects."""
    return _add_difference(features.anchor, features.with_difference, _difference(features))


def grid_difference(features: Features, uniforms: Tensor) -> Tensor:
    """Mix with the partner by a mask, and add the difference between lender and base at each spatial position."""
    return _add_difference(grid(features, uniforms), features.with_difference, _difference(features))


def pooled_difference(features: Features, uniforms: Tensor) -> Tensor:
    """Add the spatial mean of the difference between lender and base.

    A mean has no layout: it carries brightness, stroke thickness and texture, and leaves the shape to the anchor.
    """
    return _add_difference(features.anchor, features.with_difference, _difference(features).mean((2, 3), keepdim=True))


ANCHOR_POLICIES: dict[str, AnchorPolicy] = {
    "reconstruction": AnchorPolicy(False, False, anchor_alone),
    "grid": AnchorPolicy(True, False, grid),
    "difference": AnchorPolicy(False, True, difference),
    "grid-difference": AnchorPolicy(True, True, grid_difference),
    "pooled-difference": AnchorPolicy(False, True, pooled_difference),
}


def grid_mask(uniforms: Tensor, side: int) -> Tensor:
    """Return random masks of 2 x 2, 3 x 3 or 4 x 4 cells: bool (B, 1, side, side). uniforms: (B, POLICY_UNIFORMS)."""
    largest = GRID_SIDES[-1]
    chosen = (uniforms[:, 0] * len(GRID_SIDES)).long()
    cells = (uniforms[:, 1:] < 0.5).float().view(-1, 1, largest, largest)
    masks = [interpolate(cells[:, :, :cell, :cell], size=(side, side)) for cell in GRID_SIDES]
    return torch.stack(masks)[chosen, torch.arange(len(uniforms), device=uniforms.device)] > 0


def _difference(features: Features) -> Tensor:
    assert features.lender is not None
    assert features.base is not None
    return features.lender - features.base


def _add_difference(maps: Tensor, with_difference: Tensor | slice, difference: Tensor) -> Tensor:
    maps = maps.clone()
    maps[with_difference] += difference
    return maps


@dataclass(frozen=True)
class Anchors:
    """The training images on the device, and which of them belong to each class.

    images: uint8, N x C x H x W. difference_classes: int64; those that lend differences. bases: int64, N x S; the
    images of these classes that are most similar to each image, or the images themselves, N x 1, if no class lends.
    flip: whether images may be mirrored.
    """

    images: Tensor
    index: ClassIndex
    difference_classes: Tensor
    bases: Tensor
    flip: bool

    @classmethod
    def from_images(cls, data: LabelledImages, lenders_from: int, *, flip: bool, device: torch.device) -> Self:
        """Return the anchors of `data`. Classes with at least `lenders_from` images lend differences."""
        counts = torch.from_numpy(data.counts()).to(device)
        return cls._from_images(data, (counts >= max(lenders_from, 2)).nonzero().squeeze(1), flip)

    @classmethod
    def _from_images(cls, data: LabelledImages, difference_classes: Tensor, flip: bool) -> Self:
        index, images = (
            ClassIndex.from_images(data, difference_classes.device),
            torch.from_numpy(data.images).to(difference_classes.device),
        )
        return cls(images, index, difference_classes, _similar(images, index, difference_classes), flip)

    def restricted_to(self, data: LabelledImages) -> Self:
        """Return the anchors of `data`, which are some of these images. The same classes lend differences."""
        return self._from_images(data, self.difference_classes, self.flip)

    @property
    def discriminator_classes(self) -> Tensor:
        """The classes that D learns from: those that lend differences, or all with images if none is large enough."""
        return self.difference_classes if len(self.difference_classes) else self.index.present

    def draw(self, labels: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Draw the images behind each synthetic image: indices, int64 (B, 4), and whether to mirror each, bool (B, 4).

        The columns are anchor, partner, lender and base. The partner differs from the anchor if the class has two
        images, and the lender from its base. Anchor and partner are mirrored alike, lender and base too.
        labels: int64 (B,), of classes with images. uniforms: (B, INDEX_UNIFORMS) or more columns, in [0, 1).
        """
        anchor = self.index.draw(labels, uniforms[:, 0])
        partner = self.index.draw_another(anchor, uniforms[:, 1])
        base = self.bases[anchor, (uniforms[:, 2] * self.bases.shape[1]).long()]
        lender = self.index.draw_another(base, uniforms[:, 3])
        # masked and not indexed: an index would be copied to the device
        mirrored = (uniforms[:, 4:6, None] < 0.5).expand(-1, -1, 2).flatten(1) & self.flip
        return torch.stack([anchor, partner, lender, base], 1), mirrored


def _similar(images: Tensor, index: ClassIndex, difference_classes: Tensor) -> Tensor:
    """Return the most similar images of lending classes for each image, of another class where several classes lend."""
    candidates = torch.isin(index.labels, difference_classes).nonzero().squeeze(1)
    if not len(candidates):
        return torch.arange(len(images), device=images.device)[:, None]
    thumbnails = torch.cat(
        [adaptive_avg_pool2d(to_signed(chunk), THUMBNAIL).flatten(1) for chunk in torch.split(images, CHUNK)]
    )
    fewest = len(candidates) - (int(index.counts[difference_classes].max()) if len(difference_classes) > 1 else 0)
    nearest = []
    for own, chunk in zip(torch.split(index.labels, CHUNK), torch.split(thumbnails, CHUNK), strict=True):
        distances = torch.cdist(chunk, thumbnails[candidates])
        if len(difference_classes) > 1:
            distances[own[:, None] == index.labels[candidates]] = torch.inf
        nearest.append(candidates[distances.topk(min(NEAREST_BASES, fewest), largest=False).indices])
    return torch.cat(nearest)


def check_anchor_policy(name: str, data: LabelledImages, lenders_from: int) -> None:
    """Raise `ConfigError` if the images of `data` are too few for a policy."""
    policy, counts = ANCHOR_POLICIES[name], data.per_class()
    largest = max(counts, key=lambda label: counts[label])
    if policy.lenders and counts[largest] < max(lenders_from, 2):
        raise ConfigError(
            f"no class has the {max(lenders_from, 2)} images that anchors {name!r} needs to lend differences (the "
            f"largest, {largest}, has {counts[largest]}): set lenders_from of the generator lower, or anchors: grid"
        )
    alone = [label for label, count in counts.items() if count == 1]
    if policy.partner and not policy.lenders and alone:
        raise ConfigError(
            f"class {alone[0]!r} has one image, and anchors {name!r} mixes two: add an image, or use anchors that lend "
            "differences, such as pooled-difference"
        )
