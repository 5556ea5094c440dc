"""Sources for `augment run auto`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from augment.dataset.images import LabelledImages


@pytest.fixture(scope="module")
def source(four: LabelledImages, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Write a source of some images of each of four classes, with 10 test images of each, or without any."""

    def write(*counts: int, test: bool = True) -> Path:
        path = tmp_path_factory.mktemp("auto") / "source.npz"
        picked = np.concatenate([np.arange(100 * k, 100 * k + count) for k, count in enumerate(counts)])
        tested = np.concatenate([np.arange(100 * k + 90, 100 * k + 100) for k in range(4)])
        parts = {"train": picked} | ({"test": tested} if test else {})
        arrays = {f"{name}_images": four.images[indices, 0] for name, indices in parts.items()}
        labels = {f"{name}_labels": four.labels[indices] for name, indices in parts.items()}
        np.savez(path, **arrays, **labels)
        return path

    return write
