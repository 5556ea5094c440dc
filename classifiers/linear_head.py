"""Multinomial logistic regression on features: the linear classifier of pretrained features.

It minimises what the training of a network with the same pools minimises on average: every image counts as often as
`batches.draw_batches` would draw it. The problem is convex, so there are no steps and no random numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from classifiers.batches import SAMPLING, Pool

MAX_ITERATIONS = 500  # about 100 are needed
TOLERANCE = 1e-7  # of the largest absolute derivative of the loss of one image


def image_weights(pools: Sequence[Pool], sampling: str) -> list[Tensor]:
    """Return how often each image of each pool is drawn, if as many are drawn as there are images: float64, N each.

    The shares of the pools and the policy `SAMPLING` decide this; spans are ignored.
    """
    total = sum(len(pool.labels) for pool in pools)
    return [total * pool.share * _probabilities(pool.labels, SAMPLING[sampling]) for pool in pools]


def _probabilities(labels: Tensor, exponent: float) -> Tensor:
    """Return the probability to draw each image, if a class is drawn in proportion to its size^exponent."""
    counts = labels.bincount().double()
    class_weights = torch.where(counts > 0, counts**exponent, 0.0)
    return (class_weights / class_weights.sum() / counts)[labels]


def fit_linear_head(features: Tensor, targets: Tensor, penalty_weight: float) -> nn.Linear:
    """Fit logits = W x + b to minimise C * sum of cross entropies + |W|^2 / 2, with C = `penalty_weight`.

    features: float, N x D. targets: float, N x K; probabilities of the classes, multiplied by the weight of the image.
    Returns a layer in float32 on the CPU. The fit is by L-BFGS in float64, and the same on all devices.
    """
    x, t = features.double().cpu(), targets.double().cpu()
    weight = torch.zeros(t.shape[1], x.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(t.shape[1], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weight, bias],
        max_iter=MAX_ITERATIONS,
        tolerance_grad=TOLERANCE,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        cross_entropies = -(t * torch.log_softmax(x @ weight.T + bias, 1)).sum()
        value = (penalty_weight * cross_entropies + weight.square().sum() / 2) / (penalty_weight * len(x))
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    head = nn.Linear(x.shape[1], t.shape[1])
    head.weight.data, head.bias.data = weight.detach().float(), bias.detach().float()
    return head
