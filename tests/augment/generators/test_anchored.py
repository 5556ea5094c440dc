"""The anchored generator: its steps, and a finished run that stands alone and names the images behind each image."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from fitting import fit, rewrite, stop_after
from tensors import weights
from torch.nn.functional import l1_loss

from augment.dataset.images import LabelledImages, to_signed
from augment.errors import ConfigError, SourceError
from augment.gan.anchors import ANCHOR_POLICIES
from augment.gan.steps import STEPS
from augment.generators import adversarial, registry
from augment.generators.anchored import Anchored, AnchoredConfig, Synthesis, load
from augment.generators.base import Outcome, TrainingData
from augment.generators.generated_folder import generate_folder
from augment.generators.sampling import generate, image_seeds
from augment.runtime import Runtime

SMALL = AnchoredConfig(
    anchors="grid-difference",
    width=4,
    latent_dim=8,
    steps=8,
    batch_size=8,
    lenders_from=6,
    log_every=4,
    checkpoint_every=4,
)
LONG = SMALL.model_copy(update={"width": 8, "batch_size": 16, "steps": 150})


@pytest.fixture(scope="module")
def run(shoes: LabelledImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("anchored") / "run"
    fit(shoes, LONG, folder)
    return folder


@pytest.fixture(scope="module")
def model(run: Path) -> Anchored:
    return load(run, torch.device("cpu"))


@pytest.mark.parametrize("trainer", STEPS)
@pytest.mark.parametrize("policy", ANCHOR_POLICIES)
def test_every_policy_trains_by_every_step(policy: str, trainer: str, shoes: LabelledImages, tmp_path: Path) -> None:
    config = SMALL.model_copy(update={"anchors": policy, "trainer": trainer, "steps": 2})
    assert fit(shoes, config, tmp_path / "run") == Outcome.FINISHED
    first, second = (weights(tmp_path / "run/checkpoints/step-00000002.safetensors"), load(tmp_path / "run", CPU))
    assert first["generator.stem.weight"].isfinite().all()
    assert second.sample(np.array([0, 2]), [1, 2]).images.shape == (2, 1, 12, 12)


CPU = torch.device("cpu")


@pytest.mark.parametrize("flip", [False, True])
def test_a_run_that_was_stopped_ends_like_an_uninterrupted_one(
    flip: bool, shoes: LabelledImages, tmp_path: Path
) -> None:
    config = SMALL.with_horizontal_flip() if flip else SMALL
    fit(shoes, config, tmp_path / "whole")
    assert fit(shoes, config, tmp_path / "stopped", stopped=stop_after(3)) == Outcome.STOPPED
    assert fit(shoes, config, tmp_path / "stopped") == Outcome.FINISHED
    first, second = (weights(tmp_path / name / "model.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_an_image_depends_on_its_label_and_seed_alone(model: Anchored) -> None:
    labels, seeds = np.array([0, 1, 2, 2]), [5, 6, 7, 8]
    together = model.sample(labels, seeds)
    for i in range(4):
        alone = model.sample(labels[i : i + 1], seeds[i : i + 1])
        assert np.abs(alone.images[0].astype(int) - together.images[i]).max() <= 1  # rounding may differ by batch size
        assert np.array_equal(alone.anchors[0], together.anchors[i])
    assert not np.array_equal(together.images[2], together.images[3])


def test_anchors_are_of_the_class_and_lenders_of_one_class(model: Anchored, shoes: LabelledImages) -> None:
    labels = np.repeat([0, 1, 2], 30)
    anchors = model.sample(labels, range(90)).anchors
    assert anchors.shape == (90, 4)
    of_images = shoes.labels[anchors]
    assert (of_images[:, 0] == labels).all()
    assert (of_images[:, 1] == labels).all()
    assert (of_images[:, 2] == of_images[:, 3]).all()


def test_training_teaches_the_networks_to_reconstruct(model: Anchored, shoes: LabelledImages, tmp_path: Path) -> None:
    fit(shoes, LONG.model_copy(update={"steps": 2}), tmp_path / "short")
    real = to_signed(torch.from_numpy(shoes.images))
    errors = []
    for network in (load(tmp_path / "short", CPU).synthesis.network, model.synthesis.network):
        with torch.no_grad():
            decoded = network.decode(network.encode(real), torch.zeros(len(real), 8))
        errors.append(float(l1_loss(decoded, real)))
    assert errors[1] < 0.6 * errors[0]


def test_without_reconstruction_g_is_trained_by_d_alone(shoes: LabelledImages, tmp_path: Path) -> None:
    fit(shoes, SMALL.model_copy(update={"reconstruction": 0.0}), tmp_path / "without")
    fit(shoes, SMALL, tmp_path / "with")
    first, second = (weights(tmp_path / name / "model.safetensors") for name in ("without", "with"))
    assert not torch.equal(first["generator.stem.weight"], second["generator.stem.weight"])


def test_a_finished_run_samples_without_its_source(run: Path, model: Anchored, shoes: LabelledImages) -> None:
    saved = weights(run / "model.safetensors")
    assert np.array_equal(saved["images"].numpy(), shoes.images)
    assert saved["images"].dtype == torch.uint8
    assert model.metadata.train_per_class == {"sandal": 9, "sneaker": 6, "ankle-boot": 4}
    for network in (model.synthesis.network, model.discriminator):
        assert not network.training


def test_there_are_no_scores_where_d_has_not_learnt_all_classes(model: Anchored) -> None:
    assert model.sample(np.array([0, 1]), [1, 2]).scores is None  # of 9 and 6 images, but D has not seen the class of 4


def test_scores_are_the_discriminators_logits(shoes: LabelledImages, tmp_path: Path) -> None:
    fit(shoes, SMALL.model_copy(update={"lenders_from": 4}), tmp_path / "run")
    model = load(tmp_path / "run", CPU)
    samples = model.sample(np.array([0, 1, 2]), [1, 2, 3])
    logits = model.discriminator(to_signed(torch.from_numpy(samples.images)), torch.arange(3))
    np.testing.assert_allclose(samples.scores, logits.detach().numpy(), atol=0.05)  # of images rounded to 8 bits
    alone = model.sample(np.array([0, 1, 2]), [1, 2, 3], scored=False)
    assert alone.scores is None
    assert np.array_equal(alone.images, samples.images)


def test_the_manifest_names_the_training_images_behind_each_image(model: Anchored, tmp_path: Path) -> None:
    generate_folder(model, {"sneaker": 3}, tmp_path / "out", "png", seed=4)
    rows = list(csv.DictReader((tmp_path / "out/manifest.csv").read_text().splitlines()))
    expected = model.sample(np.array([1, 1, 1]), image_seeds(4, 1, 3)).anchors
    assert [[int(i) for i in row["anchors"].split(";")] for row in rows] == expected.tolist()
    generate_folder(model, {"sneaker": 3}, tmp_path / "npz", "npz", seed=4)
    assert np.array_equal(np.load(tmp_path / "npz/images.npz")["train_anchors"], expected)


def test_images_of_a_class_are_taken_along_with_their_anchors(model: Anchored) -> None:
    images = generate(model, {"sandal": 2, "ankle-boot": 3}, seed=1)
    assert np.array_equal(images.take(np.array([4, 0])).anchors, images.anchors[[4, 0]])


def test_a_class_without_training_images_is_named(shoes: LabelledImages, tmp_path: Path) -> None:
    without = LabelledImages(shoes.images, shoes.labels, (*shoes.class_names, "boot"))
    fit(without, SMALL, tmp_path / "run")
    with pytest.raises(SourceError, match="class 'boot' has no training images"):
        load(tmp_path / "run", CPU).sample(np.array([0, 3]), [1, 2])


def test_differences_without_a_large_class_are_refused(shoes: LabelledImages, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no class has the 20 images"):
        fit(shoes, SMALL.model_copy(update={"lenders_from": 20}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_damaged_model_is_refused_in_a_sentence(shoes: LabelledImages, tmp_path: Path) -> None:
    fit(shoes, SMALL, tmp_path / "run")
    rewrite(tmp_path / "run/model.safetensors", lambda tensors, _: tensors.pop("images"))
    with pytest.raises(SourceError, match="is damaged, or of another version"):
        load(tmp_path / "run", CPU)


def test_the_networks_learn_from_the_lending_classes_and_reconstruct_all(
    shoes: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, set[int]] = {"run": set(), "reconstruct": set()}
    for name, labels in seen.items():
        method = getattr(Synthesis, name)

        def recording(self: Synthesis, y: torch.Tensor, *rest: object, method=method, labels=labels) -> object:  # type: ignore[no-untyped-def]
            labels.update(y.tolist())
            return method(self, y, *rest)

        monkeypatch.setattr(Synthesis, name, recording)
    monkeypatch.setattr(adversarial, "recalibrate_batch_norm", lambda *arguments, **options: None)
    fit(shoes, SMALL.model_copy(update={"sample_every": 100}), tmp_path / "run", stopped=stop_after(6))
    assert seen == {"run": {0, 1}, "reconstruct": {0, 1, 2}}


def test_fakes_with_and_without_differences_are_scored_with_and_without_a_class(
    shoes: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = []
    run = Synthesis.run

    def recording(
        self: Synthesis, labels: torch.Tensor, uniforms: object, z: object, with_difference: object = None
    ) -> object:
        if isinstance(with_difference, slice):
            rows = torch.arange(len(labels))
            first = rows < round(SMALL.unlabelled * len(labels))  # those that D scores without a class
            hidden.append((int(first[with_difference].sum()), int((~first)[with_difference].sum())))
        return run(self, labels, uniforms, z, with_difference)  # type: ignore[arg-type]

    monkeypatch.setattr(Synthesis, "run", recording)
    runtime = Runtime(torch.device("cpu"), stopped=stop_after(2))
    registry.fit(TrainingData(shoes, unlabelled=shoes), SMALL, tmp_path / "run", runtime)
    assert set(hidden) == {(2, 2)}  # of 4 fakes without a class, and of 4 with one
