"""The class-conditional GAN as a finished run: averaged weights, their own statistics, a score an image."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from batch_statistics import distance, statistics_of
from fitting import SMALL, fit
from tensors import weights

from augment.dataset.images import LabelledImages, to_signed
from augment.generators.cgan import Cgan, load
from augment.generators.sampling import generate


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


def test_a_model_is_loaded_frozen_in_eval_mode_with_the_averaged_weights(run: Path, model: Cgan) -> None:
    checkpoint = weights(run / "checkpoints/step-00000012.safetensors")
    for network in (model.generator, model.discriminator):
        assert not network.training
        assert not any(p.requires_grad for p in network.parameters())
    for name, parameter in model.generator.named_parameters():
        assert torch.equal(parameter, checkpoint[f"ema.{name}"])
    assert any(not torch.equal(p, checkpoint[f"generator.{n}"]) for n, p in model.generator.named_parameters())


def test_a_finished_run_holds_the_statistics_of_its_averaged_weights(run: Path, model: Cgan) -> None:
    expected = statistics_of(model.generator, model.about.shape)
    assert distance(model.generator, expected) < 0.1
    in_training = copy.deepcopy(model.generator)
    checkpoint = weights(run / "checkpoints/step-00000012.safetensors")
    in_training.load_state_dict({n.removeprefix("ema."): t for n, t in checkpoint.items() if n.startswith("ema.")})
    assert distance(in_training, expected) > 0.2  # else this test would show nothing
