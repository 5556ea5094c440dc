"""`resample`: changed training images of the right class, each from its own seed, and no scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fitting import files_of, fit, rewrite
from pydantic import ValidationError

from augment.dataset.images import LabelledImages
from augment.dataset.pair_mixing import MIXINGS
from augment.dataset.policies import POLICIES
from augment.dataset.sources import read_source
from augment.errors import SourceError
from augment.generators.base import Outcome
from augment.generators.generated_folder import generate_folder
from augment.generators.registry import load_model
from augment.generators.resample import Resample, ResampleConfig, load, pixel_mixture
from augment.generators.sampling import generate

LABELS = np.array([2, 0, 1, 2, 0])
SEEDS = [4, 9, 2**63 - 1, 2**32 + 4, 0]


@pytest.fixture(scope="module")
def run(shoes: LabelledImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resample") / "run"
    assert fit(shoes, ResampleConfig(), folder) == Outcome.FINISHED
    return folder


@pytest.fixture(scope="module")
def model(run: Path) -> Resample:
    return load(run, torch.device("cpu"))


def fitted(images: LabelledImages, folder: Path, **settings: object) -> Resample:
    fit(images, ResampleConfig(**settings), folder)
    return load(folder, torch.device("cpu"))


@pytest.fixture
def unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of a policy that changes nothing."""
    monkeypatch.setitem(POLICIES, "unchanged", lambda data, views, horizontal_flip, seed: data.images[None])


def halves(images: LabelledImages) -> LabelledImages:
    """Images that are white on the left and, of class k, of the grey k * 60 on the right, so that flips show."""
    pixels = np.full((len(images), 1, 12, 12), 255, np.uint8)
    pixels[:, :, :, 6:] = (images.labels * 60).astype(np.uint8)[:, None, None, None]
    return LabelledImages(pixels, images.labels, images.class_names)


@pytest.mark.usefixtures("unchanged")
def test_without_a_change_an_image_is_a_training_image_of_its_class(shoes: LabelledImages, tmp_path: Path) -> None:
    model = fitted(shoes, tmp_path / "run", policy="unchanged")
    labels = np.repeat(np.arange(3), 60)
    for image, label in zip(model.sample(labels, range(180)).images, labels, strict=True):
        assert any(np.array_equal(image, real) for real in shoes.images[shoes.labels == label])


@pytest.mark.usefixtures("unchanged")
def test_every_training_image_of_a_class_is_drawn(shoes: LabelledImages, tmp_path: Path) -> None:
    model = fitted(shoes, tmp_path / "run", policy="unchanged")
    drawn = model.sample(np.zeros(200, np.int64), range(200)).images
    assert {image.tobytes() for image in drawn} == {image.tobytes() for image in shoes.images[shoes.labels == 0]}


def test_the_policy_changes_the_images(model: Resample, shoes: LabelledImages) -> None:
    real = {image.tobytes() for image in shoes.images}
    made = model.sample(np.repeat(np.arange(3), 30), range(90)).images
    assert sum(image.tobytes() not in real for image in made) > 60
    assert len({image.tobytes() for image in made}) > 60


def test_an_image_is_the_same_alone_and_among_others(model: Resample) -> None:
    together = model.sample(LABELS, SEEDS).images
    for i, (label, seed) in enumerate(zip(LABELS, SEEDS, strict=True)):
        assert np.array_equal(model.sample(np.array([label]), [seed]).images[0], together[i])
    assert np.array_equal(model.sample(LABELS[::-1], SEEDS[::-1]).images, together[::-1])


def test_seeds_that_differ_in_their_high_bits_alone_differ_too(model: Resample) -> None:
    labels = np.zeros(20, np.int64)
    low, high = (model.sample(labels, [seed + offset for seed in range(20)]).images for offset in (0, 2**40))
    assert not np.array_equal(low, high)


def test_sampling_leaves_the_global_random_states_alone(model: Resample) -> None:
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    model.sample(LABELS, SEEDS)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # type: ignore[index]


@pytest.mark.parametrize("flips", [False, True])
def test_images_are_mirrored_only_where_that_is_allowed(flips: bool, shoes: LabelledImages, tmp_path: Path) -> None:
    config = ResampleConfig(policy="light")
    config = config.with_horizontal_flip() if flips else config
    assert config.horizontal_flip == flips
    model = fitted(halves(shoes), tmp_path / "run", **config.model_dump())
    images = model.sample(np.zeros(60, np.int64), range(60)).images.astype(int)
    mirrored = images[:, 0, :, :4].mean((1, 2)) < images[:, 0, :, 8:].mean((1, 2))
    assert 15 < mirrored.sum() < 45 if flips else not mirrored.any()


def test_anchors_are_the_training_images_behind_an_image(shoes: LabelledImages, tmp_path: Path) -> None:
    model = fitted(shoes, tmp_path / "run", policy=None)
    labels = np.repeat(np.arange(3), 20)
    samples = model.sample(labels, range(60))
    assert np.array_equal(samples.images, shoes.images[samples.anchors[:, 0]])
    assert (shoes.labels[samples.anchors[:, 0]] == labels).all()


@pytest.mark.parametrize("mixing", MIXINGS)
def test_mixed_images_take_each_pixel_from_one_of_two_images(
    mixing: str, shoes: LabelledImages, tmp_path: Path
) -> None:
    model = fitted(shoes, tmp_path / "run", policy=None, mixing=mixing)
    labels = np.repeat(np.arange(3), 20)
    samples = model.sample(labels, range(60))
    first, second = shoes.images[samples.anchors].transpose(1, 0, 2, 3, 4)
    assert ((samples.images == first) | (samples.images == second)).all()
    assert (shoes.labels[samples.anchors] == labels[:, None]).all()
    assert sum((a != b).any() and (a != c).any() for a, b, c in zip(samples.images, first, second, strict=True)) > 20


@pytest.mark.parametrize("count", [1, 2, 3])
def test_an_image_is_mixed_with_another_one_if_there_is_one(count: int, shoes: LabelledImages) -> None:
    few = shoes.take(np.flatnonzero(shoes.labels == 1)[:count])
    samples = pixel_mixture(few, "grid").sample(np.ones(40, np.int64), list(range(40)))
    assert samples.anchors is not None
    assert {len(set(pair)) for pair in samples.anchors.tolist()} == {min(count, 2)}
    assert set(samples.anchors.flatten().tolist()) == set(range(count))


@pytest.mark.parametrize(("mixing", "images"), [(None, 1), ("grid", 2)])
def test_no_image_at_all_may_be_asked_for(mixing: str | None, images: int, shoes: LabelledImages) -> None:
    none = pixel_mixture(shoes, mixing).sample(np.zeros(0, np.int64), [])
    assert none.images.shape == (0, *shoes.images.shape[1:])
    assert none.anchors is not None
    assert none.anchors.shape == (0, images)


def test_there_are_no_scores(model: Resample, run: Path, tmp_path: Path) -> None:
    assert model.sample(LABELS, SEEDS).scores is None
    made = generate(model, {"sandal": 3, "ankle-boot": 2}, seed=1)
    assert made.scores is None
    assert made.take(np.array([4, 0])).scores is None
    generate_folder(load_model(run), {"sandal": 3, "ankle-boot": 2}, tmp_path / "out", "png", seed=1)
    header, *rows = (tmp_path / "out/manifest.csv").read_text().splitlines()
    assert (header, len(rows)) == ("path,label,seed,anchors", 5)
    assert read_source(tmp_path / "out", complete=False).train.counts().tolist() == [2, 3]


def test_an_archive_of_images_without_scores_has_none(model: Resample, tmp_path: Path) -> None:
    made = generate_folder(model, {"sneaker": 4}, tmp_path / "out", "npz", seed=1)
    assert made is not None
    assert made.seeds is not None
    with np.load(tmp_path / "out/images.npz") as archive:
        assert "train_scores" not in archive
        assert archive["train_seeds"].tolist() == made.seeds.tolist()


def test_a_finished_run_is_left_alone(shoes: LabelledImages, tmp_path: Path) -> None:
    fit(shoes, ResampleConfig(), tmp_path / "run")
    before = files_of(tmp_path)
    assert fit(shoes, ResampleConfig(), tmp_path / "run") == Outcome.ALREADY_FINISHED
    assert files_of(tmp_path) == before


def test_a_run_holds_its_images_and_stands_alone(run: Path, model: Resample, shoes: LabelledImages) -> None:
    present = {name for name in files_of(run) if not name.startswith(".")}
    assert present == {"config.yaml", "model.safetensors"}
    assert np.array_equal(model.images.images, shoes.images)
    assert np.array_equal(model.images.labels, shoes.labels)
    assert (model.metadata.kind, model.metadata.step) == ("resample", 1)


def test_a_class_without_training_images_is_named(shoes: LabelledImages, tmp_path: Path) -> None:
    model = fitted(shoes.take(np.flatnonzero(shoes.labels != 1)), tmp_path / "run")
    with pytest.raises(SourceError, match="class 'sneaker' has no training images to start from"):
        model.sample(np.array([1]), [0])


def test_an_unknown_policy_lists_the_known_ones() -> None:
    with pytest.raises(ValidationError, match=r"expected one of standard, .*got 'standart'"):
        ResampleConfig(policy="standart")


def shuffled(tensors: dict[str, torch.Tensor]) -> None:
    tensors["pictures"] = tensors.pop("images")


DAMAGES = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:300]),
    "other tensors": lambda path: rewrite(path, lambda tensors, _: shuffled(tensors)),
    "fewer labels": lambda path: rewrite(path, lambda t, _: t.update(labels=t["labels"][:-1])),
    "a label too high": lambda path: rewrite(path, lambda t, _: t["labels"].fill_(3)),
    "a negative label": lambda path: rewrite(path, lambda t, _: t["labels"].fill_(-1)),
    "labels that are no whole numbers": lambda path: rewrite(path, lambda t, _: t.update(labels=t["labels"].double())),
    "pixels that are no bytes": lambda path: rewrite(path, lambda t, _: t.update(images=t["images"].float())),
    "a picture alone": lambda path: rewrite(path, lambda t, _: t.update(images=t["images"][0])),
    "a size that is none": lambda path: rewrite(path, lambda t, _: t.update(images=t["images"][..., :7])),
    "an unknown policy": lambda path: rewrite(path, lambda _, metadata: setattr(metadata, "policy", "wild")),
    "counts of other images": lambda path: rewrite(path, lambda t, _: t.update(labels=t["labels"].clamp(min=1))),
    "a missing class": lambda path: rewrite(
        path, lambda _, metadata: setattr(metadata, "classes", ["sandal", "sneaker"])
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_is_refused(damage: str, shoes: LabelledImages, tmp_path: Path) -> None:
    fit(shoes, ResampleConfig(), tmp_path / "run")
    DAMAGES[damage](tmp_path / "run/model.safetensors")
    with pytest.raises(SourceError, match="run") as caught:
        load_model(tmp_path / "run")
    assert "\n" not in str(caught.value)
