"""Optimistic Adam, for two players who move at the same time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class OptimisticAdam(torch.optim.Adam):
    """Adam that makes every move twice and takes the one before back: theta += 2 move_t - move_(t-1), the first from 0.

    Around the solution of a game simultaneous steps turn outwards, since each player answers what the other has just
    left; the extrapolated move answers where the other is going. Source: Daskalakis et al., Training GANs with
    Optimism, arXiv 1711.00141, algorithm 1. One move more per parameter is kept, in `state[parameter]["move"]`.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of all parameters that have a gradient."""
        parameters = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        before = [p.clone() for p in parameters]
        result = super().step(closure)
        moves = torch._foreach_sub(parameters, before)
        last = [self.state[p].setdefault("move", torch.zeros_like(p)) for p in parameters]
        torch._foreach_add_(parameters, moves)
        torch._foreach_sub_(parameters, last)
        torch._foreach_copy_(last, moves)  # in place, as CUDA graphs need it
        return result
