"""Only formats that Pillow reads by itself are opened, whatever a file is called."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from PIL import Image

from augment.dataset.decoding import FORMATS
from augment.dataset.images import LabelledImages
from augment.dataset.inspection import inspect
from augment.dataset.sources import read_source
from augment.errors import SourceError


@pytest.fixture
def folder(fashion: LabelledImages, tmp_path: Path) -> Path:
    """Two classes of two real pictures."""
    for i, image in enumerate(fashion.images[:4]):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.fromarray(image[0]).save(tmp_path / "ab"[i % 2] / f"{i}.png")
    return tmp_path


@pytest.mark.parametrize("format", FORMATS)
def test_every_listed_format_is_read(format: str, folder: Path) -> None:
    with Image.open(folder / "a" / "0.png") as plain:
        picture = plain.convert("RGB")
    picture.save(folder / "a" / "0.png", format=format)  # by its content and not by its name
    assert len(read_source(folder, image_size=28).train) == 4


@pytest.mark.parametrize("format", ["EPS", "SGI"])
@pytest.mark.parametrize("suffix", ["png", "eps"])
def test_other_formats_are_refused_and_start_no_program(
    format: str, suffix: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    monkeypatch.setattr(subprocess, "check_call", lambda command, **_: started.append(command))
    with Image.open(folder / "a" / "0.png") as plain:
        plain.save(folder / "a" / f"9.{suffix}", format=format)
    with pytest.raises(SourceError, match=rf"9\.{suffix} is no readable picture"):
        read_source(folder)
    assert len(read_source(folder, skip_broken=True).train) == 4
    assert started == []


def test_an_inspection_opens_no_other_format_either(folder: Path) -> None:
    source = read_source(folder)
    file = Path(source.files["train"][0])
    Image.new("L", (28, 28)).save(file, format="EPS")
    assert not any("alpha" in sentence for sentence in inspect(source).advice)
    picture = Image.new("RGBA", (28, 28))
    picture.save(file)
    assert any("1 file with an alpha channel" in sentence for sentence in inspect(source).advice)
