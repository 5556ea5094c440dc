"""Every synthetic image comes from a seed of its own, and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from fitting import SMALL, fit, stop_after

from augment.dataset.images import LabelledImages
from augment.errors import ConfigError, SourceError
from augment.generators.base import Model
from augment.generators.registry import load_model
from augment.generators.sampling import BATCH, balancing_counts, generate, image_seeds
from augment.runtime import Observer, Task

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(scope="module")
def run(shoes: LabelledImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sampling") / "run"
    fit(shoes, SMALL, folder)
    return folder


@pytest.fixture(scope="module")
def model(run: Path) -> Model:
    return load_model(run)


def test_an_image_can_be_generated_again_alone_from_its_seed(model: Model) -> None:
    made = generate(model, {"sandal": 5, "ankle-boot": BATCH + 40}, seed=7)
    for i in (0, 4, 5, BATCH - 1, BATCH, BATCH + 44):
        again = model.sample(made.data.labels[i : i + 1], made.seeds[i : i + 1])
        difference = again.images[0].astype(int) - made.data.images[i]
        assert np.abs(difference).max() <= 1  # another batch size may round another way
        assert again.scores[0] == pytest.approx(made.scores[i], rel=1e-3, abs=1e-4)


def test_more_images_keep_the_first(model: Model) -> None:
    few, many = (generate(model, {"sandal": n, "sneaker": 2 * n}, seed=7) for n in (6, 11))
    for k, count in ((0, 6), (1, 12)):
        first, again = (made.data.labels == k for made in (few, many))
        assert np.array_equal(few.seeds[first], many.seeds[again][:count])
        difference = few.data.images[first].astype(int) - many.data.images[again][:count]
        assert np.abs(difference).max() <= 1


def test_a_class_has_the_same_images_whatever_other_classes_are_generated(model: Model) -> None:
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


def test_counts_labels_and_names_are_the_wanted_ones(model: Model) -> None:
    made = generate(model, {"ankle-boot": 2, "sandal": 3, "sneaker": 0}, seed=0)
    assert made.data.class_names == ("sandal", "sneaker", "ankle-boot")
    assert made.data.labels.tolist() == [0, 0, 0, 2, 2]
    assert made.data.images.shape == (5, 1, 12, 12)
    assert made.scores.shape == made.seeds.shape == (5,)


def test_an_unknown_class_is_named_with_the_known_ones(model: Model) -> None:
    with pytest.raises(ConfigError, match="no class 'boot'; its classes are 'sandal', 'sneaker', 'ankle-boot'"):
        generate(model, {"sandal": 1, "boot": 2}, seed=0)


def test_sampling_leaves_the_global_random_state_alone(model: Model) -> None:
    before = torch.get_rng_state()
    generate(model, {"sandal": 3}, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_balance_fills_every_class_up_to_the_largest() -> None:
    assert balancing_counts({"a": 3, "b": 7, "c": 7, "d": 1}) == {"a": 4, "b": 0, "c": 0, "d": 6}


def test_an_unfinished_run_is_refused_with_the_command_that_finishes_it(shoes: LabelledImages, tmp_path: Path) -> None:
    fit(shoes, SMALL, tmp_path / "run", stopped=stop_after(3))
    with pytest.raises(SourceError, match=r"is not finished; `augment fit` with --out .*run continues it"):
        load_model(tmp_path / "run")


@pytest.mark.parametrize("made", [False, True], ids=["missing", "empty"])
def test_a_folder_that_is_no_run_is_named(made: bool, tmp_path: Path) -> None:
    if made:
        (tmp_path / "other").mkdir()
    with pytest.raises(SourceError, match=r"other is not a RUN folder"):
        load_model(tmp_path / "other")


@pytest.mark.parametrize("device", DEVICES)
def test_every_device_generates_the_same_images(device: str, run: Path, model: Model) -> None:
    here, there = (generate(m, {"sandal": 4, "ankle-boot": 3}, seed=5) for m in (model, load_model(run, device)))
    assert np.array_equal(here.seeds, there.seeds)
    assert np.abs(here.data.images.astype(int) - there.data.images).max() <= 2
    assert (here.data.images != there.data.images).mean() < 0.02


@pytest.mark.parametrize("counts", [{}, {"sandal": 0}])
def test_nothing_to_generate_is_refused(counts: dict[str, int], model: Model) -> None:
    with pytest.raises(ConfigError, match="there is nothing to generate: no class needs an image"):
        generate(model, counts, seed=0)


def test_the_observer_receives_the_number_of_generated_images(model: Model) -> None:
    told: list[tuple[str, int, int]] = []

    class Counting(Observer):
        def on_progress(self, task: Task, done: int, metrics: Mapping[str, float], label: str = "") -> None:
            told.append((task.name, task.total, done))

    generate(model, {"sandal": BATCH, "sneaker": 7}, seed=0, observer=Counting())
    assert told == [("generate", BATCH + 7, BATCH), ("generate", BATCH + 7, BATCH + 7)]
