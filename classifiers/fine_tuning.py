"""Fine-tuning: train all weights of a pretrained network, starting from a linear classifier on its features.

The last layer starts as the linear classifier of the frozen features, and not with zeros, because the gradients of a
last layer that knows nothing distort the features ("LP-FT": Kumar et al., "Fine-Tuning can Distort Pretrained Features
and Underperform Out-of-Distribution", arXiv 2202.10054, section 4). Batch norm keeps its statistics of ImageNet: those
of a few images are too noisy.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from classifiers.long_tail import LONG_TAIL
from classifiers.networks import Classifier
from classifiers.pools import AnyPool
from classifiers.training import ClassifierConfig, fit


class FineTuneConfig(BaseModel):
    """What differs from the training of a new network; all other settings are those of `ClassifierConfig`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    steps: int = Field(100, ge=1, le=10**8)
    batch_size: int = Field(32, ge=2, le=2**16)
    lr: float = Field(3e-4, gt=0, le=1)  # peak learning rate
    mixup: float = Field(0.0, ge=0, le=1000)  # methods that need mixup keep that of a new network

    def apply(self, classifier: ClassifierConfig) -> ClassifierConfig:
        """Return the settings of a new network's training, changed for fine-tuning."""
        kept = {"mixup"} if LONG_TAIL[classifier.long_tail].needs_mixup else None
        return classifier.model_copy(update=self.model_dump(exclude=kept))


def fine_tune(
    pretrained: Classifier, pools: Sequence[AnyPool], config: ClassifierConfig, *, seed: int, device: torch.device
) -> nn.Module:
    """Train all weights of a copy of a `Classifier` on `device` further, and return it in eval mode; see `fit`."""
    pretrained = copy.deepcopy(pretrained)
    pretrained.eval().requires_grad_(True)  # eval: batch norm keeps its statistics
    assert isinstance(pretrained.head, nn.Linear)
    return fit(pools, pretrained.head.out_features, config, seed=seed, device=device, model=pretrained)
