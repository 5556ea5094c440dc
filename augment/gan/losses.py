"""Adversarial losses on logits: pairs of scalar functions `L_D(l_r, l_f)` and `L_G(l_r, l_f)`, both minimised.

`l_r` and `l_f` are D's raw logits on real and on fake images, float, shape (B,), one logit per sample. A loss is
symmetric if dL_G/dl_f = -dL_D/dl_f, so that the gradient scale gamma = (dL_G/dl_f) / (dL_D/dl_f) is -1 everywhere
(Shen et al., arXiv 2103.00430, section 3.2). `cotangents` differentiates any pair of losses by autograd, so a new loss
needs no formula for its derivatives.

A `Term` is a part of L_D with a state, such as a multiplier or a moving average. It is added to L_D before the
cotangents are computed, because gamma would otherwise be wrong. The caller owns the state and saves it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

FLOOR = 2.0**-60  # a power of two: dividing by it and multiplying by it again is exact in floating point


class Term(NamedTuple):
    """A part of L_D on the logits (real, fake), each of shape (B,). Its state is a float32 vector."""

    value: Callable[[Tensor, Tensor, Tensor], Tensor]  # (l_r, l_f, state) -> scalar
    advance: Callable[[Tensor, Tensor, Tensor], Tensor]  # (l_r, l_f, state) -> state after D's update
    initial: tuple[float, ...]
    source: str


class Loss(NamedTuple):
    """A pair of scalar losses on the logits (real, fake), each of shape (B,)."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]
    symmetric: bool
    source: str
    constraint: Term | None = None  # a term that is part of the definition of the loss


class Cotangents(NamedTuple):
    """Derivatives of the losses with respect to the logits, each (B,): the inputs of one backward pass through D."""

    real: Tensor  # dL_D / dl_r
    fake: Tensor  # dL_D / dl_f, with absolute values of at least FLOOR
    gamma: Tensor  # (dL_G / dl_f) / `fake`, the gradient scale
    loss_d: Tensor  # scalar
    loss_g: Tensor  # scalar


TermsWithStates = Sequence[tuple[Term, Tensor]]


def discriminator_loss(loss: Loss, terms: TermsWithStates, l_r: Tensor, l_f: Tensor) -> Tensor:
    """Return L_D including its terms, a scalar."""
    total = loss.discriminator(l_r, l_f)
    for term, state in terms:
        total = total + term.value(l_r, l_f, state)
    return total


@torch.no_grad()
def advance(terms: TermsWithStates, l_r: Tensor, l_f: Tensor) -> None:
    """Update the states of the terms in place, after D has been updated at these logits."""
    for term, state in terms:
        state.copy_(term.advance(l_r, l_f, state))


def cotangents(loss: Loss, terms: TermsWithStates, l_r: Tensor, l_f: Tensor) -> Cotangents:
    """Return the cotangents of a loss at the logits (B,), which are detached; in float32 or, for float64, in float64.

    Source: arXiv 2103.00430, section 3.3. In addition, a floor is applied where dL_D/dl_f vanishes (a dead hinge, a
    saturated sigmoid), because the published ratio is infinite there. The floor changes D's gradient by at most 2^-60
    of its gradient under unit cotangents, and G's gradient stays exact.
    """
    dtype = torch.promote_types(l_r.dtype, torch.float32)
    with torch.enable_grad():
        real = l_r.detach().to(dtype).requires_grad_()
        fake = l_f.detach().to(dtype).requires_grad_()
        loss_d, loss_g = discriminator_loss(loss, terms, real, fake), loss.generator(real, fake)
        c_r, c_d = torch.autograd.grad(loss_d, (real, fake))
        (c_g,) = torch.autograd.grad(loss_g, fake)
    c_d = torch.where(c_d.abs() < FLOOR, torch.where(c_d < 0, -FLOOR, FLOOR), c_d)
    return Cotangents(c_r, c_d, c_g / c_d, loss_d.detach(), loss_g.detach())


def _minimax_d(l_r: Tensor, l_f: Tensor) -> Tensor:
    return softplus(-l_r).mean() + softplus(l_f).mean()


def _hinge_d(l_r: Tensor, l_f: Tensor) -> Tensor:
    return relu(1 - l_r).mean() + relu(1 + l_f).mean()


def _second_moment(l_r: Tensor, l_f: Tensor) -> Tensor:
    return ((l_r**2).mean() + (l_f**2).mean()) / 2


def fisher_constraint() -> Term:
    """Return the term -lambda (1 - O) + rho/2 (O - 1)^2, where O is the second moment of the logits.

    Source: Mroueh and Sercu, Fisher GAN, arXiv 1705.09675, eq. 9 and algorithm 1. It is the augmented Lagrangian of the
    constraint O = 1. The state is lambda, shape (1,); after every update of D, lambda <- lambda - rho (1 - O).
    """
    rho = 1e-6

    def value(l_r: Tensor, l_f: Tensor, state: Tensor) -> Tensor:
        excess = _second_moment(l_r, l_f) - 1
        return state[0] * excess + rho / 2 * excess**2

    def advance(l_r: Tensor, l_f: Tensor, state: Tensor) -> Tensor:
        return state + rho * (_second_moment(l_r, l_f) - 1)

    return Term(value, advance, initial=(0.0,), source="Mroueh and Sercu, arXiv 1705.09675, eq. 9, algorithm 1")


def lecam(weight: float) -> Term:
    """Return the LeCam regulariser, weight (mean (l_r - a_f)^2 + mean (l_f - a_r)^2), which works with any loss.

    The state, shape (2,), holds a_r and a_f, the exponential moving averages of the mean logits on real and on fake
    images. On small training sets it keeps D's logits on real images close to those on fakes. Source: Tseng et al.,
    Regularizing GANs under Limited Data, arXiv 2104.03310, section 3.
    """
    decay = 0.99

    def value(l_r: Tensor, l_f: Tensor, state: Tensor) -> Tensor:
        return weight * (((l_r - state[1]) ** 2).mean() + ((l_f - state[0]) ** 2).mean())

    def advance(l_r: Tensor, l_f: Tensor, state: Tensor) -> Tensor:
        return state.lerp(torch.stack([l_r.mean(), l_f.mean()]).to(state.dtype), 1 - decay)

    return Term(value, advance, initial=(0.0, 0.0), source="Tseng et al., arXiv 2104.03310, section 3")


LOSSES: dict[str, Loss] = {
    "minimax": Loss(
        _minimax_d,
        lambda _, l_f: -softplus(l_f).mean(),
        symmetric=True,
        source="Goodfellow et al., Generative Adversarial Nets, arXiv 1406.2661, eq. 1",
    ),
    "non-saturating": Loss(
        _minimax_d,
        lambda _, l_f: softplus(-l_f).mean(),
        symmetric=False,
        source="Goodfellow et al., arXiv 1406.2661, section 3: maximise log D(G(z))",
    ),
    "wasserstein": Loss(
        lambda l_r, l_f: l_f.mean() - l_r.mean(),
        lambda _, l_f: -l_f.mean(),
        symmetric=True,
        source="Arjovsky et al., Wasserstein GAN, arXiv 1701.07875, eq. 2 and 3; needs a Lipschitz D",
    ),
    "least-squares": Loss(
        lambda l_r, l_f: ((l_r - 1) ** 2).mean() / 2 + (l_f**2).mean() / 2,
        lambda _, l_f: ((l_f - 1) ** 2).mean() / 2,
        symmetric=False,
        source="Mao et al., Least Squares GAN, arXiv 1611.04076, eq. 2 and 9 with a = 0, b = c = 1",
    ),
    "hinge": Loss(
        _hinge_d,
        lambda _, l_f: -l_f.mean(),
        symmetric=False,
        source="Lim and Ye, Geometric GAN, arXiv 1705.02894; Miyato et al., arXiv 1802.05957, eq. 16 and 17",
    ),
    "symmetric-hinge": Loss(
        _hinge_d,
        lambda _, l_f: -relu(1 + l_f).mean(),
        symmetric=True,
        source="hinge made symmetric as defined in section 3.2 of arXiv 2103.00430: G's term is minus that of D",
    ),
    "relativistic-paired": Loss(
        lambda l_r, l_f: softplus(l_f - l_r).mean(),
        lambda l_r, l_f: softplus(l_r - l_f).mean(),
        symmetric=False,
        source="Jolicoeur-Martineau, The relativistic discriminator, arXiv 1807.00734, eq. 4 and 5",
    ),
    "relativistic-average": Loss(
        lambda l_r, l_f: softplus(l_f.mean() - l_r).mean() + softplus(l_f - l_r.mean()).mean(),
        lambda l_r, l_f: softplus(l_r.mean() - l_f).mean() + softplus(l_r - l_f.mean()).mean(),
        symmetric=False,
        source="Jolicoeur-Martineau, arXiv 1807.00734, section 4.2 (RaSGAN)",
    ),
    "fisher": Loss(
        lambda l_r, l_f: l_f.mean() - l_r.mean(),
        lambda _, l_f: -l_f.mean(),
        symmetric=False,
        source="Mroueh and Sercu, Fisher GAN, arXiv 1705.09675, eq. 9",
        constraint=fisher_constraint(),
    ),
    "boundary-seeking": Loss(
        _minimax_d,
        lambda _, l_f: (l_f**2).mean() / 2,
        symmetric=False,
        source="Hjelm et al., Boundary-Seeking GANs, arXiv 1702.08431, section 3: (log D - log(1 - D))^2 / 2",
    ),
}
