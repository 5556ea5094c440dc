"""The class-conditional GAN as a finished run: averaged weights, their own statistics, a score an image."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from batch_statistics import distance, statistics_of
from fitting import SMALL, fit, stop_after
from tensors import weights

from augment.dataset.images import LabelledImages, to_signed
from augment.errors import SourceError
from augment.generators.cgan import Cgan, CganMetadata, load
from augment.generators.sampling import generate
from augment.tensor_files import dump_tensors, load_tensors


@pytest.fixture(scope="module")
def run(shoes: LabelledImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sampling") / "run"
    fit(shoes, SMALL, folder)
    return folder


@pytest.fixture(scope="module")
def model(run: Path) -> Cgan:
    return load(run, torch.device("cpu"))


def test_a_score_is_the_discriminators_logit_for_the_image_and_its_class(model: Cgan) -> None:
    made = generate(model, {"sandal": 3, "ankle-boot": 4}, seed=3)
    logits = model.discriminator(to_signed(torch.from_numpy(made.data.images)), torch.from_numpy(made.data.labels))
    np.testing.assert_allclose(made.scores, logits.numpy(), atol=0.02)  # of images rounded to 8 bits
    assert made.scores.std() > 0.02
    alone = model.sample(made.data.labels, made.seeds, scored=False)
    assert alone.scores is None
    assert np.array_equal(alone.images, made.data.images)


def test_a_model_is_loaded_frozen_in_eval_mode_with_the_averaged_weights(run: Path, model: Cgan) -> None:
    checkpoint = weights(run / "checkpoints/step-00000012.safetensors")
    for network in (model.generator, model.discriminator):
        assert not network.training
        assert not any(p.requires_grad for p in network.parameters())
    for name, parameter in model.generator.named_parameters():
        assert torch.equal(parameter, checkpoint[f"ema.{name}"])
    assert any(not torch.equal(p, checkpoint[f"generator.{n}"]) for n, p in model.generator.named_parameters())


def test_a_finished_run_holds_the_statistics_of_its_averaged_weights(run: Path, model: Cgan) -> None:
    expected = statistics_of(model.generator, model.metadata.shape)
    assert distance(model.generator, expected) < 0.1
    in_training = copy.deepcopy(model.generator)
    checkpoint = weights(run / "checkpoints/step-00000012.safetensors")
    in_training.load_state_dict({n.removeprefix("ema."): t for n, t in checkpoint.items() if n.startswith("ema.")})
    assert distance(in_training, expected) > 0.2  # else this test would show nothing


CODED = SMALL.model_copy(update={"code_pull": 5.0, "code_spread": 0.3})


@pytest.fixture(scope="module")
def coded_run(shoes: LabelledImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("codes") / "run"
    rates = {"lr_generator": 5e-3, "lr_discriminator": 1e-4, "ema_decay": 0.9}  # G follows the codes more than D
    fit(shoes, CODED.model_copy(update={"steps": 200, "width": 8, "batch_size": 16, **rates}), folder)
    return folder


def test_an_image_of_a_code_is_near_its_training_image(coded_run: Path, shoes: LabelledImages) -> None:
    model = load(coded_run, torch.device("cpu"))
    assert model.codes is not None
    with torch.no_grad():
        images = model.generator(model.codes.codes, torch.from_numpy(shoes.labels))
    distances = (images[:, None] - to_signed(torch.from_numpy(shoes.images))[None]).abs().mean((2, 3, 4))
    own, others = distances.diagonal(), distances[~torch.eye(19, dtype=torch.bool)]
    assert own.mean() < 0.5 * others.mean()
    assert (distances.argmin(1) == torch.arange(19)).float().mean() > 0.5


def test_a_run_with_codes_samples_without_its_source(coded_run: Path) -> None:
    model = load(coded_run, torch.device("cpu"))
    first, again = (generate(model, {"sandal": 3, "ankle-boot": 4}, seed=3) for _ in range(2))
    assert np.array_equal(first.data.images, again.data.images)
    assert len({image.tobytes() for image in first.data.images}) == 7


def test_a_stopped_run_with_codes_continues_to_the_same_weights(shoes: LabelledImages, tmp_path: Path) -> None:
    fit(shoes, CODED, tmp_path / "whole")
    fit(shoes, CODED, tmp_path / "parts", stopped=stop_after(7))
    fit(shoes, CODED, tmp_path / "parts")
    whole, parts = (weights(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys() >= {"codes", "code_labels"}
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_damaged_codes_are_refused(coded_run: Path, tmp_path: Path) -> None:
    tensors, metadata = load_tensors(coded_run / "model.safetensors", CganMetadata)
    for damage in ({"codes": tensors["codes"][1:]}, {"code_labels": tensors["code_labels"] + 1}):
        (tmp_path / "model.safetensors").write_bytes(dump_tensors({**tensors, **damage}, metadata))
        with pytest.raises(SourceError, match="its codes do not fit its metadata"):
            load(tmp_path, torch.device("cpu"))
