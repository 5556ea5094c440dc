"""What is in a source, and what of it would spoil a training or an evaluation: `augment inspect SOURCE`.

Duplicates and leaks are images whose pixels, as read, are equal; near duplicates are those that
`duplicates` takes for copies although their pixels differ. `flips` measures whether horizontal flips keep the class.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from augment.dataset.copies import COLUMNS, Copy, as_csv, find_all
from augment.dataset.decoding import open_picture
from augment.dataset.duplicates import Pairs, group_copies
from augment.dataset.flips import Flips, advise_on_flips, measure_flips
from augment.dataset.images import LabelledImages, subset_per_class
from augment.dataset.sources import Source
from augment.files import write_bytes, write_text
from augment.words import counted, printable

PROGRAM = "augment inspect"  # written into contact sheets
WORKING_MINIMUM = 20  # training images a class
IMBALANCE = 3.0  # largest class over smallest
THUMBNAIL = 48  # px, at least
NAMED = 5  # at most, in one sentence


@dataclass(frozen=True)
class Inspection:
    """What `inspect` found. Indices count the images of their split from 0, in the order of `Source`."""

    name: str
    counts: Mapping[str, Mapping[str, int]]  # split -> class -> images
    size: int  # px, after resizing
    channels: int  # 1 grey, 3 RGB
    colourless: bool  # RGB, but with equal channels in all training images
    original_sizes: Mapping[tuple[int, int], int]  # (width, height) in px -> images
    duplicates: tuple[tuple[int, ...], ...]  # groups of equal training images
    conflicts: tuple[tuple[int, ...], ...]  # those of the groups that have more than one class
    near_duplicates: Pairs  # of training images
    leaks: Mapping[str, Pairs]  # val or test -> training images that are in it, and their first place there
    near_leaks: Mapping[str, Pairs]  # the same of nearly equal ones, and the most alike
    copies: tuple[Copy, ...]  # all of these: exact and near, and those in other splits
    flips: Flips
    skipped: tuple[str, ...]
    use: str  # what each split is for, in a sentence
    advice: tuple[str, ...]


def inspect(source: Source) -> Inspection:
    """Counts, sizes, duplicates, leaks between the splits, a test of horizontal flips, and advice in plain words."""
    splits, train = source.splits, source.train
    others = [split for split in splits if split != "train"]
    counts = {split: data.per_class() for split, data in splits.items()}
    duplicates = tuple(tuple(group) for group in group_copies(train).values() if len(group) > 1)
    conflicts = tuple(group for group in duplicates if len(set(train.labels[list(group)].tolist())) > 1)
    copies = find_all(splits)
    near = _pairs(copies, "train", exact=False)
    leaks, near_leaks = ({split: _pairs(copies, split, exact=exact) for split in others} for exact in (True, False))
    colourless = train.channels == 3 and all((image == image[:1]).all() for image in train.images)
    flips = measure_flips(train)
    advice = (
        *_advise_on_classes(counts),
        *_advise_on_repeats(source, duplicates, conflicts, leaks),
        *_advise_on_near_repeats(source, near, near_leaks),
        *_advise_to_drop(len(copies)),
        *_advise_on_pictures(source, colourless),
        advise_on_flips(flips),
    )
    return Inspection(
        name=source.name,
        counts=counts,
        size=train.size,
        channels=train.channels,
        colourless=colourless,
        original_sizes=source.original_sizes,
        duplicates=duplicates,
        conflicts=conflicts,
        near_duplicates=near,
        leaks=leaks,
        near_leaks=near_leaks,
        copies=tuple(copies),
        flips=flips,
        skipped=source.skipped,
        use=use_of_splits(splits),
        advice=advice,
    )


def _pairs(copies: Iterable[Copy], split: str, *, exact: bool) -> Pairs:
    return tuple((copy.first, copy.second) for copy in copies if copy.split == split and copy.exact == exact)


def use_of_splits(splits: Mapping[str, LabelledImages]) -> str:
    """What every split will be used for, and how many images it has."""
    count = {split: counted(len(data), "image") for split, data in splits.items()}
    parts = [f"train ({count['train']}) is what generators and classifiers learn from"]
    if "test" in splits:
        if "val" in splits:
            parts.append(f"val ({count['val']}) is what a mix is chosen on, where a pipeline with holdout chooses one")
        parts.append(f"test ({count['test']}) is only measured on")
    elif "val" in splits:
        parts.append(f"val ({count['val']}) is the test set, as there is no other: it is only measured on")
    else:
        parts.append("some of it is held out to measure on, as there is no test split")
    return "; ".join(parts)


def _advise_on_classes(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    advice = [
        f"class {name!r} has {count} training images; {WORKING_MINIMUM} are a working minimum."
        for name, count in counts["train"].items()
        if count < WORKING_MINIMUM
    ]
    largest, smallest = (pick(counts["train"], key=counts["train"].__getitem__) for pick in (max, min))
    ratio = counts["train"][largest] / max(counts["train"][smallest], 1)
    if ratio > IMBALANCE:
        advice.append(
            f"class {largest!r} has {ratio:.1f} times the training images of class {smallest!r}: "
            "classifiers draw them evenly all the same, and `augment tune` tries other ways."
        )
    if "test" not in counts and "val" not in counts:
        advice.append(
            "there is no test split: an evaluation holds out a part of each class of the training images; "
            "a test/ folder or a separate test source makes its figures firmer."
        )
    elif untested := [name for name, count in counts.get("test", {}).items() if not count]:
        advice.append(f"the test split has no image of {_some(untested)}: nothing can be said of these classes.")
    return advice


def _advise_on_repeats(
    source: Source,
    duplicates: tuple[tuple[int, ...], ...],
    conflicts: tuple[tuple[int, ...], ...],
    leaks: Mapping[str, Pairs],
) -> list[str]:
    where = partial(image_name, source)
    advice = []
    if duplicates:
        spare = sum(len(group) - 1 for group in duplicates)
        first = " = ".join(where("train", i) for i in duplicates[0][:NAMED])
        advice.append(f"exact copies among the training images, {spare:,} too many ({first}): remove them.")
    if conflicts:
        first = ", ".join(
            f"{where('train', i)} as {source.train.class_names[source.train.labels[i]]!r}" for i in conflicts[0][:NAMED]
        )
        advice.append(f"{counted(len(conflicts), 'image')} in more than one class ({first}): decide which is right.")
    for split, pairs in leaks.items():
        if pairs:
            train, other = where("train", pairs[0][0]), where(split, pairs[0][1])
            advice.append(
                f"{counted(len(pairs), 'training image')} also in {split} ({train} = {other}): remove them from one "
                "of the two, else the accuracy is flattered."
            )
    return advice


def _advise_on_near_repeats(source: Source, near: Pairs, near_leaks: Mapping[str, Pairs]) -> list[str]:
    advice = []
    if near:
        advice.append(
            f"{counted(len(near), 'pair')} of training images nearly the same, or nearly mirrored "
            f"({_named_pairs(source, near, 'train')}): look at them, and keep one of each pair of copies."
        )
    for split, pairs in near_leaks.items():
        if pairs:
            advice.append(
                f"{counted(len(pairs), 'training image')} nearly the same as a {split} image, or as its mirror image "
                f"({_named_pairs(source, pairs, split)}): look at them, and remove copies from one of the two, else "
                "the accuracy is flattered."
            )
    return advice


def _advise_to_drop(copies: int) -> list[str]:
    if not copies:
        return []
    return [
        f"--duplicates FILE.csv lists {counted(copies, 'pair')} of copies; `augment run` and `augment fit` leave "
        "copies out of the training images with --drop-duplicates."
    ]


def _named_pairs(source: Source, pairs: Pairs, split: str) -> str:
    told = [f"{image_name(source, 'train', i)} ~ {image_name(source, split, j)}" for i, j in pairs[:NAMED]]
    return ", ".join(told) + (f" and {len(pairs) - NAMED} more" if len(pairs) > NAMED else "")


def image_name(source: Source, split: str, i: int) -> str:
    """The file of an image; of sources that are arrays, its split and its place there."""
    return source.files[split][i] if split in source.files else f"{split} image {i}"


def _advise_on_pictures(source: Source, colourless: bool) -> list[str]:
    advice = []
    if source.skipped:
        advice.append(f"{counted(len(source.skipped), 'broken file')} skipped: {_some(source.skipped)}.")
    size = source.train.size
    if set(source.original_sizes) != {(size, size)}:
        largest = "{} x {}".format(*max(source.original_sizes, key=lambda s: s[0] * s[1]))
        advice.append(
            f"images of {counted(len(source.original_sizes), 'size')}, the largest {largest} px, were resized to "
            f"{size} x {size} px; --image-size and --resize change that."
        )
    if transparent := _count_transparent(source):
        advice.append(f"{counted(transparent, 'file')} with an alpha channel: what is transparent was read as white.")
    if colourless:
        advice.append("all training images are grey but stored as RGB: saved as grey they train faster.")
    return advice


def _count_transparent(source: Source) -> int:
    """Picture files with an alpha channel or a transparent colour; arrays do not tell, nor files that are gone."""
    count = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata
        for path in (path for paths in source.files.values() for path in paths):
            with suppress(OSError), open_picture(Path(path)) as picture:  # reads the header only
                count += picture.has_transparency_data
    return count


def write_copies(inspection: Inspection, source: Source, path: Path) -> None:
    """Write the table of all copies to `path`; a file that is there is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, as_csv(inspection.copies, source.splits, partial(image_name, source)))


def write_sheet(sheet: Image.Image, path: Path) -> None:
    """Write a contact sheet as PNG, marked as this program's; a file that is there is replaced."""
    marks, content = PngInfo(), io.BytesIO()
    marks.add_text("Software", PROGRAM)
    sheet.save(content, format="PNG", pnginfo=marks)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content.getvalue())


def wrote(path: Path) -> bool:
    """Whether `write_sheet` or `write_copies` wrote the file."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(512)
    return f"Software\0{PROGRAM}".encode() in head or head.startswith(",".join(COLUMNS).encode())


def _some(names: tuple[str, ...] | list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(map(repr, names[:NAMED])) + (f" and {more} more" if more > 0 else "")


def contact_sheet(data: LabelledImages, per_class: int = 10, scale: int | None = None) -> Image.Image:
    """RGB: a row a class with its name and number of images, and up to `per_class` images drawn with a fixed seed.

    Each pixel becomes scale x scale px; without `scale`, as many as make an image 48 px or more.
    """
    scale = scale or max(-(-THUMBNAIL // data.size), 1)
    font, gap, cell = ImageFont.load_default(size=14), 4, data.size * scale
    names = [_shortened(printable(name)) for name in data.class_names]
    captions = [f"{name} ({count})" for name, count in zip(names, data.counts(), strict=True)]
    left = max(int(font.getlength(caption)) for caption in captions) + 4 * gap
    shown = subset_per_class(data, per_class, seed=0)
    columns = int(shown.counts().max())
    sheet = Image.new("RGB", (left + columns * (cell + gap), data.num_classes * (cell + gap) + gap), "#dddddd")
    draw = ImageDraw.Draw(sheet)
    for k, caption in enumerate(captions):
        top = gap + k * (cell + gap)
        draw.text((left - 2 * gap, top + cell // 2), caption, fill="black", font=font, anchor="rm")
        for column, image in enumerate(shown.images[shown.labels == k]):
            picture = Image.fromarray(np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0).copy())
            sheet.paste(picture.resize((cell, cell), Image.Resampling.NEAREST), (left + column * (cell + gap), top))
    return sheet


def _shortened(name: str, longest: int = 28) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
