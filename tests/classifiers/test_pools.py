"""Fresh pools generate new images of the drawn classes; class weights say how often a class is drawn."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from augment.dataset.images import LabelledImages
from augment.errors import ConfigError
from classifiers import pools
from classifiers.batches import class_counts, draw_batches
from classifiers.pools import FreshPool, Pool, check_pools, class_weights, draw_classes
from classifiers.training import ClassifierConfig, fit


def noisy(labels: Tensor, seeds: Tensor) -> Tensor:
    """Images of the grey 10 + 40 * class, with a pixel that shows the seed."""
    images = (10 + 40 * labels).byte().view(-1, 1, 1, 1).repeat(1, 1, 12, 12)
    images[:, 0, 0, 0] = (seeds % 251).byte()
    return images


def fresh(share: float = 0.5, weights: list[float] | None = None) -> FreshPool:
    of_class = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    return FreshPool(noisy, torch.arange(3), (1, 12, 12), share, class_weights=of_class)


def real(data: LabelledImages, share: float = 0.5) -> Pool:
    return Pool(torch.from_numpy(data.images)[None], torch.from_numpy(data.labels), share)


def drawn(pool: FreshPool, other: Pool, steps: int = 20, size: int = 12) -> list[tuple[Tensor, Tensor]]:
    """The fresh images, 0 to 255, and their classes, of each batch."""
    both = [other, pool]
    batches = draw_batches(both, [p.targets(3, 0.0) for p in both], size, steps, [1, 2], "plain")
    kept = size - round(size * pool.share)
    return [((batch.images[kept:] + 1) * 127.5, batch.target[kept:].argmax(1)) for batch in batches]


def test_every_drawn_image_is_generated_of_its_class_and_new(shoes: LabelledImages) -> None:
    seeds = []
    for images, labels in drawn(fresh(), real(shoes)):
        assert torch.equal(images[:, 0, 5, 5].round().long(), 10 + 40 * labels)
        assert labels.bincount(minlength=3).tolist() == [2, 2, 2]
        seeds += images[:, 0, 0, 0].round().long().tolist()
    assert len(set(seeds)) > 80  # of 120 seeds, which the pixel shows modulo 251


def test_drawn_images_of_each_class_are_its_part_of_the_number() -> None:
    images, labels = fresh(weights=[1.0, 3.0, 0.0]).draw(41, torch.Generator().manual_seed(0))
    assert torch.equal(images[:, 0, 5, 5].long(), 10 + 40 * labels)
    counts = labels.bincount(minlength=3).tolist()
    assert counts in ([10, 31, 0], [11, 30, 0])
    assert len(set(images[:, 0, 0, 0].tolist())) > 30  # of 41 seeds, which the pixel shows modulo 251


def test_a_place_never_rounds_up_to_a_class_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = torch.tensor(1 - 2**-53, dtype=torch.float64)
    monkeypatch.setattr(torch, "rand", lambda *_, **__: largest)  # the last of 1000 places is rounded to 1
    for seed in range(6):  # of orders of the classes
        labels = draw_classes(torch.tensor([1.0, 1.0, 0.0]).double(), 1000, torch.Generator().manual_seed(seed))
        assert labels.bincount().tolist() in ([500, 500], [499, 501], [501, 499])


def test_images_do_not_depend_on_how_many_batches_are_generated_at_once(
    shoes: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_eights = drawn(fresh(), real(shoes))
    monkeypatch.setattr(pools, "BATCHES_AHEAD", 3)
    for (images, labels), (expected, expected_labels) in zip(drawn(fresh(), real(shoes)), by_eights, strict=True):
        assert torch.equal(images, expected)
        assert torch.equal(labels, expected_labels)


def test_class_weights_say_how_often_a_class_is_drawn(shoes: LabelledImages) -> None:
    labels = torch.cat([labels for _, labels in drawn(fresh(weights=[1, 0, 4]), real(shoes), steps=400)])
    assert (labels.bincount(minlength=3) / len(labels)).tolist() == pytest.approx([0.2, 0, 0.8], abs=0.01)


def test_the_prior_of_the_batches_counts_fresh_images_by_their_weights(shoes: LabelledImages) -> None:
    ((_, counts),) = class_counts([real(shoes), fresh(weights=[1, 0, 4])], 3, 10, "plain")
    expected = torch.tensor([9, 6, 4]).double() / 19 * 0.5 + torch.tensor([0.2, 0, 0.8]).double() * 0.5
    torch.testing.assert_close(counts / counts.sum(), expected)


def test_without_class_weights_sampling_decides(shoes: LabelledImages) -> None:
    assert class_weights(real(shoes), "plain").tolist() == [9, 6, 4]
    assert class_weights(real(shoes), "square-root").tolist() == [3, pytest.approx(6**0.5), 2]
    assert class_weights(fresh(weights=[1, 0, 4]), "plain").tolist() == [1, 0, 4]


def test_a_classifier_learns_from_fresh_images_alone(shoes: LabelledImages) -> None:
    config = ClassifierConfig(width=8, steps=40, batch_size=12, mixup=0)
    model = fit([fresh(share=1.0)], 3, config, seed=0, device=torch.device("cpu"))
    labels = torch.arange(3).repeat(20)
    images = noisy(labels, torch.arange(60)).float() / 127.5 - 1
    assert (model(images).argmax(1) == labels).all()


def test_generated_images_of_another_size_are_refused(shoes: LabelledImages) -> None:
    larger = FreshPool(lambda labels, seeds: torch.zeros(len(labels), 1, 16, 16), torch.arange(3), (1, 12, 12), 0.5)
    with pytest.raises(ConfigError, match=r"generated images of shape \(1, 12, 12\).* got \(1, 16, 16\)"):
        drawn(larger, real(shoes))


def test_fresh_pools_that_do_not_fit_are_refused(shoes: LabelledImages) -> None:
    with pytest.raises(ConfigError, match="expected labels 0 to 1, got 0 to 2"):
        check_pools([real(shoes.take(shoes.labels.argsort()[:15])), fresh()], 2, 10)
    with pytest.raises(ConfigError, match="class weight above 0"):
        check_pools([real(shoes), fresh(weights=[0, 0, 0])], 3, 10)
    with pytest.raises(ConfigError, match="expected images of one shape C x H x W in all pools"):
        check_pools([real(shoes), FreshPool(noisy, torch.arange(3), (3, 12, 12), 0.5)], 3, 10)
