"""Every kind of picture is read as grey or RGB; only formats that Pillow reads by itself are opened."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from pictures import members, save
from PIL import Image

from augment.dataset.decoding import FORMATS
from augment.dataset.images import LabelledImages, fit_to_square
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
    with pytest.raises(SourceError, match=rf"9\.{suffix} is not a readable picture"):
        read_source(folder)
    assert len(read_source(folder, skip_broken=True).train) == 4
    assert started == []


def read_one(tmp_path, picture, suffix="png", other="L", size=None, **options):
    """`picture`, read as the only member of class b that is not a white `other` picture of the same size."""
    for name in ("a/1", "a/2", "b/2"):
        save(Image.new(other, picture.size, "white"), tmp_path / f"{name}.png")
    save(picture, tmp_path / f"b/1.{suffix}", **options)
    source = read_source(tmp_path, image_size=size)
    return source.train.images[2], source


def test_one_coloured_picture_makes_the_source_rgb(tmp_path):
    pixels, source = read_one(tmp_path, Image.new("RGB", (8, 8), (10, 120, 230)))
    assert (pixels[:, 0, 0].tolist(), source.train.channels) == ([10, 120, 230], 3)


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.fromarray(np.full((8, 8), 51 * 257, np.uint16)), [51]),
        (Image.new("L", (8, 8), 80).convert("1", dither=Image.Dither.NONE), [0]),
        (Image.new("LA", (8, 8), (100, 51)), [224]),
        (Image.new("RGBA", (8, 8), (0, 100, 255, 51)), [204, 224, 255]),
        (Image.new("RGB", (8, 8), (10, 120, 230)).quantize(4), [10, 120, 230]),
        (Image.new("L", (8, 8), 77).convert("P"), [77]),
    ],
    ids=["16 bit", "1 bit", "grey with alpha", "RGB with alpha", "palette", "grey palette"],
)
def test_all_kinds_of_png_become_grey_or_rgb(tmp_path, picture, expected):
    pixels, source = read_one(tmp_path, picture)
    assert source.train.channels == len(expected)
    assert np.unique(pixels.reshape(len(expected), -1), axis=1).ravel().tolist() == expected


def test_a_transparent_palette_entry_is_white(tmp_path):
    picture = Image.new("RGB", (8, 8), (10, 120, 230)).quantize(4)
    pixels, _ = read_one(tmp_path, picture, transparency=0)
    assert set(pixels.ravel().tolist()) == {255}


def test_a_cmyk_jpeg_has_its_colours(tmp_path):
    picture = Image.new("CMYK", (8, 8), (255, 0, 255, 0))
    pixels, _ = read_one(tmp_path, picture, "jpg", quality=100)
    assert np.allclose(pixels[:, 4, 4], [0, 255, 0], atol=6)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
def test_the_orientation_in_exif_is_honoured(tmp_path, suffix):
    picture = Image.new("L", (24, 16), 0)
    picture.paste(255, (0, 0, 24, 8))  # bright above; turned a quarter clockwise, bright on the right
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels, source = read_one(tmp_path, picture, suffix, size=24, exif=exif)
    assert source.original_sizes == {(24, 16): 3, (16, 24): 1}
    assert pixels[0, 12, 14] > 200
    assert pixels[0, 12, 9] < 50


def test_a_large_photograph_keeps_its_detail(tmp_path, fashion):
    picture = Image.fromarray(members(fashion, "bag")[6, 0]).resize((400, 300), Image.Resampling.NEAREST)
    pixels, _ = read_one(tmp_path, picture, "jpg", size=64, quality=95)
    expected = np.asarray(fit_to_square(picture, 64, "pad"), float)
    assert np.abs(pixels[0] - expected).mean() < 2


def test_a_broken_picture_decides_neither_the_channels_nor_the_size(folder: Path) -> None:
    Image.effect_noise((200, 200), 50).convert("RGB").save(folder / "a" / "broken.png")
    whole = (folder / "a" / "broken.png").read_bytes()
    (folder / "a" / "broken.png").write_bytes(whole[: len(whole) // 2])
    source = read_source(folder, skip_broken=True)
    assert source.train.images.shape == (4, 1, 28, 28)
    assert set(source.original_sizes) == {(28, 28)}
    assert [Path(name).name for name in source.skipped] == ["broken.png"]


def test_several_frames_and_unused_bits_are_told(folder: Path) -> None:
    with Image.open(folder / "a" / "0.png") as picture:
        picture.save(folder / "a" / "pages.tif", save_all=True, append_images=[picture])
        values = np.asarray(picture).astype(np.uint16)
    Image.fromarray(values * 16).save(folder / "b" / "12-bits.png")
    Image.fromarray(values * 257).save(folder / "b" / "16-bits.png", transparency=0)  # which is not blended
    source = read_source(folder)
    assert source.partial_reads == (0, 1, 1)
    first, second = source.partial_reads.sentences()
    assert first.startswith("1 file with several frames or pages: only the first of each is read")
    assert second.startswith("1 file of 16 bits with values below an eighth of their range become nearly black")


@pytest.mark.parametrize(("suffix", "kept"), [("tif", 0.5), ("gif", 0.7)])
def test_a_whole_first_frame_is_read_although_a_later_one_is_broken(folder: Path, suffix: str, kept: float) -> None:
    pages = [Image.effect_noise((64, 64), 80) for _ in range(3)]
    file = folder / "a" / f"cut.{suffix}"
    pages[0].save(file, save_all=True, append_images=pages[1:])
    file.write_bytes(file.read_bytes()[: int(kept * file.stat().st_size)])
    source = read_source(folder)
    assert (len(source.train), source.partial_reads.frames) == (5, 1)
