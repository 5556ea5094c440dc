"""Glyphs of real fonts, those that matplotlib ships, at random positions: `benchmarks/glyphs.py` on four families."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import matplotlib
import numpy as np
import pytest
from fontTools.ttLib import TTFont

from augment.dataset.sources import read_source
from augment.errors import ConfigError, SourceError

SHIPPED = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
FAMILIES = {
    "dejavu": ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif.ttf"),
    "stix": ("STIXGeneral.ttf",),
    "roman": ("cmr10.ttf", "cmb10.ttf"),
    "typewriter": ("cmtt10.ttf",),
}
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def glyphs() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        yield importlib.import_module("glyphs")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fonts")
    for family, files in FAMILIES.items():
        (root / family).mkdir()
        for name in files:
            shutil.copy(SHIPPED / name, root / family)
    (root / "dejavu" / "LICENSE.txt").write_text("Not a font.")
    return root


@pytest.fixture(scope="module")
def families(glyphs: ModuleType, folder: Path) -> dict:
    return glyphs.read_families(folder)


def changed_font(path: Path, mapping: dict[str, str | None]) -> Path:
    """DejaVu Sans that draws each key as the glyph of its value; None: the box for missing characters."""
    with TTFont(SHIPPED / "DejaVuSans.ttf") as font:
        best = font.getBestCmap()
        names = {ord(c): ".notdef" if to is None else best[ord(to)] for c, to in mapping.items()}
        for table in font["cmap"].tables:
            table.cmap.update(names)
        font.save(path)
    return path


def placed(glyphs: ModuleType, name: str, character: str, count: int) -> np.ndarray:
    """One glyph, placed at random on 28 x 28 px: int, count x 28 x 28."""
    glyph = glyphs.ink(glyphs.open_font(SHIPPED / name), character)
    return np.array([glyphs.place(glyph, 28, np.random.default_rng(i)) for i in range(count)]).astype(int)


def ink_of(images: np.ndarray) -> list[np.ndarray]:
    """The distance of each pixel from the background, which covers more pixels than any other grey level."""
    return [np.abs(image - np.bincount(image.ravel()).argmax()) for image in images]


@pytest.mark.parametrize(("name", "count"), [("balanced47", 47), ("all62", 62)])
def test_every_character_is_in_one_class(glyphs: ModuleType, name: str, count: int) -> None:
    assert len(glyphs.CLASSES[name]) == count
    assert sorted("".join(glyphs.CLASSES[name])) == sorted(f"0123456789{LETTERS}{LETTERS.upper()}")


def test_a_family_is_in_one_split_only(glyphs: ModuleType, families: dict) -> None:
    splits = [glyphs.split_families(families, seed) for seed in range(8)]
    assert all(sorted([*s["train"], *s["test"]]) == sorted(FAMILIES) for s in splits)
    assert {len(s["train"]) for s in splits} == {2}
    assert len({tuple(s["train"]) for s in splits}) > 1


def test_all_fonts_of_a_family_are_read(families: dict) -> None:
    assert {name: tuple(f.path.name for f in fonts) for name, fonts in families.items()} == {
        name: tuple(sorted(files)) for name, files in FAMILIES.items()
    }


def test_the_command_writes_what_augment_reads(
    glyphs: ModuleType, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "set.npz"
    options = ["--fonts", str(folder), "--out", str(out), "--train", "3", "--test", "2", "--size", "20"]
    monkeypatch.setattr(sys, "argv", ["glyphs.py", *options])
    glyphs.main()
    with np.load(out) as stored:
        assert stored["train_labels"].shape == (141, 1)
        assert {stored[key].dtype for key in stored if key != "class_names"} == {np.dtype(np.uint8)}
    source = read_source(out)
    assert source.train.images.shape == (141, 1, 20, 20)
    assert source.train.class_names == glyphs.CLASSES["balanced47"]
    assert set(source.train.counts()) == {3}
    assert set(source.splits["test"].counts()) == {2}


def test_the_seed_decides_every_pixel(glyphs: ModuleType, families: dict) -> None:
    sets = [glyphs.build(families, ("Aa", "7"), {"train": 4, "test": 3}, 28, seed) for seed in (0, 0)]
    for split in ("train", "test"):
        assert np.array_equal(sets[0][split].images, sets[1][split].images)


def test_seeds_splits_and_classes_are_drawn_apart(glyphs: ModuleType, families: dict) -> None:
    """With one font in all families and one character in all classes, only the random numbers differ."""
    alike = dict.fromkeys(("here", "there"), families["stix"])
    built = [glyphs.build(alike, ("T", "T"), {"train": 1, "test": 1}, 28, seed) for seed in (0, 1)]
    images = [image.tobytes() for splits in built for data in splits.values() for image in data.images]
    assert len(set(images)) == len(images) == 8


def test_a_larger_set_begins_with_the_smaller_one(glyphs: ModuleType, families: dict) -> None:
    small, large = (glyphs.draw_class("Gg", families, n, 28, np.random.default_rng(5)) for n in (3, 10))
    assert np.array_equal(large[:3], small)


def relative_widths(images: np.ndarray) -> list[float]:
    """The width of the ink of each image, divided by its height."""
    boxes = [[np.ptp(axis) + 1 for axis in ink.nonzero()] for ink in ink_of(images.astype(int))]
    return [width / height for height, width in boxes]


def test_a_class_uses_all_its_characters(glyphs: ModuleType, families: dict) -> None:
    """The bar I is narrow whatever its rotation, M is wide."""
    bold = {"dejavu": families["dejavu"][:1]}
    widths = relative_widths(glyphs.draw_class("IM", bold, 40, 28, np.random.default_rng(0)))
    assert 10 < sum(width > 0.7 for width in widths) < 30


def test_a_family_uses_all_its_fonts(glyphs: ModuleType, families: dict) -> None:
    """I is a bar in the first font of this family, and has wide serifs in the second one."""
    mixed = {"mixed": [families["dejavu"][0], families["typewriter"][0]]}
    widths = relative_widths(glyphs.draw_class("I", mixed, 40, 28, np.random.default_rng(0)))
    assert 10 < sum(width > 0.54 for width in widths) < 30


def test_each_family_is_used_before_one_is_repeated(glyphs: ModuleType, families: dict) -> None:
    pair = {"bars": families["dejavu"][:1], "serifs": families["typewriter"]}
    for seed in range(12):
        first, second = sorted(relative_widths(glyphs.draw_class("I", pair, 2, 28, np.random.default_rng(seed))))
        assert first < 0.54 < second


def test_glyphs_have_random_scales_within_the_image(glyphs: ModuleType) -> None:
    sides = [max(np.ptp(axis) + 1 for axis in x.nonzero()) for x in ink_of(placed(glyphs, "DejaVuSans.ttf", "T", 200))]
    assert 16 <= min(sides) <= 18  # 0.6 * 28 = 16.8
    assert max(sides) == 28


def test_glyphs_have_random_positions(glyphs: ModuleType) -> None:
    for axis in (0, 1):
        ink = ink_of(placed(glyphs, "DejaVuSans.ttf", "T", 200))
        starts = {int(x.nonzero()[axis].min()) for x in ink}
        ends = {int(x.nonzero()[axis].max()) for x in ink}
        assert min(starts) == 0
        assert max(ends) == 27
        assert len(starts) > 6


def test_glyphs_are_turned_by_up_to_15_degrees(glyphs: ModuleType) -> None:
    """The principal axis of the bar I, from the second moments of its ink, is its direction."""
    degrees = []
    for ink in ink_of(placed(glyphs, "DejaVuSans.ttf", "I", 200)):
        rows, columns = np.indices(ink.shape)
        (vertical, both), (_, horizontal) = np.cov([rows.ravel(), columns.ravel()], aweights=ink.ravel())
        degrees.append(np.rad2deg(np.arctan2(2 * both, vertical - horizontal) / 2))
    assert -16 < min(degrees) < -12
    assert 12 < max(degrees) < 16


def test_contrast_and_background_vary(glyphs: ModuleType) -> None:
    images = placed(glyphs, "DejaVuSans-Bold.ttf", "H", 400)
    contrasts = np.ptp(images, axis=(1, 2))
    assert 95 <= contrasts.min() < 110
    assert contrasts.max() > 245
    backgrounds = np.array([np.bincount(image.ravel()).argmax() for image in images])
    assert len(set(backgrounds)) > 100
    dark = np.mean([image.max() == level for image, level in zip(images, backgrounds, strict=True)])
    assert 0.18 < dark < 0.32  # 0.25, and three standard errors


def test_a_missing_character_is_left_out(glyphs: ModuleType, tmp_path: Path) -> None:
    path = changed_font(tmp_path / "boxes.ttf", {"Q": None, "7": None, "x": " "})
    found = glyphs.usable_characters(glyphs.open_font(path))
    assert set(glyphs.CHARACTERS) - set(found) == {"Q", "7", "x"}


def test_a_font_of_capitals_is_left_out(glyphs: ModuleType, tmp_path: Path) -> None:
    path = changed_font(tmp_path / "capitals.ttf", {letter: letter.upper() for letter in LETTERS})
    assert glyphs.usable_characters(glyphs.open_font(path)) == ""


def test_a_class_without_a_font_is_an_error(glyphs: ModuleType, families: dict) -> None:
    with pytest.raises(SourceError, match="one of 'é' among roman, stix; add fonts"):
        glyphs.draw_class("é", {n: families[n] for n in ("roman", "stix")}, 2, 28, np.random.default_rng(0))


def test_an_unreadable_font_is_named(glyphs: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "broken.ttf").write_bytes(b"no font")
    with pytest.raises(SourceError, match=r"expected a font, got .*broken\.ttf"):
        glyphs.read_families(tmp_path)


def test_one_family_is_too_few(glyphs: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "stix").mkdir()
    shutil.copy(SHIPPED / "STIXGeneral.ttf", tmp_path / "stix")
    with pytest.raises(SourceError, match=r"at least 2 folders with fonts in .*, got 1"):
        glyphs.read_families(tmp_path)


def test_a_size_that_augment_refuses_is_refused(glyphs: ModuleType, families: dict) -> None:
    with pytest.raises(ConfigError, match="27"):
        glyphs.build(families, ("A",), {"train": 1, "test": 1}, 27, 0)
