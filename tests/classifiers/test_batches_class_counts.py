"""The class counts that long-tail methods correct for are those of the batches as drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from augment.dataset.images import LabelledImages
from classifiers.batches import class_counts, draw_batches, draw_indices
from classifiers.pools import Pool

STEPS, BATCH = 1200, 16


def pool(data: LabelledImages, share: float = 1.0, span: tuple[float, float] = (0.0, 1.0)) -> Pool:
    return Pool(torch.from_numpy(data.images)[None], torch.from_numpy(data.labels), share, span=span)


def drawn(pools: list[Pool], sampling: str, start: int = 0, end: int = STEPS) -> Tensor:
    """The sums of the targets of the batches from step `start` to `end`."""
    targets = [p.targets(3, 0.0) for p in pools]
    batches = draw_batches(pools, targets, BATCH, STEPS, range(len(pools)), sampling)
    return torch.stack([batch.target.sum(0) for batch in batches][start:end]).sum(0)


def few(shoes: LabelledImages) -> LabelledImages:
    """Three images of the second class and one of the third, none of the first."""
    return shoes.take(np.array([9, 10, 11, 15]))


def test_plain_sampling_from_one_pool_has_the_sizes_of_the_classes(shoes: LabelledImages) -> None:
    ((steps, counts),) = class_counts([pool(shoes)], 3, STEPS, "plain")
    assert steps == STEPS
    assert counts.tolist() == pytest.approx([9, 6, 4])


def test_balanced_sampling_has_exactly_equal_counts(shoes: LabelledImages) -> None:
    light = replace(pool(shoes, 0.3), weights=torch.full((19,), 0.3))
    ((_, counts),) = class_counts([pool(shoes, 0.7), light], 3, STEPS, "balanced")
    assert len(set(counts.tolist())) == 1


@pytest.mark.parametrize("sampling", ["plain", "square-root", "balanced"])
def test_counts_are_those_of_the_drawn_batches_up_to_rounding(sampling: str, shoes: LabelledImages) -> None:
    random = np.random.default_rng(0)
    soft = torch.from_numpy(random.dirichlet((3, 1, 1), 19)).float()
    weights = torch.from_numpy(random.random(19)).float()
    pools = [pool(shoes, 0.55), replace(pool(shoes, 0.25), soft=soft, weights=weights), pool(few(shoes), 0.2)]
    ((_, counts),) = class_counts(pools, 3, STEPS, sampling)
    as_drawn = drawn(pools, sampling)
    np.testing.assert_allclose(counts / counts.sum(), as_drawn / as_drawn.sum(), atol=0.003)
    assert counts.sum().item() == pytest.approx(19 + 19 + 4)


def test_each_phase_has_the_counts_of_its_own_pools(shoes: LabelledImages) -> None:
    pools = [pool(shoes, 0.6, (0.25, 1.0)), pool(few(shoes), 0.4)]
    first, second = class_counts(pools, 3, STEPS, "plain")
    assert (first[0], second[0]) == (300, 900)
    assert first[1].tolist() == pytest.approx([1, 3, 1])  # the first class is never drawn
    assert second[1].tolist() == pytest.approx([23 * (0.6 * n / 19 + 0.4 * m / 4) for n, m in ((9, 0), (6, 3), (4, 1))])
    as_drawn = drawn(pools, "plain", 300)
    np.testing.assert_allclose(second[1] / second[1].sum(), as_drawn / as_drawn.sum(), atol=0.003)


def test_a_class_that_is_never_drawn_counts_as_the_rarest(shoes: LabelledImages) -> None:
    ((_, counts),) = class_counts([pool(few(shoes))], 4, STEPS, "plain")
    assert counts.tolist() == pytest.approx([1, 3, 1, 1])
    nothing = replace(pool(shoes), weights=torch.zeros(19))
    assert class_counts([nothing], 3, STEPS, "plain")[0][1].tolist() == [1, 1, 1]


def test_a_pool_without_a_share_does_not_count(shoes: LabelledImages) -> None:
    ((_, counts),) = class_counts([pool(shoes), pool(few(shoes), 0.0)], 3, STEPS, "plain")
    assert counts.tolist() == pytest.approx([9, 6, 4])


def test_classes_may_be_drawn_by_other_weights_in_each_batch(shoes: LabelledImages) -> None:
    labels, sizes = torch.from_numpy(shoes.labels), torch.tensor([8, 12, 8])
    rows = [torch.tensor([1.0, 0.0, 3.0]), torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.0, 0.0, 0.5])]
    indices = draw_indices(labels, sizes, [row.double() for row in rows], torch.Generator().manual_seed(0))
    batches = [batch.bincount(minlength=3).tolist() for batch in labels[indices].split(sizes.tolist())]
    assert batches == [[2, 0, 6], [0, 4, 8], [0, 0, 8]]
