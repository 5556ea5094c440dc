"""A small model, trained on real images."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_model import recipe

from augment.runtime import Runtime
from pipelines.config.sections import DataConfig
from pipelines.model.training import train


@pytest.fixture(scope="session")
def data(image_folder: Path) -> DataConfig:
    """The user's folder: three classes of 12 training and 6 test images, at 12 px."""
    return DataConfig(source=str(image_folder), image_size=12)


@pytest.fixture(scope="session")
def model(data: DataConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MODEL folder of two members that have not seen the test images. It is only read."""
    folder = tmp_path_factory.mktemp("model") / "model"
    assert train(data, recipe(), folder, Runtime(), members=2, keep_test=True) is not None
    return folder
