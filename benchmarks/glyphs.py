"""Build a data set of glyphs: digits and letters of many fonts, at random positions, with test images of other fonts.

    python benchmarks/glyphs.py --fonts DIR --out glyphs.npz

DIR has one folder per font family, with the files of all its weights and styles. Fonts of symbols or of handwritten
capitals do not belong there, since this program does not recognise them. Half of the families, drawn by the seed, give
the training images and the other half the test images. The file is a MedMNIST-style archive that `augment` reads. All
images are grey, and all classes have the same number of images.

The 47 classes of `balanced47` follow the balanced set of EMNIST (Cohen et al., "EMNIST: an extension of MNIST to
handwritten letters", arXiv 1702.05373): characters that look alike become one class. EMNIST merges capitals with
lower-case letters that look alike by hand. This set merges characters that look alike in print at an unknown size:
0, O and o are one class, 1, I and l too, while M and m are two. With `all62`, no classifier can tell c from C.
"""

from __future__ import annotations

import argparse
import string
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFont

from augment.dataset.images import LabelledImages, check_size
from augment.errors import SourceError
from augment.seeds import derive_seed

CHARACTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase
ALIKE = ("0Oo", "1Il", "Cc", "Jj", "Kk", "Pp", "Ss", "Uu", "Vv", "Ww", "Xx", "Yy", "Zz")
CLASSES = {  # each class is a string of its characters
    "balanced47": (*ALIKE, *(c for c in CHARACTERS if c not in "".join(ALIKE))),
    "all62": tuple(CHARACTERS),
}
DISTINCT = "abdefghimnqrt"  # lower-case letters that are not like their capitals
SUFFIXES = (".otf", ".ttf", ".woff", ".woff2")
ABSENT = "\uffff"  # a code point that no font may define, so that it shows what a font draws for a missing character
DRAWN = 128  # px; the font size at which glyphs are drawn, before they are reduced
SMALL_CAPITALS = 0.8  # median overlap of both cases; at most 0.75 in 600 fonts that have lower-case letters

DEGREES = 15.0  # largest rotation to either side
SCALE = (0.6, 1.0)  # the longer side of the glyph, as a fraction of the side of the image
LEAST_CONTRAST = 100  # smallest difference between the grey levels of the glyph and of the background
DARK = 0.25  # fraction of images with a dark glyph on a light background

Pixels = NDArray[np.uint8]  # height x width


class Font(NamedTuple):
    """A font file and the characters that can be used of it."""

    path: Path
    characters: str


Families = dict[str, list[Font]]  # by the name of the family
Splits = dict[str, LabelledImages]  # by the name of the split: train, test
Counts = dict[str, int]  # images per class, by the name of the split


def ink(font: ImageFont.FreeTypeFont, character: str) -> Pixels:
    """Draw a character, white on black, cropped to the smallest box that holds it: 0 x 0 if nothing is drawn."""
    mask = font.getmask(character, mode="L")
    return cropped(np.asarray(mask, np.uint8).reshape(mask.size[::-1]))


def cropped(image: Pixels) -> Pixels:
    """Remove the black rows and columns around the ink."""
    rows, columns = image.nonzero()
    if not len(rows):
        return image[:0, :0]
    return image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def overlap(a: Pixels, b: Pixels) -> float:
    """Return the intersection over union of the ink of two glyphs, both stretched to the same square: 0 to 1."""
    x, y = (np.asarray(Image.fromarray(glyph).resize((32, 32)), np.float64) for glyph in (a, b))
    return float(np.minimum(x, y).sum() / np.maximum(x, y).sum())


def usable_characters(font: ImageFont.FreeTypeFont) -> str:
    """Return the characters that a font draws as what they are.

    A missing character, for which a font draws nothing or an empty box, is left out. Of a font that draws lower-case
    letters as small capitals, or all of them in boxes, every character is left out.
    """
    absent = ink(font, ABSENT)
    glyphs = {character: ink(font, character) for character in CHARACTERS}
    drawn = {c: glyph for c, glyph in glyphs.items() if glyph.size and not np.array_equal(glyph, absent)}
    overlaps = [overlap(drawn[c], drawn[c.upper()]) for c in DISTINCT if c in drawn and c.upper() in drawn]
    return "" if overlaps and np.median(overlaps) > SMALL_CAPITALS else "".join(drawn)


def read_families(folder: Path) -> Families:
    """Return the fonts of each family in alphabetical order; a family is a folder directly within `folder`.

    Raises `SourceError` if a file is not a readable font or if there are fewer than two families.
    """
    families: Families = {}
    for path in sorted(path for path in folder.glob("*/**/*") if path.suffix.lower() in SUFFIXES):
        try:
            characters = usable_characters(open_font(path))
        except OSError as error:
            raise SourceError(f"expected a font, got {path}, which is not readable ({error}); remove it") from error
        if characters:
            families.setdefault(path.relative_to(folder).parts[0], []).append(Font(path, characters))
    if len(families) < 2:
        raise SourceError(
            f"expected at least 2 folders with fonts in {folder}, got {len(families)}; make one for each font family"
        )
    return families


def open_font(path: Path) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, DRAWN, layout_engine=ImageFont.Layout.BASIC)


def split_families(families: Families, seed: int) -> dict[str, Families]:
    """Divide the families at random into those of the training and those of the test images, half each."""
    names = np.random.default_rng(derive_seed(seed, "families")).permutation(sorted(families)).tolist()
    half = (len(names) + 1) // 2
    parts = {"train": sorted(names[:half]), "test": sorted(names[half:])}
    return {split: {name: families[name] for name in part} for split, part in parts.items()}


def place(glyph: Pixels, size: int, rng: np.random.Generator) -> Pixels:
    """Return an image of size x size px with the glyph at a random rotation, scale, position and contrast."""
    rotated = Image.fromarray(glyph).rotate(rng.uniform(-DEGREES, DEGREES), Image.Resampling.BICUBIC, expand=True)
    turned = cropped(np.asarray(rotated))
    factor = rng.uniform(*SCALE) * size / max(turned.shape)
    height, width = (max(round(side * factor), 1) for side in turned.shape)
    reduced = Image.fromarray(turned).resize((width, height), Image.Resampling.BICUBIC)
    coverage = np.zeros((size, size))  # from 0, background, to 1, glyph
    top, left = rng.integers(size - height + 1), rng.integers(size - width + 1)
    coverage[top : top + height, left : left + width] = np.asarray(reduced) / 255
    contrast = rng.integers(LEAST_CONTRAST, 256)
    image = np.round(rng.integers(256 - contrast) + contrast * coverage).astype(np.uint8)
    return 255 - image if rng.random() < DARK else image


def draw_class(characters: str, families: Families, count: int, size: int, rng: np.random.Generator) -> Pixels:
    """Return images of one class: uint8, count x size x size.

    Each family is used once, in random order, before any of them is used again. The font of the family and the
    character of the class are drawn with equal probability. Raises `SourceError` if no family has a character.
    """
    able = [[font for font in fonts if set(characters) & set(font.characters)] for fonts in families.values()]
    able = [fonts for fonts in able if fonts]
    if not able:
        raise SourceError(f"expected a family that has one of {characters!r} among {', '.join(families)}; add fonts")
    images = np.empty((count, size, size), np.uint8)
    for i, image in enumerate(images):
        if i % len(able) == 0:
            order = rng.permutation(len(able))
        fonts = able[order[i % len(able)]]
        font = fonts[rng.integers(len(fonts))]
        character = rng.choice([c for c in characters if c in font.characters])
        image[:] = place(ink(open_font(font.path), character), size, rng)
    return images


def build(families: Families, classes: Sequence[str], counts: Counts, size: int, seed: int) -> Splits:
    """Return the training and the test images; larger counts only add images to each class.

    classes: the characters of each class. Raises `SourceError` if one of the splits lacks a class, `ConfigError` if the
    size is not one that `augment` supports.
    """
    check_size(size)
    splits = {}
    for split, part in split_families(families, seed).items():
        rngs = [np.random.default_rng(derive_seed(seed, split, k)) for k in range(len(classes))]
        images = [draw_class(c, part, counts[split], size, rng) for c, rng in zip(classes, rngs, strict=True)]
        labels = np.repeat(np.arange(len(classes)), counts[split])
        splits[split] = LabelledImages(np.concatenate(images)[:, None], labels, tuple(classes))
    return splits


def write_npz(splits: Splits, path: Path) -> None:
    """Write a MedMNIST-style archive: <split>_images, uint8, N x H x W; <split>_labels, uint8, N x 1; class_names."""
    arrays: dict[str, NDArray[np.generic]] = {"class_names": np.array(splits["train"].class_names)}
    for split, data in splits.items():
        arrays[f"{split}_images"] = data.images[:, 0]
        arrays[f"{split}_labels"] = data.labels[:, None].astype(np.uint8)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fonts", type=Path, required=True, help="a folder with one folder of fonts per family")
    parser.add_argument("--out", type=Path, required=True, help="the .npz to write")
    parser.add_argument("--classes", choices=CLASSES, default="balanced47")
    parser.add_argument("--size", type=int, default=28, help="height and width of the images in px")
    parser.add_argument("--train", type=int, default=100, help="training images per class")
    parser.add_argument("--test", type=int, default=50, help="test images per class")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    families = read_families(options.fonts)
    counts = {"train": options.train, "test": options.test}
    splits = build(families, CLASSES[options.classes], counts, options.size, options.seed)
    write_npz(splits, options.out)
    for split, part in split_families(families, options.seed).items():
        data, fonts = splits[split], sum(len(family) for family in part.values())
        print(f"{split}: {len(data)} images of {data.num_classes} classes, {fonts} fonts of {len(part)} families:")
        print(f"  {', '.join(part)}")


if __name__ == "__main__":
    main()
