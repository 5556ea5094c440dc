"""Training of the classifier: what the seed decides, what targets, weights and spans do, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from augment.dataset.images import LabelledImages, split_per_class
from classifiers.pools import Pool
from classifiers.training import ClassifierConfig, fit, predict, warmup_cosine

CPU = torch.device("cpu")
QUICK = ClassifierConfig(width=4, steps=6, batch_size=10)


def pool(data: LabelledImages, share: float = 1.0) -> Pool:
    return Pool(torch.from_numpy(data.images)[None], torch.from_numpy(data.labels), share)


def weights(model: torch.nn.Module) -> Tensor:
    return torch.cat([value.flatten().double() for value in model.state_dict().values()])


@pytest.mark.parametrize("network", ["small", "wrn-16"])
def test_it_learns_real_images_in_a_few_steps(fashion: LabelledImages, network: str) -> None:
    train, test = split_per_class(fashion, 0.6, seed=0)
    config = ClassifierConfig(network=network, width={"small": 8, "wrn-16": 1}[network], steps=60, batch_size=40)
    model = fit([pool(train)], 10, config, seed=0, device=CPU)
    accuracy = (predict(model, test.images).argmax(1).numpy() == test.labels).mean()
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


def test_plain_sampling_leans_to_the_large_class(fashion: LabelledImages) -> None:
    """40 images of one class against 4: an untrained class is guessed less often."""
    large, small = (torch.from_numpy((fashion.labels == k).nonzero()[0]) for k in (4, 6))  # coat, shirt
    images, labels = torch.from_numpy(fashion.images), torch.tensor([0] * 40 + [1] * 4)
    unequal = Pool(images[torch.cat([large[:40], small[:4]])][None], labels)
    unseen = images[torch.cat([large[40:], small[40:]])].numpy()
    guessed = {}
    for sampling in ("plain", "square-root", "balanced"):
        config = ClassifierConfig(width=8, steps=40, batch_size=20, mixup=0.0, sampling=sampling, long_tail="none")
        guessed[sampling] = int(predict(fit([unequal], 2, config, seed=0, device=CPU), unseen).argmax(1).sum())
    assert guessed["plain"] < guessed["square-root"] < guessed["balanced"]


def test_a_bank_of_equal_views_is_the_plain_arm(shoes: LabelledImages) -> None:
    plain = pool(shoes)
    equal_views = Pool(plain.views.repeat(5, 1, 1, 1, 1), plain.labels)
    a, b = (weights(fit([p], 3, QUICK, seed=0, device=CPU)) for p in (plain, equal_views))
    assert torch.equal(a, b)


def test_all_views_are_used(shoes: LabelledImages) -> None:
    plain = pool(shoes)
    one_differs = Pool(torch.cat([plain.views, plain.views, 255 - plain.views]), plain.labels)
    a, b = (weights(fit([p], 3, QUICK, seed=0, device=CPU)) for p in (plain, one_differs))
    assert not torch.equal(a, b)


def test_a_pool_changes_the_training_only_if_it_has_a_share(shoes: LabelledImages) -> None:
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


def test_mixup_cutmix_and_label_smoothing_change_the_training(shoes: LabelledImages) -> None:
    changes = [{"mixup": 0.0}, {"mixup": 1.0}, {"mixup": 0.0, "cutmix": 1.0}, {"mixup": 0.0, "label_smoothing": 0.1}]
    trained = [weights(fit([pool(shoes)], 3, QUICK.model_copy(update=c), seed=0, device=CPU)) for c in changes]
    assert not any(torch.equal(trained[i], trained[j]) for i in range(4) for j in range(i))


def test_the_learning_rate_rises_for_a_fifth_and_falls_to_zero() -> None:
    assert [warmup_cosine(t) for t in (0.0, 0.1, 0.2, 0.6, 1.0)] == pytest.approx([0.0, 0.5, 1.0, 0.5, 0.0])


def test_predictions_do_not_depend_on_the_batch_size(shoes: LabelledImages) -> None:
    model = fit([pool(shoes)], 3, QUICK, seed=0, device=CPU)
    whole = predict(model, shoes.images)
    assert (whole.shape, whole.dtype, whole.requires_grad) == ((19, 3), torch.float32, False)
    torch.testing.assert_close(predict(model, shoes.images, batch_size=4), whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "large"}, "expected one of small, wrn-16"),
        ({"stepps": 5}, "stepps"),
        ({"sampling": "even"}, "expected one of plain, square-root, balanced, got 'even'"),
        ({"steps": 0}, "steps"),
        ({"mixup": -1.0}, "mixup"),
        ({"cutmix": -1.0}, "cutmix"),
    ],
)
def test_a_wrong_setting_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ClassifierConfig(**change)


def test_soft_labels_that_are_the_classes_train_as_they_do(shoes: LabelledImages) -> None:
    plain = pool(shoes)
    soft = replace(plain, soft=torch.eye(3)[plain.labels])
    other = replace(plain, soft=torch.full((19, 3), 1 / 3))
    a, b, c = (weights(fit([p], 3, QUICK, seed=0, device=CPU)) for p in (plain, soft, other))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_images_without_weight_teach_nothing(shoes: LabelledImages) -> None:
    """Two poisoned pools: whatever the labels of images of weight 0, the network is the same."""
    trained = []
    for shift in (1, 2):
        wrong = replace(pool(shoes, 0.5), soft=torch.eye(3)[(torch.from_numpy(shoes.labels) + shift) % 3])
        trained.append([
            weights(fit([pool(shoes, 0.5), replace(wrong, weights=torch.full((19,), w))], 3, QUICK, seed=0, device=CPU))
            for w in (0.0, 0.5, 1.0)
        ])  # fmt: skip
    (none, half, whole), (none_too, half_too, _) = trained
    assert torch.equal(none, none_too)
    assert not torch.equal(half, half_too)
    assert not torch.equal(half, whole)


def test_synthetic_first_then_real_ends_on_real_images(shoes: LabelledImages) -> None:
    """The real images decide the end: a first half on wrong labels is unlearnt."""
    wrong = LabelledImages(shoes.images, (shoes.labels + 1) % 3, shoes.class_names)
    config = ClassifierConfig(width=4, steps=120, batch_size=12, mixup=0.0)

    def accuracy(first: Pool, second: Pool) -> float:
        model = fit([first, second], 3, config, seed=0, device=CPU)
        return float((predict(model, shoes.images).argmax(1).numpy() == shoes.labels).mean())

    early, late = (0.0, 0.4), (0.4, 1.0)
    assert accuracy(replace(pool(wrong, 0.5), span=early), replace(pool(shoes, 0.5), span=late)) > 0.7
    assert accuracy(replace(pool(shoes, 0.5), span=early), replace(pool(wrong, 0.5), span=late)) < 0.3
