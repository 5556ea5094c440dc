"""A step draws, updates and averages correctly, and sampled weights have batch statistics of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from batch_statistics import distance, statistics_of
from fitting import SMALL
from gan_steps import begun, setup_of
from torch import nn

from augment.dataset.images import LabelledImages, to_uint8
from augment.gan import training
from augment.gan.networks import NETWORKS, Shape, build
from augment.gan.noise import draw_noise
from augment.gan.penalties import PENALTIES, Batch, Critic
from augment.gan.steps import STEPS
from augment.gan.training import make_batch_sampler, make_step, recalibrate_batch_norm, update_ema, with_unlabelled
from augment.generators.cgan import run_on_random

SHAPE = Shape(num_classes=3, channels=1, image_size=12, width=4, latent_dim=8)


EVERYTHING = {
    "loss": "fisher",
    "lecam": 0.1,
    "penalties": {"r1": 0.1, "gradient-penalty": 1.0},
    "penalty_every": 3,
}


def updates_of(optimizer: torch.optim.Optimizer) -> set[int]:
    return {int(moments["step"]) for moments in optimizer.state.values()}


@pytest.mark.parametrize("trainer", STEPS)
def test_n_critic_updates_d_that_often_and_moves_the_terms_with_it(trainer: str, shoes: LabelledImages) -> None:
    config = SMALL.model_copy(update={**EVERYTHING, "trainer": trainer, "n_critic": 3})
    state = begun(config, SHAPE)
    step = make_step(shoes, state, config, setup_of(state, config))
    for _ in range(4):
        step(True)
    assert updates_of(state.optimizer_g) == {4}
    assert updates_of(state.optimizer_d) == {12}
    fisher, lecam = (value for _, value in state.terms)  # Fisher's multiplier and LeCam's averages
    assert (fisher.shape, lecam.shape) == ((1,), (2,))
    assert fisher != 0
    assert (lecam != 0).all()


@pytest.mark.parametrize("due", [True, False])
def test_a_step_takes_penalties_where_they_are_due(
    due: bool, shoes: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def one(critic: Critic, batch: Batch, rng: torch.Generator) -> torch.Tensor:
        sizes.append(len(batch.real))
        return critic(batch.real, batch.real_labels).sum() * 0 + 1

    monkeypatch.setitem(PENALTIES, "r1", one)
    config = SMALL.model_copy(update={"penalties": {"r1": 0.5}, "penalty_every": 5})
    state = begun(config, SHAPE)
    make_step(shoes, state, config, setup_of(state, config))(due)
    assert sizes == [8] * due


def test_penalties_that_are_due_rarely_are_as_many_times_heavier(
    shoes: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PENALTIES, "r1", lambda critic, batch, rng: torch.tensor(3.0))
    config = SMALL.model_copy(update={"penalties": {"r1": 0.5}, "penalty_every": 5})
    state = begun(config, SHAPE)
    penalty = setup_of(state, config).penalty
    assert penalty is not None
    real, labels = make_batch_sampler(shoes, 8, state.rng)()
    assert penalty(Batch(real, labels, -real, labels)).item() == 0.5 * 5 * 3


def test_batches_draw_every_class_equally_often_and_the_right_pictures(shoes: LabelledImages) -> None:
    draw = make_batch_sampler(shoes, 3000, torch.Generator().manual_seed(0))
    images, labels = draw()
    shares = labels.bincount(minlength=3) / 3000
    assert torch.allclose(shares, torch.full((3,), 1 / 3), atol=0.04)  # 9, 6 and 4 images: not in proportion
    pixels = ((images[:60] + 1) * 127.5).round().byte().numpy()
    for image, label in zip(pixels, labels[:60], strict=True):
        assert any(np.array_equal(image, real) for real in shoes.images[shoes.labels == int(label)])
    assert len({image.tobytes() for image in images.numpy()}) == len(shoes)


def test_only_the_given_classes_are_drawn(shoes: LabelledImages) -> None:
    rng = torch.Generator().manual_seed(0)
    _, labels = make_batch_sampler(shoes, 600, rng, torch.tensor([0, 2]))()
    assert labels.bincount(minlength=3).tolist() == pytest.approx([300, 0, 300], abs=60)


def test_the_average_follows_quickly_at_first_and_slowly_later() -> None:
    average, model = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    for step, kept in ((1, 2 / 11), (5000, 0.99)):
        expected = kept * average.weight.detach() + (1 - kept) * model.weight.detach()
        update_ema(average, model, 0.99, step)
        torch.testing.assert_close(average.weight.detach(), expected)


def run_on_noise(generator: nn.Module, shape: Shape) -> Callable[[int, torch.Generator], torch.Tensor]:
    classes = torch.arange(shape.num_classes)
    return run_on_random(generator, classes, lambda y, rng: draw_noise(len(y), shape.latent_dim, rng))


@pytest.mark.parametrize("network", NETWORKS)
def test_recalibration_gives_the_statistics_of_the_weights_themselves(network: str) -> None:
    shape = Shape(num_classes=3, channels=1, image_size=12, width=8, latent_dim=6)
    generator = build(network, shape, seed=2).generator
    norms = [m for m in generator.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:  # left over from training
        norm.running_mean, norm.running_var = torch.full_like(norm.running_mean, 9), norm.running_var * 50
    weights = [p.clone() for p in generator.parameters()]
    expected = statistics_of(generator, shape)
    assert distance(generator, expected) > 1
    recalibrate_batch_norm(generator, run_on_noise(generator, shape), seed=4)
    assert distance(generator, expected) < 0.1
    assert not generator.training
    assert [norm.momentum for norm in norms] == [0.1] * len(norms)
    assert all(torch.equal(a, b) for a, b in zip(weights, generator.parameters(), strict=True))


def test_recalibration_repeats_with_its_seed() -> None:
    shape = Shape(num_classes=2, channels=3, image_size=8, width=4, latent_dim=3)
    buffers = []
    for seed in (1, 1, 2):
        generator = build("projection", shape, seed=0).generator
        recalibrate_batch_norm(generator, run_on_noise(generator, shape), seed=seed)
        buffers.append(torch.cat([b.flatten().float() for b in generator.buffers()]))
    assert torch.equal(buffers[0], buffers[1])
    assert not torch.equal(buffers[0], buffers[2])


def test_unlabelled_images_come_with_labels_that_hide_the_class(shoes: LabelledImages) -> None:
    """The others of a batch stay as they were drawn. A hidden label tells G which class to make."""
    few, more = shoes.take(np.arange(4)), shoes.take(np.arange(4, 19))
    batches = []
    for unlabelled in (False, True):
        rng = torch.Generator().manual_seed(3)
        draw = make_batch_sampler(few, 40, rng)
        batches.append((with_unlabelled(draw, more, 30, torch.tensor([0, 2]), rng) if unlabelled else draw)())
    (plain, plain_labels), (images, labels) = batches
    assert torch.equal(images[30:], plain[30:])
    assert torch.equal(labels[30:], plain_labels[30:])
    assert set(labels[:30].tolist()) == {3, 5}
    pixels = to_uint8(images[:30]).numpy()
    assert {image.tobytes() for image in pixels} <= {image.tobytes() for image in more.images}
    assert len({image.tobytes() for image in pixels}) > 10


@pytest.mark.parametrize("trainer", STEPS)
def test_g_makes_the_class_that_a_hidden_label_names(
    trainer: str, shoes: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SMALL.model_copy(update={"trainer": trainer, "unlabelled": 0.75})
    state = begun(config, SHAPE)
    seen: dict[str, list[torch.Tensor]] = {"G": [], "D": []}
    setup = setup_of(state, config)
    generate, discriminate = setup.generate, setup.discriminate
    spied = replace(
        setup,
        generate=lambda y: seen["G"].append(y) or generate(y),  # type: ignore[func-returns-value]
        discriminate=lambda x, y: seen["D"].append(y) or discriminate(x, y),  # type: ignore[func-returns-value]
    )
    make_step(shoes, state, config, spied, unlabelled=shoes)(False)
    fakes, judged = torch.cat(seen["G"]), torch.cat(seen["D"])
    assert set(fakes.tolist()) <= {0, 1, 2}
    assert (judged >= 3).float().mean() == 0.75
    for y in seen["G"]:
        assert any(torch.equal(y, labels[-len(y) :] % 3) for labels in seen["D"])


def test_a_large_share_of_unlabelled_images_leaves_a_labelled_one(
    shoes: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    monkeypatch.setattr(training, "with_unlabelled", lambda draw, _, count, *__: counts.append(count) or draw)
    config = SMALL.model_copy(update={"unlabelled": 0.99})
    state = begun(config, SHAPE)
    make_step(shoes, state, config, setup_of(state, config), unlabelled=shoes)
    assert counts == [config.batch_size - 1]


def test_without_a_share_unlabelled_images_change_nothing(shoes: LabelledImages) -> None:
    weights = []
    for share, unlabelled in ((0.0, None), (0.0, shoes), (0.5, shoes)):
        config = SMALL.model_copy(update={"unlabelled": share})
        state = begun(config, SHAPE)
        step = make_step(shoes, state, config, setup_of(state, config), unlabelled=unlabelled)
        step(False)
        step(False)
        weights.append(torch.cat([p.detach().flatten() for p in state.generator.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
