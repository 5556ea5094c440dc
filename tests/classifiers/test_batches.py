"""A batch has even classes, the shares of the pools, and each image's target."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from augment.dataset.images import LabelledImages
from augment.errors import ConfigError
from classifiers.batches import batch_counts, draw_batches, draw_indices, pool_counts
from classifiers.pools import SAMPLING, Pool, check_pools


def pool(data: LabelledImages, share: float = 1.0, span: tuple[float, float] = (0.0, 1.0)) -> Pool:
    return Pool(torch.from_numpy(data.images)[None], torch.from_numpy(data.labels), share, span=span)


def draw(labels: Tensor, steps: int, size: int, sampling: str) -> Tensor:
    weights = labels.bincount().double() ** SAMPLING[sampling]
    return draw_indices(labels, torch.full((steps,), size), [weights] * steps, torch.Generator().manual_seed(0))


def test_classes_are_even_in_every_batch_under_imbalance() -> None:
    targets = torch.tensor([0] * 50 + [2] * 3 + [3] * 7)  # class 1 has no image
    drawn = draw(targets, 20, 8, "balanced")
    for batch in targets[drawn].split(8):
        assert sorted(batch.bincount(minlength=4).tolist()) == [0, 2, 3, 3]
        assert batch.bincount(minlength=4)[1] == 0


@pytest.mark.parametrize(
    ("sampling", "expected"), [("plain", [7.2, 0.8, 0]), ("square-root", [6, 2, 0]), ("balanced", [4, 4, 0])]
)
def test_a_class_is_drawn_by_a_power_of_its_size(sampling: str, expected: list[float]) -> None:
    targets = torch.tensor([0] * 90 + [1] * 10)
    drawn = draw(targets, 2000, 8, sampling)
    counts = torch.stack([batch.bincount(minlength=3) for batch in targets[drawn].split(8)]).double()
    assert ((counts - torch.tensor(expected)).abs() < 1).all()
    torch.testing.assert_close(counts.mean(0), torch.tensor(expected).double(), atol=0.03, rtol=0)


def test_draws_do_not_favour_a_place_in_the_list_of_classes() -> None:
    """Ten classes and three images a batch: every class as often as any other."""
    targets = torch.arange(10)
    drawn = draw(targets, 4000, 3, "balanced")
    assert (drawn.bincount() - 1200).abs().max() < 5 * (4000 * 0.3 * 0.7) ** 0.5
    assert all(len(batch.unique()) == 3 for batch in drawn.split(3))


def test_within_a_class_every_image_is_drawn_before_any_is_drawn_again() -> None:
    targets = torch.tensor([1, 0, 1, 1, 0, 1, 1])
    drawn = draw(targets, 9, 10, "balanced")
    assert drawn.bincount()[targets == 1].tolist() == [9] * 5
    assert sorted(drawn.bincount()[targets == 0].tolist()) == [22, 23]
    assert sorted(drawn[targets[drawn] == 1][:5].tolist()) == [0, 2, 3, 5, 6]


def test_shares_are_met_in_every_batch_and_small_ones_over_time() -> None:
    counts = batch_counts([0.75, 0.24, 0.01], 20, 50)
    assert counts.sum(1).tolist() == [20] * 50
    assert counts.sum(0).tolist() == [750, 240, 10]
    assert (counts - torch.tensor([15.0, 4.8, 0.2])).abs().max() < 1


def test_a_schedule_draws_each_pool_in_its_own_part_of_the_steps(shoes: LabelledImages) -> None:
    pools = [pool(shoes, 0.3, (0.5, 1.0)), pool(shoes, 0.7, (0.0, 0.5))]
    counts = pool_counts(pools, 12, 20)
    assert counts[:10].tolist() == [[0, 12]] * 10
    assert counts[10:].tolist() == [[12, 0]] * 10


def test_pools_share_the_steps_that_they_have_in_common(shoes: LabelledImages) -> None:
    pools = [pool(shoes, 0.2), pool(shoes, 0.6, (0.0, 0.25)), pool(shoes, 0.2, (0.25, 1.0))]
    counts = pool_counts(pools, 12, 8)
    assert counts[:2].tolist() == [[3, 9, 0]] * 2  # 0.2 to 0.6
    assert counts[2:].tolist() == [[6, 0, 6]] * 6


def test_pools_of_all_steps_are_counted_as_ever(shoes: LabelledImages) -> None:
    """Shares that add to 1 but for rounding are left as they are, or the draws would change with them."""
    shares = [0.3, 0.6, 0.1]
    assert sum(shares) < 1
    counts = pool_counts([pool(shoes, share) for share in shares], 13, 40)
    assert torch.equal(counts, batch_counts(shares, 13, 40))


def test_targets_are_smoothed_then_weighed() -> None:
    labels, soft = torch.tensor([2, 0]), torch.tensor([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]])
    views = torch.zeros(1, 2, 1, 8, 8, dtype=torch.uint8)
    assert Pool(views, labels).targets(3, 0.0).tolist() == [[0, 0, 1], [1, 0, 0]]
    smooth = Pool(views, labels, soft=soft, weights=torch.tensor([0.5, 2.0])).targets(3, 0.3)
    torch.testing.assert_close(smooth, torch.tensor([[0.085, 0.12, 0.295], [0.9, 0.9, 0.2]]))


def test_the_loss_is_the_weighted_sum_over_the_batch_size() -> None:
    """Against the loss of each image alone, with hard labels, smoothing and weights."""
    random = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(5, 3, generator=random), torch.tensor([2, 0, 1, 1, 0])
    weights = torch.tensor([1.0, 0.5, 0.25, 0.0, 1.0])
    target = Pool(torch.zeros(1, 5, 1, 8, 8, dtype=torch.uint8), labels, weights=weights).targets(3, 0.1)
    alone = cross_entropy(logits, labels, reduction="none", label_smoothing=0.1)
    torch.testing.assert_close(cross_entropy(logits, target), (weights * alone).sum() / 5)


def test_targets_go_with_their_images(shoes: LabelledImages) -> None:
    views = torch.arange(19, dtype=torch.uint8).view(1, 19, 1, 1, 1).repeat(2, 1, 1, 8, 8)
    marked = replace(pool(shoes, 0.4), views=views)
    other = replace(marked, views=marked.views + 100, share=0.6)
    targets = [torch.arange(19.0)[:, None].repeat(1, 3) + 100 * i for i in range(2)]
    for images, target, of_pool in draw_batches([marked, other], targets, 10, 6, [1, 2]):
        assert of_pool.tolist() == [0] * 4 + [1] * 6
        pixels = ((images[:, 0, 0, 0] + 1) * 127.5).round()
        assert torch.equal(pixels, target[:, 0])
        assert (target[:, 0] >= 100).sum() == 6


def test_the_draws_of_real_images_do_not_depend_on_the_synthetic_ones(shoes: LabelledImages) -> None:
    real, targets = pool(shoes, 0.6), torch.zeros(19, 3)
    few = Pool(torch.zeros(4, 2, 1, 12, 12, dtype=torch.uint8), torch.tensor([2, 0]), 0.4)
    arms = (([real, pool(shoes, 0.4)], [targets, targets]), ([real, few], [targets, targets[:2]]))
    for (a, *_), (b, *_) in zip(*(draw_batches(pools, t, 10, 5, [1, 2]) for pools, t in arms), strict=True):
        assert torch.equal(a[:6], b[:6])
        assert not torch.equal(a[6:], b[6:])


def test_pools_that_do_not_fit_are_refused(shoes: LabelledImages) -> None:
    larger = Pool(torch.zeros(1, 2, 1, 16, 16, dtype=torch.uint8), torch.tensor([0, 1]), 0.5)
    unlabelled = Pool(torch.from_numpy(shoes.images)[None], torch.zeros(3, dtype=torch.long))
    for pools, classes, message in [
        ([pool(shoes, 0.7)], 3, "must add to 1"),
        ([pool(shoes, 0.5), larger], 3, "expected images of one shape C x H x W in all pools"),
        ([unlabelled], 3, "one label for each of 19"),
        ([pool(shoes)], 2, "labels 0 to 1, got 0 to 2"),
        ([replace(pool(shoes), soft=torch.full((19, 3), 0.5))], 3, "rows that add to 1"),
        ([replace(pool(shoes), soft=torch.ones(19, 1))], 3, "soft labels of shape 19 x 3"),
        ([replace(pool(shoes), soft=torch.tensor([[1.5, -0.5, 0.0]] * 19))], 3, "rows that add to 1"),
        ([replace(pool(shoes), soft=torch.full((19, 3), torch.nan))], 3, "rows that add to 1"),
        ([replace(pool(shoes), weights=torch.full((19,), -0.1))], 3, "weights of 0 or more"),
        ([replace(pool(shoes), weights=torch.full((19,), torch.inf))], 3, "finite weights"),
        ([replace(pool(shoes), weights=torch.full((19,), torch.nan))], 3, "finite weights"),
        ([replace(pool(shoes), weights=torch.ones(18))], 3, "expected 19 finite weights"),
        ([replace(pool(shoes), views=torch.zeros(1, 19, 1, 8, 12, dtype=torch.uint8))], 3, "square images, got 8 x 12"),
        ([pool(shoes, 0.5, (0.0, 0.4)), pool(shoes, 0.5, (0.6, 1.0))], 3, "steps 4 to 6 have no pool"),
        ([pool(shoes, 1.0, (0.0, 0.4)), pool(shoes, 0.0)], 3, "steps 4 to 10 have no pool"),
        ([pool(shoes, 0.5), pool(shoes, 0.5, (0.0, 0.04))], 3, "hold one of 10 steps"),
        ([pool(shoes, 1.0, (0.0, 2.0))], 3, "within 0 to 1"),
        ([pool(shoes, 1.0, (-0.5, 1.0))], 3, "within 0 to 1"),
        ([pool(shoes, 1.0, (0.0, float("nan")))], 3, "within 0 to 1"),
    ]:
        with pytest.raises(ConfigError, match=message):
            check_pools(pools, classes, 10)
