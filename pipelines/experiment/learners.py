"""What turns the pools of an arm into a classifier: `LEARNERS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from classifiers.fine_tuning import fine_tune
from classifiers.networks import Classifier
from classifiers.pools import AnyPool, Pool
from classifiers.training import fit, predict
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.feature_learning import predict_by_features, train_on_features
from pipelines.experiment.folds import Fold


class Learner(NamedTuple):
    """How the pools of an arm become a classifier, and how the test images are classified.

    train: (pools, fold, config, seed, device) to a model in eval mode on the device, which maps images, float
    (N, C, H, W) in [-1, 1], to logits. predict: (model, fold) to the logits of the fold's test images, float32, N x K,
    on the CPU. converges: whether it minimises its loss exactly, so that it has no steps. temperature: of the
    softmax of its logits on unlabelled images, from which a second classifier learns.
    """

    train: Callable[[Sequence[AnyPool], Fold, EvaluateConfig, int, torch.device], nn.Module]
    predict: Callable[[nn.Module, Fold], Tensor]
    converges: bool
    temperature: float = 1.0


def _train_network(
    pools: Sequence[AnyPool], fold: Fold, config: EvaluateConfig, seed: int, device: torch.device
) -> nn.Module:
    return fit(pools, fold.train.num_classes, config.classifier, seed=seed, device=device)


def _predict_by_network(model: nn.Module, fold: Fold) -> Tensor:
    return predict(model, fold.test.images)


def _fine_tune(
    pools: Sequence[AnyPool], fold: Fold, config: EvaluateConfig, seed: int, device: torch.device
) -> nn.Module:
    """Fine-tune the pretrained network of `config.features`, starting from the linear classifier of the real images."""
    real = Pool(torch.from_numpy(fold.train.images[None]), torch.from_numpy(fold.train.labels))
    pretrained = train_on_features([real], fold, config, seed, device)
    assert isinstance(pretrained, Classifier)
    return fine_tune(pretrained, pools, config.classifier, seed=seed, device=device)


LEARNERS: dict[str, Learner] = {
    "network": Learner(_train_network, _predict_by_network, converges=False),
    "finetune": Learner(_fine_tune, _predict_by_network, converges=False),
    # a linear classifier that learns its own probabilities unchanged stays as it is (temperatures of 1, 0.5 and 0.25
    # were measured on CIFAR-10, see docs/benchmarks.md)
    "features": Learner(train_on_features, predict_by_features, converges=True, temperature=0.25),
}
