"""A classifier as ONNX gives the same probabilities, from pixels, for any number of images."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from augment.dataset.images import LabelledImages
from augment.errors import ConfigError
from classifiers.ensemble import Ensemble
from classifiers.export import to_onnx
from classifiers.networks import NETWORKS, build
from classifiers.training import predict

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("network", NETWORKS)
def test_the_file_gives_the_same_probabilities(network: str, shoes: LabelledImages) -> None:
    model = build(network, 3, 1, 12, 4 if network == "small" else 1, seed=1).eval()
    torch.nn.init.normal_(model.head.weight)  # type: ignore[union-attr, arg-type]
    ensemble = Ensemble([model], 3).eval()
    ensemble.temperature, ensemble.shift = torch.tensor(0.7), torch.tensor([0.3, 0.0, -1.0])
    session = onnxruntime.InferenceSession(to_onnx(ensemble, 1, 12), providers=["CPUExecutionProvider"])
    for count in (1, 3, 19):
        (found,) = session.run(["probabilities"], {"pixels": np.ascontiguousarray(shoes.images[:count])})
        expected = predict(ensemble, shoes.images[:count]).exp().numpy()
        assert found.shape == (count, 3)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_network_itself_is_not_changed() -> None:
    model = build("small", 3, 1, 12, 4, seed=1).eval()
    before = str(model)
    to_onnx(Ensemble([model], 3).eval(), 1, 12)
    assert str(model) == before


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConfigError, match=r"pip install 'augment-osgan\[export\]'"):
        to_onnx(build("small", 3, 1, 12, 4, seed=1), 1, 12)
