"""Measure what makes the class-conditional GAN draw more than one picture of each class, one lever at a time.

    python benchmarks/cgan_variety.py --source fashion.npz --out DIR --seeds 0 1

Each training is the default GAN on 20 images of each class, with one thing changed (`LEVERS`). 200 images of each class
are compared with 200 unseen ones of the same pool, on the features of a classifier of the 20 images: precision, recall,
density, coverage and KID, as in the report. `resample` stands beside them: augmented views of the same 20 images.

Every result is a line of DIR/variety.jsonl, so an interrupted measurement is continued. DIR/<lever>-<seed>.png shows 10
images of each class.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import torch
from generator_metrics import METRICS, measure_missing
from torch import Tensor
from torch.nn.functional import avg_pool2d, l1_loss, leaky_relu_

from augment.dataset.images import LabelledImages, split_per_class, subset_per_class, to_signed, to_uint8
from augment.dataset.policies import bank_of_views
from augment.dataset.sources import read_source
from augment.gan.networks import Pair, Shape, build
from augment.gan.noise import noise_from_seeds
from augment.gan.training import generate_from_noise, make_setup, make_step, recalibrate_batch_norm, update_ema
from augment.gan.training_state import TrainingState, initial_state
from augment.generators.adversarial import network_shape
from augment.generators.cgan import CganConfig, run_on_random
from augment.generators.previews import tile
from augment.generators.sampling import SyntheticImages
from augment.seeds import derive_seed
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.folds import Fold
from pipelines.results.fidelity_evaluation import measure_fidelity

PER_CLASS, GENERATED = 20, 200  # images
CPU = torch.device("cpu")
PULLED, CANDIDATES = 16, 8  # real images in the pulling term, and fakes of each that the nearest is chosen from
GRADUAL = (0.2, 0.6)  # fractions of the training between which the class enters


@dataclass
class Game:
    """A training that a lever may change. noise: maps labels to the noise of G; ema and training share it."""

    train: LabelledImages
    config: CganConfig
    pair: Pair
    state: TrainingState
    noise: Callable[[Tensor, torch.Generator], Tensor]
    rng: torch.Generator
    term: Callable[[], Tensor] | None = None
    before_step: Callable[[float], None] = lambda progress: None


Lever = Callable[[Game], None]


def nothing(game: Game) -> None:
    """Change nothing."""


def nearest_fake(weight: float) -> Lever:
    """Pull the nearest of a few fakes of the class to each real image: IMLE in the batch (arXiv 1809.09087, eq. 1)."""

    def change(game: Game) -> None:
        images, labels = _tensors(game)

        def term() -> Tensor:
            i = torch.randint(len(labels), (PULLED,), generator=game.rng)
            real, y = to_signed(images[i]), labels[i]
            z = torch.randn(PULLED * CANDIDATES, game.config.latent_dim, generator=game.rng)
            with torch.no_grad():
                fake = avg_pool2d(game.state.generator(z, y.repeat_interleave(CANDIDATES)), 2)
                distances = fake.view(PULLED, CANDIDATES, -1) - avg_pool2d(real, 2).view(PULLED, 1, -1)
                best = z.view(PULLED, CANDIDATES, -1)[torch.arange(PULLED), distances.square().sum(2).argmin(1)]
            return weight * l1_loss(game.state.generator(best, y), real)

        game.term = term

    return change


def instance_codes(spread: float, *, between: bool, weight: float = 5.0) -> Lever:
    """Give every training image a fixed code, and pull G of this code to the image.

    G is trained on codes with noise of the standard deviation `spread`; between: on points between two codes of the
    class. Codes as in GLO (arXiv 1707.05776), but fixed.
    """

    def change(game: Game) -> None:
        images, labels = _tensors(game)
        codes = torch.randn(len(labels), game.config.latent_dim, generator=game.rng)
        members = [torch.from_numpy(np.flatnonzero(game.train.labels == k)) for k in range(game.train.num_classes)]

        def noise(y: Tensor, rng: torch.Generator) -> Tensor:
            picks = [members[k][torch.randint(len(members[k]), (2,), generator=rng)] for k in y.tolist()]
            first, second = codes[torch.stack(picks)].unbind(1)
            t = torch.rand(len(y), 1, generator=rng) if between else torch.ones(len(y), 1)
            z = t * first + (1 - t) * second
            return z + spread * torch.randn(z.shape, generator=rng)

        def term() -> Tensor:
            i = torch.randint(len(labels), (PULLED,), generator=game.rng)
            return weight * l1_loss(game.state.generator(codes[i], labels[i]), to_signed(images[i]))

        game.noise, game.term = noise, term

    return change


def gradual_label(game: Game) -> None:
    """Let the class enter G and D gradually (as arXiv 2201.06578 does, here by one factor and not by two logits)."""
    networks: tuple[Any, ...] = (game.state.generator, game.state.ema, game.state.discriminator)
    for network in networks:
        network.register_buffer("share", torch.zeros(()), persistent=False)
    for network in networks[:2]:
        network.forward = MethodType(_generate_by_share, network)
    networks[2].forward = MethodType(_discriminate_by_share, networks[2])

    def before_step(progress: float) -> None:
        share = min(max((progress - GRADUAL[0]) / (GRADUAL[1] - GRADUAL[0]), 0.0), 1.0)
        for network in networks:
            network.share.fill_(share)

    game.before_step = before_step


def _generate_by_share(self: Any, z: Tensor, y: Tensor) -> Tensor:
    condition = torch.cat([z, self.share * self.embed(y)], 1)
    x = self.stem(condition).unflatten(1, (-1, self.base, self.base))
    x = self.norms[0](x.contiguous(memory_format=torch.channels_last), condition).relu_()
    for conv, norm in zip(self.convs, self.norms[1:], strict=True):
        x = norm(conv(x), condition).relu_()
    images: Tensor = torch.tanh(self.to_image(x))
    return images


def _discriminate_by_share(self: Any, x: Tensor, y: Tensor) -> Tensor:
    for conv in self.convs:
        x = leaky_relu_(conv(x), 0.1)
    h = x.sum((2, 3))
    logits: Tensor = self.linear(h).squeeze(1) + self.share * (self.embed(y) * h).sum(1)
    return logits


def _tensors(game: Game) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(game.train.images), torch.from_numpy(game.train.labels)


LEVERS: dict[str, tuple[Lever, dict[str, Any], int]] = {  # the change, settings, and the width of D relative to G's
    "as it is": (nothing, {}, 1),
    "three times the steps": (nothing, {"steps": 7500}, 1),
    "D twice as wide": (nothing, {}, 2),
    "LeCam": (nothing, {"lecam": 0.1}, 1),
    "gradual label": (gradual_label, {}, 1),
    "nearest fake": (nearest_fake(5.0), {}, 1),
    "codes": (instance_codes(0.5, between=False), {}, 1),
    "codes, spread 1": (instance_codes(1.0, between=False), {}, 1),
    "between codes": (instance_codes(0.3, between=True), {}, 1),
    "between codes, spread 0.6": (instance_codes(0.6, between=True), {}, 1),
    "between codes, spread 1": (instance_codes(1.0, between=True), {}, 1),
}


def synthesise(lever: str, train: LabelledImages, seed: int) -> LabelledImages:
    """Train the GAN with a lever, and return `GENERATED` images of each class."""
    if lever == "resample":
        rng = np.random.default_rng(seed)
        picked = [rng.choice(np.flatnonzero(train.labels == k), GENERATED) for k in range(train.num_classes)]
        chosen = train.take(np.concatenate(picked))
        views = bank_of_views(chosen, "standard", views=1, horizontal_flip=False, seed=seed)
        return replace(chosen, images=views[0])
    game, shape = _start(lever, train, seed)
    state, config = game.state, game.config
    plain = generate_from_noise(state, config)
    generate = plain if game.noise is _plain_noise else lambda y: state.generator(game.noise(y, state.rng), y)
    step = make_step(train, state, config, make_setup(state, config, generate, game.term))
    for number in range(config.steps):
        game.before_step(number / config.steps)
        step(False)
        state.step += 1
        update_ema(state.ema, state.generator, config.ema_decay, state.step)
    game.before_step(1.0)
    run_ema = run_on_random(state.ema, torch.arange(shape.num_classes), game.noise)
    recalibrate_batch_norm(state.ema, run_ema, seed=derive_seed(seed, "recalibration"))
    codes = game.noise is not _plain_noise
    labels = torch.arange(shape.num_classes).repeat_interleave(GENERATED)
    z = (
        game.noise(labels, torch.Generator().manual_seed(9))
        if codes
        else noise_from_seeds(range(len(labels)), shape.latent_dim)
    )
    with torch.no_grad():
        parts = [state.ema(*part) for part in zip(torch.split(z, 250), torch.split(labels, 250), strict=True)]
    return LabelledImages(to_uint8(torch.cat(parts)).numpy(), labels.numpy(), train.class_names)


def _plain_noise(y: Tensor, rng: torch.Generator) -> Tensor:
    raise NotImplementedError("levers without codes draw their noise in `generate_from_noise`")


def _start(lever: str, train: LabelledImages, seed: int) -> tuple[Game, Shape]:
    change, settings, width_of_d = LEVERS[lever]
    config = CganConfig(seed=seed, **settings)
    shape = network_shape(train, config.width, config.latent_dim)
    weights = derive_seed(seed, "weights")
    generator, discriminator = build(config.network, shape, seed=weights)
    if width_of_d > 1:
        wide = shape._replace(width=width_of_d * shape.width)
        discriminator = build(config.network, wide, seed=weights).discriminator
    pair = Pair(generator, discriminator)
    rng = torch.Generator().manual_seed(seed + 1)
    game = Game(train, config, pair, initial_state(config, pair, shape, CPU), _plain_noise, rng)
    change(game)
    return game, shape


def measure(source: str, out: Path, *, lever: str, seed: int) -> dict[str, float]:
    """Return the figures of one lever and seed, and write its pictures."""
    train, rest = split_per_class(read_source(source).train, 0.8, seed)
    train, test = subset_per_class(train, PER_CLASS, seed), subset_per_class(rest, GENERATED, 0)
    synthetic = synthesise(lever, train, seed)
    shown = np.concatenate([np.flatnonzero(synthetic.labels == k)[:10] for k in range(train.num_classes)])
    tile(synthetic.images[shown], 10).save(out / f"{lever.replace(' ', '-').replace(',', '')}-{seed}.png")
    fold = Fold(train, test, (0,), synthetic=SyntheticImages(synthetic))
    metrics = measure_fidelity(fold, EvaluateConfig(), CPU).metrics
    return {name: round(float(metrics[name]), 4) for name in METRICS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--levers", nargs="+", choices=["resample", *LEVERS], default=["resample", *LEVERS])
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    keys = [{"lever": lever, "seed": seed} for seed in options.seeds for lever in options.levers]
    measure_missing(options.out / "variety.jsonl", keys, partial(measure, options.source, options.out))


if __name__ == "__main__":
    main()
