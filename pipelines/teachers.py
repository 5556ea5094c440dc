"""Classifiers that judge: the feature network behind the fidelity figures, which has seen the training images only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from augment.fidelity import Memorisation, kid, memorisation, precision_recall
from augment.images import LabelledImages, to_signed
from classifiers.networks import features
from pipelines.experiment import GAN_TRAIN, Materials, one_thread, repeat_seed, train_arm
from pipelines.schema import Arm, EvaluateConfig

BATCH = 128
AT_MOST = 2000  # images of each kind: distances and kernels grow with the square


@dataclass(frozen=True)
class Fidelity:
    """The figures for results.json, and what the report shows of the nearest neighbours."""

    figures: dict[str, Any]
    synthetic: LabelledImages  # the images that were judged
    memorisation: Memorisation


@one_thread()
def measure_fidelity(
    materials: Materials, config: EvaluateConfig, records: Sequence[dict[str, Any]], *, device: torch.device
) -> Fidelity:
    """KID, precision, recall and memorisation on features of a classifier trained on the training images only.

    records supply GAN-train: the accuracy on real test images of classifiers trained on synthetic images alone
    (Shmelkov et al., "How good is my GAN?", arXiv 1807.09499). Materials must hold synthetic images.
    """
    assert materials.synthetic is not None
    teacher = Arm(name="teacher", policy=config.policy)
    network = train_arm(teacher, materials, config, seed=repeat_seed(config.seed, 0), device=device)
    synthetic, test = _at_most(materials.synthetic), _at_most(materials.test)
    train_f, test_f, synthetic_f = (_features(network, data, device) for data in (materials.train, test, synthetic))
    precision, recall = precision_recall(test_f, synthetic_f)
    memory = memorisation(train_f, test_f, synthetic_f)
    gan_train = [record["accuracy"] for record in records if record["arm"] == GAN_TRAIN.name]
    figures = {
        "kid": kid(test_f, synthetic_f),
        "kid_subset_size": min(len(test), len(synthetic)),
        "precision": precision,
        "recall": recall,
        "gan_train_accuracy": float(np.mean(gan_train)),
        "memorised_fraction": memory.fraction,
    }
    return Fidelity(figures, synthetic, memory)


def _at_most(data: LabelledImages) -> LabelledImages:
    if len(data) <= AT_MOST:
        return data
    return data.take(np.sort(np.random.default_rng(0).permutation(len(data))[:AT_MOST]))


@torch.inference_mode()
def _features(network: nn.Module, data: LabelledImages, device: torch.device) -> NDArray[np.float64]:
    images = torch.from_numpy(np.ascontiguousarray(data.images))
    batches = torch.split(images, BATCH)
    return torch.cat([features(network, to_signed(batch.to(device))).double().cpu() for batch in batches]).numpy()
