"""Optimistic Adam is the published recursion, and settles where simultaneous Adam goes round in circles."""

from __future__ import annotations

import pytest
import torch

from augment.optimisers import OptimisticAdam


@pytest.mark.parametrize("fused", [False, True])
def test_it_follows_the_published_recursion(fused: bool) -> None:
    lr, b1, b2, eps = 0.1, 0.5, 0.9, 1e-8
    theta = torch.tensor([1.0, -2.0, 0.3], dtype=torch.float64, requires_grad=True)
    optimiser = OptimisticAdam([theta], lr, (b1, b2), eps=eps, fused=fused)
    expected, m, v, last = theta.detach().clone(), torch.zeros(3), torch.zeros(3), torch.zeros(3)
    for t in range(1, 7):
        target = torch.tensor([0.1 * t, 1.0, -1.0])
        optimiser.zero_grad()
        ((theta - target) ** 4).sum().backward()
        optimiser.step()
        gradient = 4 * (expected - target) ** 3
        m, v = b1 * m + (1 - b1) * gradient, b2 * v + (1 - b2) * gradient**2
        direction = (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + eps)
        expected = expected - 2 * lr * direction + lr * last
        last = direction
        torch.testing.assert_close(theta.detach(), expected)


def distance_after(kind: type[torch.optim.Adam], steps: int) -> float:
    """From the solution (0, 0) of min over x, max over y of x y, played simultaneously from (1, 0.5)."""
    x, y = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (1.0, 0.5))
    optimisers = [kind([player], 0.02, (0.0, 0.99)) for player in (x, y)]
    for _ in range(steps):
        x.grad, y.grad = y.detach().clone(), -x.detach()
        for optimiser in optimisers:
            optimiser.step()
    return float(torch.hypot(x, y).detach())


def test_it_settles_in_a_game_in_which_simultaneous_adam_does_not() -> None:
    assert distance_after(OptimisticAdam, 2000) < 0.1
    assert distance_after(torch.optim.Adam, 2000) > 0.4
