"""Published methods for long-tailed (imbalanced) classes: `LONG_TAIL`, the values of `ClassifierConfig.long_tail`.

logit-adjustment           adds the log prior to the logits in the loss (Menon et al., arXiv 2007.07314, section 5)
logit-adjustment-post-hoc  subtracts it from the logits after the training (the same paper, section 4)
effective-number           weights the classes in the loss (Cui et al., arXiv 1901.05555)
deferred-reweighting       does so in the last 20 % of the steps (DRW of Cao et al., arXiv 1906.07413, section 3.3)
ldam-drw                   enforces larger margins for rarer classes (LDAM of the same paper), with DRW
remix                      mixup that favours the rarer class in the label (Chou et al., arXiv 2007.03943)
cmo                        CutMix that pastes mostly rare classes (Park et al., arXiv 2112.00412)

All methods depend on the data only through the class counts of `batches.class_counts`: the expected counts of the
classes among the targets of the batches, scaled to the number of images in the pools. `logit-adjustment` has a prior of
each pool instead (`batches.pool_priors`). So they correct for the imbalance that sampling, synthetic images and weights
have left. If the counts (the priors) are equal, all methods but `ldam-drw` and `cmo` train exactly as `none`.

Every loss is a sum over the images of a batch, divided by the batch size. Targets may be soft, and the weight of an
image is part of its target, whose sum is then the weight. Arguments that recur:

logits: float, B x K. target: float, B x K, 0 or more. counts: float, K, above 0; the class counts n_c. prior: float,
B x K, above 0; for each image the class probabilities of the pool that it was drawn from, blended as the image is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from classifiers.networks import Classifier, Head, NormalisedLinear

BETA = 0.999  # of the effective number
DEFERRAL = 0.8  # fraction of the steps before the late loss: 160 of 200 epochs in the experiments of arXiv 1906.07413
LDAM_MAX_MARGIN, LDAM_SCALE = 0.5, 30.0
REMIX_KAPPA, REMIX_TAU = 3.0, 0.5

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # from logits, target, counts and prior to a batch's loss


def log_prior(counts: Tensor) -> Tensor:
    """Return the logarithm of each class's share of `counts`, relative to the largest share: 0 or less.

    counts: float, K or B x K, and so is the result. A constant added to all logits does not matter, and so equal counts
    give exactly 0. A class that is never drawn has the count of the rarest class that is drawn, so that no value is
    infinite.
    """
    return (counts / counts.amax(-1, keepdim=True)).log()


def effective_number_weights(counts: Tensor) -> Tensor:
    """Return the class weights (1 - beta) / (1 - beta^n_c), divided by their mean: float, K.

    Source: Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", arXiv 1901.05555, section 4, with
    beta = 0.999. With far fewer than 1000 images of a class, they are almost proportional to 1 / n_c.
    """
    weights = (1 - BETA) / -torch.expm1(counts * math.log(BETA))
    weights = weights / weights.max()  # so that equal weights are exactly 1
    return weights / weights.mean()


def ldam_margins(counts: Tensor) -> Tensor:
    """Return the margins C / n_c^(1/4), with C such that the rarest class has 0.5: float, K.

    Source: Cao et al., "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss", arXiv 1906.07413,
    section 3.2.
    """
    return LDAM_MAX_MARGIN * (counts.min() / counts) ** 0.25


def inverse_frequencies(counts: Tensor) -> Tensor:
    """Return the weights 1 / n_c, with which CMO draws the class of a foreground: K.

    Source: Park et al., "The Majority Can Help The Minority: Context-rich Minority Oversampling for Long-tailed
    Classification", arXiv 2112.00412, section 3.2, with r = 1. The released code gives this weight to every image
    instead of every class, so that its foregrounds have balanced classes.
    """
    return 1 / counts


def plain_loss(logits: Tensor, target: Tensor, counts: Tensor, prior: Tensor) -> Tensor:
    """Return the cross entropy; the class frequencies do not matter."""
    return cross_entropy(logits, target)


def logit_adjusted_loss(logits: Tensor, target: Tensor, counts: Tensor, prior: Tensor) -> Tensor:
    """Return the cross entropy of the logits plus the log prior of each image's pool; predictions use the logits alone.

    Source: Menon et al., "Long-tail learning via logit adjustment", arXiv 2007.07314, section 5, with tau = 1. The
    paper has one pool. With synthetic images there are two, and most images of a rare class may be synthetic. One prior
    for both would then be wrong for real images as soon as the network can tell the two apart: it would expect rare
    classes to look synthetic, and predict them too rarely for real images (docs/benchmarks.md has the figures).
    """
    return cross_entropy(logits + log_prior(prior), target)


def class_balanced_loss(logits: Tensor, target: Tensor, counts: Tensor, prior: Tensor) -> Tensor:
    """Return the cross entropy with each class weighted by `effective_number_weights`.

    A soft target is weighted class by class. As the late loss, this is DRW (Cao et al., arXiv 1906.07413, section 3.3),
    whose algorithm 1 weights by 1 / n_c instead; for small classes both are almost the same.
    """
    return cross_entropy(logits, target * effective_number_weights(counts))


def ldam_loss(logits: Tensor, target: Tensor, counts: Tensor, prior: Tensor) -> Tensor:
    """Return the LDAM loss: the cross entropy after the logit of an image's class is lowered by s times its margin.

    logits: of a `NormalisedLinear` with the scale s = 30. Source: Cao et al., arXiv 1906.07413, section 3.2. It differs
    from the paper in three points. The margin of a class is multiplied by the share of the class in the target, so that
    soft targets, which the paper does not treat, have parts of several margins. The logits contain the scale at
    prediction too, where the authors use the bare cosines; the predicted classes are the same, and the probabilities
    are those that were trained. The learning rate follows `training.warmup_cosine` instead of falling in steps.
    """
    return cross_entropy(_with_margins(logits, target, counts), target)


def class_balanced_ldam_loss(logits: Tensor, target: Tensor, counts: Tensor, prior: Tensor) -> Tensor:
    """Return the LDAM loss with each class weighted by `effective_number_weights`."""
    return cross_entropy(_with_margins(logits, target, counts), target * effective_number_weights(counts))


def _with_margins(logits: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    shares = target / target.sum(1, keepdim=True).clamp(min=1e-12)  # images of weight 0 have no shares
    return logits - LDAM_SCALE * ldam_margins(counts) * shares


@torch.no_grad()
def subtract_log_prior(model: nn.Module, counts: Tensor) -> None:
    """Subtract the log prior from the biases of the last layer, and so from all logits of a trained `Classifier`.

    Source: Menon et al., arXiv 2007.07314, section 4, with tau = 1.
    """
    assert isinstance(model, Classifier)
    assert isinstance(model.head, nn.Linear)
    model.head.bias.sub_(log_prior(counts))


def mixup_label_lam(lam: float, target: Tensor, partner_target: Tensor, counts: Tensor) -> float:
    """Return lam, the weight of an image's own pixels, as the weight of its own target too."""
    return lam


def remix_label_lam(lam: float, target: Tensor, partner_target: Tensor, counts: Tensor) -> Tensor:
    """Return the weight of each image's own target: float, B x 1. The rarer class may get all of the label.

    It is 0 if n_i >= kappa n_j and lam < tau, 1 if n_j >= kappa n_i and 1 - lam < tau, and lam otherwise. n_i and n_j
    are the counts of the classes of the image and of its partner; the class of a soft target is the most probable one.
    Source: Chou et al., "Remix: Rebalanced Mixup", arXiv 2007.03943, section 3, with kappa = 3 and tau = 0.5.
    """
    own, other = (counts[t.argmax(1, keepdim=True)] for t in (target, partner_target))
    label_lam = torch.full_like(own, lam)
    if lam < REMIX_TAU:
        label_lam = label_lam.masked_fill(own >= REMIX_KAPPA * other, 0.0)
    if 1 - lam < REMIX_TAU:
        label_lam = label_lam.masked_fill(other >= REMIX_KAPPA * own, 1.0)
    return label_lam


@dataclass(frozen=True)
class LongTail:
    """What a method changes in the training of a classifier.

    loss: the loss of a batch. late_loss: the loss after the fraction `DEFERRAL` of the steps; None: the same one. The
    counts are those of the phase in which the step lies. after_training: changes the trained network, given the counts
    of the last phase. head: builds the last layer of the network; None: a linear one. label_lam: maps lam, the targets,
    the partners' targets and the counts to the weight of each image's own target. foreground: maps the counts to class
    weights; CutMix pastes images drawn from all active pools with these weights; None: from the batch itself. cutmix:
    the alpha of CutMix if `ClassifierConfig.cutmix` is 0; if mixup is on too, each batch uses one of both at random.
    needs_mixup: whether `ClassifierConfig.mixup` must be above 0.
    uses_pool_priors: whether the loss depends on the class prior of each pool, and not on the counts of all pools.
    only_if_imbalanced: whether the method changes the training, and does so only if the counts are unequal.
    """

    loss: Loss = plain_loss
    late_loss: Loss | None = None
    after_training: Callable[[nn.Module, Tensor], None] | None = None
    head: Head | None = None
    label_lam: Callable[[float, Tensor, Tensor, Tensor], float | Tensor] = mixup_label_lam
    foreground: Callable[[Tensor], Tensor] | None = None
    cutmix: float = 0.0
    needs_mixup: bool = False
    uses_pool_priors: bool = False
    only_if_imbalanced: bool = True

    def loss_at(self, time: float) -> Loss:
        """Return the loss at a time from 0 to 1, as a fraction of the training."""
        return self.loss if self.late_loss is None or time < DEFERRAL else self.late_loss


LONG_TAIL: dict[str, LongTail] = {
    "none": LongTail(only_if_imbalanced=False),
    "logit-adjustment": LongTail(logit_adjusted_loss, uses_pool_priors=True),
    "logit-adjustment-post-hoc": LongTail(after_training=subtract_log_prior),
    "effective-number": LongTail(class_balanced_loss),
    "deferred-reweighting": LongTail(late_loss=class_balanced_loss),
    "ldam-drw": LongTail(
        ldam_loss, class_balanced_ldam_loss, head=partial(NormalisedLinear, scale=LDAM_SCALE), only_if_imbalanced=False
    ),
    "remix": LongTail(label_lam=remix_label_lam, needs_mixup=True),
    "cmo": LongTail(foreground=inverse_frequencies, cutmix=1.0, only_if_imbalanced=False),
}
