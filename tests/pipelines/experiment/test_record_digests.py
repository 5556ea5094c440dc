"""A record is kept if and only if nothing has changed that its classifier depends on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from augment.dataset.images import LabelledImages, split_per_class
from augment.generators.runs import MODEL
from augment.generators.sampling import SyntheticImages
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.folds import Fold
from pipelines.experiment.planning import Training
from pipelines.experiment.record_digests import record_digests, weight_digests

ARMS: tuple[Any, ...] = (
    "none",
    "classical",
    "classical+synthetic",
    {"name": "scored", "synthetic": True, "keep": 0.5, "filter": "score"},
    {"name": "soft", "policy": "classical", "soft_labels": True},
    "classical+fresh",
    "classical+grid",
    "classical+unlabelled",
    "features",
    "finetune",
)
REAL = {"none", "classical", "soft", "classical+grid", "classical+unlabelled", "features", "finetune"}
STORED = {"classical+synthetic", "scored"}
EVERY = REAL | STORED | {"classical+fresh"}
CPU = torch.device("cpu")


@pytest.fixture
def fold(shoes: LabelledImages, tmp_path: Path) -> Fold:
    (tmp_path / MODEL).write_bytes(b"weights")
    train, test = split_per_class(shoes, 0.4, seed=1)
    synthetic = SyntheticImages(shoes, scores=np.linspace(0, 1, len(shoes)))
    return Fold(train, test, (0, 1), synthetic=synthetic, unlabelled=test, run=tmp_path)


def digests(fold: Fold, device: torch.device = CPU, **settings: Any) -> dict[str, str]:
    """The digest of the first repeat of each arm, by its name."""
    config = EvaluateConfig.model_validate({"arms": ARMS, **settings})
    trainings = [Training(arm, 0, fold.name) for arm in config.resolved_arms()]
    return {str(key[1]): digest for key, digest in record_digests(trainings, [fold], config, device).items()}


def darker(data: LabelledImages | None) -> LabelledImages:
    assert data is not None
    return replace(data, images=data.images // 2)


def with_other_scores(fold: Fold) -> Fold:
    assert fold.synthetic is not None
    assert fold.synthetic.scores is not None
    return replace(fold, synthetic=replace(fold.synthetic, scores=fold.synthetic.scores[::-1].copy()))


def with_other_synthetic_images(fold: Fold) -> Fold:
    assert fold.synthetic is not None
    return replace(fold, synthetic=replace(fold.synthetic, data=darker(fold.synthetic.data)))


def with_another_generator(fold: Fold) -> Fold:
    assert fold.run is not None
    (fold.run / MODEL).write_bytes(b"other weights")
    return fold


CONTENTS: dict[str, tuple[Callable[[Fold], Fold], set[str]]] = {
    "training images": (lambda f: replace(f, train=darker(f.train)), EVERY),
    "test images": (lambda f: replace(f, test=darker(f.test)), EVERY),
    "unlabelled images": (lambda f: replace(f, unlabelled=darker(f.unlabelled)), {"classical+unlabelled"}),
    "synthetic images": (with_other_synthetic_images, STORED),
    "scores": (with_other_scores, STORED),
    "generator": (with_another_generator, {"classical+fresh"}),
    "numbers": (lambda f: replace(f, numbers=(3,)), {"soft"}),
    "validation images": (lambda f: replace(f, val=f.test), set()),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_what_a_fold_holds_matters_to_the_arms_that_use_it(name: str, fold: Fold) -> None:
    change, expected = CONTENTS[name]
    before = digests(fold)
    after = digests(change(fold))
    assert {arm for arm in EVERY if before[arm] != after[arm]} == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"seed": 5}, EVERY),
        ({"classifier": {"steps": 9}}, EVERY - {"features"}),
        ({"horizontal_flip": True}, EVERY),
        ({"repeats": 7, "metric": "macro_f1"}, set()),
        ({"ratio": 0.5}, STORED | {"classical+fresh", "classical+grid"}),
        ({"policy": "light"}, EVERY - {"none", "scored", "features"}),
        ({"views": 3}, EVERY - {"none", "scored", "features"}),
        ({"features": {"C": 2.0}}, {"features", "finetune"}),
        ({"finetune": {"steps": 7}}, {"finetune"}),
    ],
)
def test_a_setting_matters_to_the_arms_that_use_it(settings: dict[str, Any], expected: set[str], fold: Fold) -> None:
    before, after = digests(fold), digests(fold, **settings)
    assert {arm for arm in EVERY if before[arm] != after[arm]} == expected


def test_a_name_does_not_matter_and_half_of_the_images_does(fold: Fold) -> None:
    config = EvaluateConfig.model_validate({"arms": ["classical", {"name": "same", "policy": "classical"}]})
    one, same = config.resolved_arms()
    half = one.model_copy(update={"name": "half"})
    trainings = [Training(one, 0), Training(same, 0), Training(half, 0, on_half=True)]
    first, second, third = record_digests(trainings, [fold], config, CPU).values()
    assert first == second != third


def test_another_device_or_version_matters_to_all(fold: Fold, monkeypatch: pytest.MonkeyPatch) -> None:
    before, on_gpu = digests(fold), digests(fold, torch.device("cuda", 0))
    monkeypatch.setattr("pipelines.experiment.record_digests.versions", lambda: {"torch": "1.0"})
    after = digests(fold)
    assert not {*before.values()} & {*on_gpu.values(), *after.values()}


def test_weights_in_a_file_matter_by_their_content(fold: Fold, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"one")
    settings = {"features": {"backbone_weights": str(path)}}
    before = digests(fold, **settings)
    path.write_bytes(b"two")
    after = digests(fold, **settings)
    assert {arm for arm in EVERY if before[arm] != after[arm]} == {"features", "finetune"}
    config = EvaluateConfig.model_validate(settings)
    assert list(weight_digests(config)) == ["evaluate.features.backbone_weights"]
    assert weight_digests(EvaluateConfig()) == {}
