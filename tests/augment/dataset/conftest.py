"""A user's folder of real pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import members, save
from PIL import Image

from augment.dataset.sources import Source, read_source


@pytest.fixture(scope="session")
def bundled() -> Source:
    return read_source("bundled:fashion")


@pytest.fixture
def photos(tmp_path: Path, bundled: Source) -> Path:
    """Real pictures as PNG files: train/ with 4 bags and 3 coats, test/ with 2 bags and 1 coat."""
    for split, counts in (("train", {"bag": 4, "coat": 3}), ("test", {"bag": 2, "coat": 1})):
        for name, count in counts.items():
            for i, image in enumerate(members(bundled.splits[split], name)[:count]):
                save(Image.fromarray(image[0]), tmp_path / "photos" / split / name / f"{i}.png")
    return tmp_path / "photos"
