"""Training of the classifier: what a batch holds, what the seed decides, and that it learns."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from augment.errors import ConfigError
from augment.images import LabelledImages, split_per_class
from classifiers.training import FitConfig, Pool, batch_counts, draw_evenly, fit, mixup, one_cycle, predict

CPU = torch.device("cpu")
QUICK = FitConfig(width=4, steps=6, batch_size=10)


def pool(data: LabelledImages, share: float = 1.0) -> Pool:
    return Pool(torch.from_numpy(data.images)[None], torch.from_numpy(data.labels), share)


def weights(model: torch.nn.Module) -> Tensor:
    return torch.cat([value.flatten().double() for value in model.state_dict().values()])


@pytest.mark.parametrize("network", ["small", "wrn-16"])
def test_it_learns_real_images_in_a_few_steps(fashion: LabelledImages, network: str) -> None:
    train, test = split_per_class(fashion, 0.6, seed=0)
    config = FitConfig(network=network, width={"small": 8, "wrn-16": 1}[network], steps=60, batch_size=40)
    model = fit([pool(train)], 10, config, seed=0, device=CPU)
    accuracy = (predict(model, torch.from_numpy(test.images)).argmax(1).numpy() == test.labels).mean()
    assert accuracy > 0.4  # chance is 0.1


def test_the_seed_decides_every_weight_bit_by_bit(shoes: LabelledImages) -> None:
    first, again, other = (weights(fit([pool(shoes)], 3, QUICK, seed=seed, device=CPU)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_global_random_state_neither_matters_nor_changes(shoes: LabelledImages) -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = weights(fit([pool(shoes)], 3, QUICK, seed=3, device=CPU))
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(2)
    assert torch.equal(first, weights(fit([pool(shoes)], 3, QUICK, seed=3, device=CPU)))


def test_a_bank_of_equal_views_is_the_plain_arm(shoes: LabelledImages) -> None:
    plain = pool(shoes)
    equal_views = Pool(plain.views.repeat(5, 1, 1, 1, 1), plain.targets)
    a, b = (weights(fit([p], 3, QUICK, seed=0, device=CPU)) for p in (plain, equal_views))
    assert torch.equal(a, b)


def test_all_views_are_used(shoes: LabelledImages) -> None:
    plain = pool(shoes)
    one_differs = Pool(torch.cat([plain.views, plain.views, 255 - plain.views]), plain.targets)
    a, b = (weights(fit([p], 3, QUICK, seed=0, device=CPU)) for p in (plain, one_differs))
    assert not torch.equal(a, b)


def test_classes_are_even_in_every_batch_under_imbalance() -> None:
    targets = torch.tensor([0] * 50 + [2] * 3 + [3] * 7)  # class 1 has no image
    drawn = draw_evenly(targets, torch.full((20,), 8), torch.Generator().manual_seed(0))
    for batch in targets[drawn].split(8):
        assert sorted(batch.bincount(minlength=4).tolist()) == [0, 2, 3, 3]
        assert batch.bincount(minlength=4)[1] == 0


def test_within_a_class_every_image_is_drawn_before_any_is_drawn_again() -> None:
    targets = torch.tensor([1, 0, 1, 1, 0, 1, 1])
    drawn = draw_evenly(targets, torch.full((9,), 10), torch.Generator().manual_seed(0))
    assert drawn.bincount()[targets == 1].tolist() == [9] * 5
    assert sorted(drawn.bincount()[targets == 0].tolist()) == [22, 23]
    assert sorted(drawn[targets[drawn] == 1][:5].tolist()) == [0, 2, 3, 5, 6]


def test_shares_are_met_in_every_batch_and_small_ones_over_time() -> None:
    counts = batch_counts([0.75, 0.24, 0.01], 20, 50)
    assert counts.sum(1).tolist() == [20] * 50
    assert counts.sum(0).tolist() == [750, 240, 10]
    assert (counts - torch.tensor([15.0, 4.8, 0.2])).abs().max() < 1


def test_a_pool_with_no_share_changes_nothing_but_one_with_a_share_does(shoes: LabelledImages) -> None:
    inverted = LabelledImages(255 - shoes.images, shoes.labels, shoes.class_names)
    alone, unused, mixed = (
        weights(fit(pools, 3, QUICK, seed=0, device=CPU))
        for pools in (
            [pool(shoes)],
            [pool(shoes, 1.0), pool(inverted, 0.0)],
            [pool(shoes, 0.5), pool(inverted, 0.5)],
        )
    )
    assert torch.equal(alone, unused)
    assert not torch.equal(alone, mixed)


def test_mixup_keeps_lam_of_image_and_label_and_takes_the_rest_from_the_partner() -> None:
    x, target = torch.tensor([0.0, 10.0, 100.0]).view(3, 1, 1, 1), torch.eye(3)
    mixed, mixed_target = mixup(x, target, 0.8, torch.tensor([1, 2, 0]))
    torch.testing.assert_close(mixed.flatten(), torch.tensor([2.0, 28.0, 80.0]))
    torch.testing.assert_close(mixed_target[1], torch.tensor([0.0, 0.8, 0.2]))


def test_mixup_and_label_smoothing_change_the_training(shoes: LabelledImages) -> None:
    plain, mixed, smooth = (
        weights(fit([pool(shoes)], 3, QUICK.model_copy(update=change), seed=0, device=CPU))
        for change in ({"mixup": 0.0}, {"mixup": 1.0}, {"mixup": 0.0, "label_smoothing": 0.1})
    )
    assert not torch.equal(plain, mixed)
    assert not torch.equal(plain, smooth)


def test_the_learning_rate_rises_for_a_fifth_and_falls_to_zero() -> None:
    assert [one_cycle(t) for t in (0.0, 0.1, 0.2, 0.6, 1.0)] == pytest.approx([0.0, 0.5, 1.0, 0.5, 0.0])


def test_predictions_do_not_depend_on_the_batch_size(shoes: LabelledImages) -> None:
    model = fit([pool(shoes)], 3, QUICK, seed=0, device=CPU)
    images = torch.from_numpy(shoes.images)
    whole = predict(model, images)
    assert (whole.shape, whole.dtype, whole.requires_grad) == ((19, 3), torch.float32, False)
    torch.testing.assert_close(predict(model, images, batch_size=4), whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "large"}, "known are small, wrn-16"),
        ({"stepps": 5}, "stepps"),
        ({"steps": 0}, "steps"),
        ({"mixup": -1.0}, "mixup"),
    ],
)
def test_a_wrong_setting_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FitConfig(**change)


def test_pools_that_do_not_fit_are_refused(shoes: LabelledImages) -> None:
    larger = Pool(torch.zeros(1, 2, 1, 16, 16, dtype=torch.uint8), torch.tensor([0, 1]), 0.5)
    unlabelled = Pool(torch.from_numpy(shoes.images)[None], torch.zeros(3, dtype=torch.long))
    for pools, classes, message in [
        ([pool(shoes, 0.7)], 3, "must add to 1"),
        ([pool(shoes, 0.5), larger], 3, "alike in C x H x W"),
        ([unlabelled], 3, "one label for each of 19"),
        ([pool(shoes)], 2, "labels 0 to 1, got 0 to 2"),
    ]:
        with pytest.raises(ConfigError, match=message):
            fit(pools, classes, QUICK, seed=0, device=CPU)
