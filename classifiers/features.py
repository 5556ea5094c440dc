"""Features of images by a pretrained network that is not trained further, computed once for each image.

A `FeatureTable` finds the features of an image by the hash of its pixels. Images that several arms, repeats or folds
share are therefore computed once, and it does not matter in which set they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor, nn

from augment.dataset.images import image_hashes, to_signed
from classifiers.backbones import BACKBONES, INPUT_SIZE, build_body, load_body
from classifiers.networks import Classifier

BATCH = 8  # images; on a CPU, a batch of 64 takes twice as long an image, because it leaves the cache
Pixels = NDArray[np.uint8]


class FeatureConfig(BaseModel):
    """Settings of the pretrained features and of the linear classifier on them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    backbone: str = "efficientnet-lite0"
    backbone_weights: str | None = None  # a path, or `download`; None: the weights that come with the backbone
    input_size: int = Field(INPUT_SIZE, ge=32, le=512)  # px, to which images are resized
    # inverse of the strength of the L2 penalty, as in scikit-learn. Of 1, 10 and 100, this was the best or
    # within a point of it on Fashion-MNIST and CIFAR-10 at 5, 20 and 50 images per class.
    C: float = Field(10.0, gt=0, le=1e6)

    @field_validator("backbone")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in BACKBONES:
            raise ValueError(f"expected one of {', '.join(BACKBONES)}, got {value!r}")
        return value


class L2Normalise(nn.Module):
    """Divides every feature vector by its L2 norm, so that the classifier depends on its direction only."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, D) to (N, D)."""
        return nn.functional.normalize(x)


def load_extractor(config: FeatureConfig) -> nn.Module:
    """Load the network from images, float (N, C, size, size) in [-1, 1], to features (N, D) of unit length.

    It is in eval mode, on the CPU, and its weights get no gradients. Raises `ConfigError` if there are no weights.
    """
    body = load_body(config.backbone, config.backbone_weights, config.input_size)
    return nn.Sequential(body, L2Normalise()).eval().requires_grad_(False)


def build_pretrained(config: FeatureConfig, num_classes: int) -> Classifier:
    """Build a classifier of these features with random weights, to load others into it."""
    body = nn.Sequential(build_body(config.backbone, config.input_size), L2Normalise())
    return Classifier(body, BACKBONES[config.backbone].dimension, num_classes)


@torch.inference_mode()
def extract(extractor: nn.Module, images: Pixels, device: torch.device) -> NDArray[np.float32]:
    """Compute the features of images, uint8 N x C x H x W, by a network on `device`: float32, N x D."""
    batches = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
    signed = (to_signed(torch.from_numpy(np.ascontiguousarray(batch)).to(device)) for batch in batches)
    features: NDArray[np.float32] = torch.cat([extractor(x).float().cpu() for x in signed]).numpy()
    return features


@dataclass(frozen=True)
class FeatureTable:
    """Features by the `image_hashes` of N > 0 images. hashes: strings, N, ascending. features: float32, N x D."""

    hashes: NDArray[np.str_]
    features: NDArray[np.float32]

    def find(self, images: Pixels) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the row of each image, and whether the table has it; the row of one that it lacks means nothing."""
        wanted = np.array(image_hashes(images))
        rows = np.searchsorted(self.hashes, wanted).clip(max=len(self.hashes) - 1)
        return rows, self.hashes[rows] == wanted


def features_of(
    images: Pixels, extractor: nn.Module, table: FeatureTable | None, device: torch.device
) -> NDArray[np.float32]:
    """Return the features of images, uint8 N x C x H x W: float32, N x D. Those that the table has are not computed.

    table: made by the same extractor, or None.
    """
    if table is None:
        return extract(extractor, images, device)
    rows, found = table.find(images)
    features = table.features[rows]
    if not found.all():
        features[~found] = extract(extractor, images[~found], device)
    return features
