"""What a pipeline costs is said before it begins, and is about what it then takes."""

from __future__ import annotations

import torch

from augment.dataset.images import LabelledImages, subset_per_class
from augment.gan.config import GanConfig
from classifiers.training import FitConfig
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.folds import Fold
from pipelines.experiment.time_estimate import (
    Load,
    by_stage,
    classifier_seconds,
    estimate,
    gan_step_seconds,
    peak_memory,
)

CPU = torch.device("cpu")


def test_the_probes_give_a_time(fashion: LabelledImages) -> None:
    images = subset_per_class(fashion, 5, seed=0)
    config = EvaluateConfig(views=2, classifier=FitConfig(width=4, steps=60))
    seconds = estimate(Load([Fold(images, images, (0,))], 0, 8, 100), GanConfig(width=4, steps=40), config, CPU, 1)
    assert list(seconds) == ["fit", "generate", "choose", "evaluate"]
    assert seconds["choose"] == 0
    assert all(0 < seconds[name] < 1000 for name in ("fit", "generate", "evaluate"))


def test_the_probe_changes_no_random_state(shoes: LabelledImages) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    gan_step_seconds(shoes, GanConfig(width=4, latent_dim=4), CPU, alone=False)
    classifier_seconds(shoes, shoes, EvaluateConfig(views=1), CPU)
    assert torch.equal(torch.get_rng_state(), before)


def test_stages_share_the_processes(shoes: LabelledImages) -> None:
    load = Load([Fold(shoes, shoes, (0,))] * 5, choosing=12, evaluating=40, images=2000)
    assert by_stage(load, generator=60, classifier=4, jobs=1) == {
        "fit": 300,
        "generate": 2,
        "choose": 48,
        "evaluate": 190,  # 40 classifiers, and the fidelity of 5 folds
    }
    assert by_stage(load, generator=60, classifier=4, jobs=2)["fit"] == 180  # the fifth generator is alone
    assert by_stage(load, generator=60, classifier=4, jobs=2)["evaluate"] == 95


def test_memory_grows_with_processes() -> None:
    alone, beside = peak_memory(1), peak_memory(2)
    assert alone is not None
    assert beside is not None
    assert 0.1 < alone < beside
