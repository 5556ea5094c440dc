"""Every synthetic image comes from a seed of its own, and batch statistics from the weights that are sampled."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from tensors import weights
from torch import Tensor, nn

from augment.dataset.images import LabelledImages, to_signed
from augment.errors import ConfigError, SourceError
from augment.gan.config import GanConfig
from augment.gan.networks import NETWORKS, Shape, build
from augment.gan.training import fit
from augment.generators.sampling import (
    BATCH,
    Model,
    balancing_counts,
    generate,
    image_seeds,
    load_model,
    noise,
    recalibrate,
    sample,
    sample_grid,
    tile,
)

SMALL = GanConfig(width=4, latent_dim=8, steps=12, batch_size=8)
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(scope="module")
def run(shoes: LabelledImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sampling") / "run"
    fit(shoes, SMALL, folder)
    return folder


@pytest.fixture(scope="module")
def model(run: Path) -> Model:
    return load_model(run)


def statistics_of(generator: nn.Module, shape: Shape, count: int = 6000) -> list[tuple[Tensor, Tensor]]:
    """(mean, variance) of what reaches each batch norm in one large batch, by hand."""
    seen: list[tuple[Tensor, Tensor]] = []
    watched = copy.deepcopy(generator).train()
    for module in watched.modules():
        if isinstance(module, nn.BatchNorm2d):

            def look(_: nn.Module, inputs: tuple[Tensor]) -> None:
                values = inputs[0].double().transpose(0, 1).flatten(1)
                seen.append((values.mean(1), ((values - values.mean(1, keepdim=True)) ** 2).mean(1)))

            module.register_forward_pre_hook(look)
    random = torch.Generator().manual_seed(77)
    y = torch.arange(count) % shape.num_classes
    with torch.no_grad():
        watched(torch.randn(count, shape.latent_dim, generator=random), y)
    return seen


def distance(generator: nn.Module, expected: list[tuple[Tensor, Tensor]]) -> float:
    """The largest deviation of G's running statistics from `expected`, in standard deviations."""
    norms = [m for m in generator.modules() if isinstance(m, nn.BatchNorm2d)]
    deviations = []
    for norm, (mean, variance) in zip(norms, expected, strict=True):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        deviations += [(norm.running_mean - mean).abs() / variance.sqrt(), (norm.running_var / variance - 1).abs()]
    return float(torch.cat(deviations).max())


def test_an_image_can_be_made_again_alone_from_its_seed(model: Model) -> None:
    made = generate(model, {"sandal": 5, "ankle-boot": BATCH + 40}, seed=7)
    for i in (0, 4, 5, BATCH - 1, BATCH, BATCH + 44):
        image, logit = sample(model, made.data.labels[i : i + 1], made.seeds[i : i + 1])
        difference = image[0].int() - torch.from_numpy(made.data.images[i]).int()
        assert difference.abs().max() <= 1  # another batch size may round another way
        assert logit.item() == pytest.approx(made.scores[i], rel=1e-3, abs=1e-4)


def test_more_images_keep_the_first(model: Model) -> None:
    few, many = (generate(model, {"sandal": n, "sneaker": 2 * n}, seed=7) for n in (6, 11))
    for k, count in ((0, 6), (1, 12)):
        first, again = (made.data.labels == k for made in (few, many))
        assert np.array_equal(few.seeds[first], many.seeds[again][:count])
        difference = few.data.images[first].astype(int) - many.data.images[again][:count]
        assert np.abs(difference).max() <= 1


def test_a_class_has_the_same_images_whichever_other_classes_are_asked_for(model: Model) -> None:
    alone = generate(model, {"ankle-boot": 4}, seed=7)
    among = generate(model, {"ankle-boot": 4, "sandal": 9, "sneaker": 1}, seed=7)
    assert np.array_equal(alone.seeds, among.seeds[-4:])


def test_different_seeds_and_classes_share_no_image_seed() -> None:
    seeds = np.concatenate([image_seeds(seed, label, 50) for seed in range(40) for label in range(10)])
    assert len(set(seeds.tolist())) == len(seeds)
    assert seeds.max() < 2**63


def test_different_seeds_give_different_images(model: Model) -> None:
    pictures = [image.tobytes() for s in (1, 2) for image in generate(model, {"sneaker": 20}, seed=s).data.images]
    assert len(set(pictures)) == 40


def test_counts_labels_and_names_are_as_asked_for(model: Model) -> None:
    made = generate(model, {"ankle-boot": 2, "sandal": 3, "sneaker": 0}, seed=0)
    assert made.data.class_names == ("sandal", "sneaker", "ankle-boot")
    assert made.data.labels.tolist() == [0, 0, 0, 2, 2]
    assert made.data.images.shape == (5, 1, 12, 12)
    assert made.scores.shape == made.seeds.shape == (5,)
    assert len(generate(model, {}, seed=0).data) == 0


def test_a_score_is_the_discriminators_logit_for_the_image_and_its_class(model: Model) -> None:
    made = generate(model, {"sandal": 3, "ankle-boot": 4}, seed=3)
    logits = model.discriminator(to_signed(torch.from_numpy(made.data.images)), torch.from_numpy(made.data.labels))
    np.testing.assert_allclose(made.scores, logits.numpy(), atol=0.02)  # of images rounded to 8 bits
    assert made.scores.std() > 0.02


def test_an_unknown_class_is_named_with_the_known_ones(model: Model) -> None:
    with pytest.raises(ConfigError, match="no class 'boot'; it knows sandal, sneaker, ankle-boot"):
        generate(model, {"sandal": 1, "boot": 2}, seed=0)


def test_sampling_leaves_the_global_random_state_alone(model: Model) -> None:
    before = torch.get_rng_state()
    generate(model, {"sandal": 3}, seed=0)
    sample_grid(model.generator, 3, 8)
    assert torch.equal(torch.get_rng_state(), before)


def test_balance_fills_every_class_up_to_the_largest() -> None:
    assert balancing_counts({"a": 3, "b": 7, "c": 7, "d": 1}) == {"a": 4, "b": 0, "c": 0, "d": 6}


def test_an_unfinished_run_says_how_to_finish_it(shoes: LabelledImages, tmp_path: Path) -> None:
    left = iter(range(3))
    fit(shoes, SMALL, tmp_path / "run", stopped=lambda: next(left, None) is None)
    with pytest.raises(SourceError, match=r"is not finished; `augment fit` with --out .*run continues it"):
        load_model(tmp_path / "run")


@pytest.mark.parametrize("made", [False, True], ids=["missing", "empty"])
def test_a_folder_that_is_no_run_is_named(made: bool, tmp_path: Path) -> None:
    if made:
        (tmp_path / "other").mkdir()
    with pytest.raises(SourceError, match=r"other is no RUN folder"):
        load_model(tmp_path / "other")


def test_a_model_is_loaded_frozen_in_eval_mode_with_the_averaged_weights(run: Path, model: Model) -> None:
    checkpoint = weights(run / "checkpoints/step-00000012.safetensors")
    for network in (model.generator, model.discriminator):
        assert not network.training
        assert not any(p.requires_grad for p in network.parameters())
    for name, parameter in model.generator.named_parameters():
        assert torch.equal(parameter, checkpoint[f"ema.{name}"])
    assert any(not torch.equal(p, checkpoint[f"generator.{n}"]) for n, p in model.generator.named_parameters())


@pytest.mark.parametrize("latent_dim", [1, 5, 64])
def test_noise_depends_on_its_own_seed_only(latent_dim: int) -> None:
    seeds = [3, 2**63 - 1, 0, 41]
    rows = noise(seeds, latent_dim)
    assert rows.shape == (4, latent_dim)
    assert rows.dtype == torch.float32
    for row, seed in zip(rows, seeds, strict=True):
        assert torch.equal(row, torch.empty(latent_dim).normal_(generator=torch.Generator().manual_seed(seed)))
    assert torch.equal(noise(seeds[::-1], latent_dim), rows.flip(0))


def test_noise_is_standard_normal() -> None:
    values = noise(image_seeds(5, 0, 3000), 20)
    assert values.mean().abs() < 0.02
    assert (values.std() - 1).abs() < 0.02
    assert values.T.corrcoef().fill_diagonal_(0).abs().max() < 0.1


def test_noise_is_drawn_on_the_cpu_even_where_another_device_is_the_default() -> None:
    with torch.device("meta"):
        made = noise([4, 9], 8)
    assert made.device.type == "cpu"
    assert torch.equal(made, noise([4, 9], 8))


@pytest.mark.parametrize("device", DEVICES)
def test_every_device_makes_the_same_images(device: str, run: Path, model: Model) -> None:
    here, there = (generate(m, {"sandal": 4, "ankle-boot": 3}, seed=5) for m in (model, load_model(run, device)))
    assert np.array_equal(here.seeds, there.seeds)
    assert np.abs(here.data.images.astype(int) - there.data.images).max() <= 2
    assert (here.data.images != there.data.images).mean() < 0.02


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
    recalibrate(generator, shape, seed=4)
    assert distance(generator, expected) < 0.1
    assert not generator.training
    assert [norm.momentum for norm in norms] == [0.1] * len(norms)
    assert all(torch.equal(a, b) for a, b in zip(weights, generator.parameters(), strict=True))


def test_recalibration_repeats_with_its_seed() -> None:
    shape = Shape(num_classes=2, channels=3, image_size=8, width=4, latent_dim=3)
    buffers = []
    for seed in (1, 1, 2):
        generator = build("projection", shape, seed=0).generator
        recalibrate(generator, shape, seed=seed)
        buffers.append(torch.cat([b.flatten().float() for b in generator.buffers()]))
    assert torch.equal(buffers[0], buffers[1])
    assert not torch.equal(buffers[0], buffers[2])


def test_a_finished_run_holds_the_statistics_of_its_averaged_weights(run: Path, model: Model) -> None:
    expected = statistics_of(model.generator, model.shape)
    assert distance(model.generator, expected) < 0.1
    in_training = copy.deepcopy(model.generator)
    checkpoint = weights(run / "checkpoints/step-00000012.safetensors")
    in_training.load_state_dict({n.removeprefix("ema."): t for n, t in checkpoint.items() if n.startswith("ema.")})
    assert distance(in_training, expected) > 0.2  # else this test would show nothing


@pytest.mark.parametrize("training", [True, False])
def test_a_sample_grid_has_a_row_a_class_and_a_column_a_noise(training: bool, model: Model) -> None:
    generator = copy.deepcopy(model.generator).train(training)
    picture = np.asarray(sample_grid(generator, 3, 8, columns=5))
    assert picture.shape == (3 * 36, 5 * 36)
    assert generator.training == training
    image, _ = sample(model, np.array([2]), [4])
    cell = picture[2 * 36 : 3 * 36 : 3, 4 * 36 : 5 * 36 : 3].astype(int)
    assert np.abs(cell - image[0, 0].numpy()).max() <= 1


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_images_are_tiled_row_by_row_and_the_rest_is_white(channels: int, mode: str, shoes: LabelledImages) -> None:
    images = np.repeat(shoes.images[:5], channels, axis=1)
    images[:, -1] //= 2
    picture = tile(images, 3)
    assert (picture.mode, picture.size) == (mode, (3 * 36, 2 * 36))
    pixels = np.asarray(picture).reshape(2, 36, 3, 36, channels)[:, ::3, :, ::3]
    for i, image in enumerate(images):
        assert np.array_equal(pixels[i // 3, :, i % 3].transpose(2, 0, 1), image)
    assert (pixels[1, :, 2] == 255).all()
