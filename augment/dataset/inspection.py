"""Inspect a source for anything that would harm training or evaluation: `augment inspect SOURCE`.

Duplicates and leaks are images whose pixels are equal after reading. Near duplicates are copies with different pixels,
as found by the module `duplicates`. The module `flips` measures whether horizontal flips preserve the class.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from augment.dataset.deduplication import COLUMNS, DuplicatePair, find_duplicate_pairs, format_csv
from augment.dataset.duplicates import Pairs, conflicting, group_copies
from augment.dataset.flips import Flips, advise_on_flips, measure_flips
from augment.dataset.images import LabelledImages, subset_per_class
from augment.dataset.listing import looks
from augment.dataset.sources import Source
from augment.files import write_bytes, write_text
from augment.progress import Progress, no_progress
from augment.words import are, counted, listed, printable, shortened

PROGRAM = "augment inspect"  # the `Software` entry of contact sheets
MARKS = (f"Software\0{PROGRAM}".encode(), ",".join(COLUMNS).encode())  # at the beginning of the files that it writes
RECOMMENDED_MINIMUM = 20  # training images per class
MAX_IMBALANCE = 3.0  # ratio of the largest class to the smallest
THUMBNAIL = 48  # minimum size in px
MAX_NAMED = 5  # names in one sentence


@dataclass(frozen=True)
class Inspection:
    """The result of `inspect`. Images are identified by their index in the split, in the order of `Source`."""

    name: str
    counts: Mapping[str, Mapping[str, int]]  # split -> class -> number of images
    size: int  # px, after resizing
    channels: int  # 1 grey, 3 RGB
    grey_stored_as_rgb: bool  # RGB, but the channels of all training images are equal
    original_sizes: Mapping[tuple[int, int], int]  # (width, height) in px -> number of images
    duplicates: tuple[tuple[int, ...], ...]  # groups of equal training images
    conflicts: tuple[tuple[int, ...], ...]  # the groups that have more than one class
    near_duplicates: Pairs  # pairs of training images
    leaks: Mapping[str, Pairs]  # val or test -> (training image, first equal image of that split)
    near_leaks: Mapping[str, Pairs]  # val or test -> (training image, most similar near duplicate)
    duplicate_pairs: tuple[DuplicatePair, ...]  # all exact and near duplicates, also in other splits
    flips: Flips
    skipped: tuple[str, ...]
    use: str  # describes what each split is used for
    advice: tuple[str, ...]


def inspect(source: Source, progress: Progress = no_progress) -> Inspection:
    """Find class counts, sizes, duplicates, leaks between splits and the safety of flips, and give advice.

    progress: called during the searches for duplicates.
    """
    splits, train, others = source.splits, source.train, [split for split in source.splits if split != "train"]
    counts = {split: data.per_class() for split, data in splits.items()}
    duplicates = tuple(tuple(group) for group in group_copies(train).values() if len(group) > 1)
    conflicts = tuple(conflicting(train, duplicates))
    pairs = find_duplicate_pairs(splits, progress)
    near = _indices(pairs, "train", exact=False)
    leaks, near_leaks = ({split: _indices(pairs, split, exact=exact) for split in others} for exact in (True, False))
    grey_stored_as_rgb = train.channels == 3 and all((image == image[:1]).all() for image in train.images)
    flips = measure_flips(train)
    return Inspection(
        name=source.name,
        counts=counts,
        size=train.size,
        channels=train.channels,
        grey_stored_as_rgb=grey_stored_as_rgb,
        original_sizes=source.original_sizes,
        duplicates=duplicates,
        conflicts=conflicts,
        near_duplicates=near,
        leaks=leaks,
        near_leaks=near_leaks,
        duplicate_pairs=tuple(pairs),
        flips=flips,
        skipped=source.skipped,
        use=describe_splits(splits),
        advice=(
            *_advise_on_classes(counts),
            *_advise_on_copies(source, duplicates, conflicts, leaks),
            *_advise_on_near_copies(source, near, near_leaks),
            *_advise_to_drop(len(pairs)),
            *_advise_on_pictures(source, grey_stored_as_rgb),
            advise_on_flips(flips),
        ),
    )


def _indices(pairs: Iterable[DuplicatePair], split: str, *, exact: bool) -> Pairs:
    return tuple((pair.first, pair.second) for pair in pairs if pair.split == split and pair.exact == exact)


def describe_splits(splits: Mapping[str, LabelledImages]) -> str:
    """Describe what each split is used for, and its number of images."""
    count = {split: counted(len(data), "image") for split, data in splits.items()}
    parts = [f"train ({count['train']}) is for training generators and classifiers"]
    if "test" in splits:
        if "val" in splits:
            parts.append(
                f"val ({count['val']}) is used to choose a mix, by pipelines with holdout and a choose section"
            )
        parts.append(f"test ({count['test']}) is only for testing")
    elif "val" in splits:
        parts.append(f"val ({count['val']}) is used as the test set, because there is no other")
    else:
        parts.append("`augment run` tests every image once, because there is no test split")
    return "; ".join(parts)


def _advise_on_classes(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    advice = [
        f"class {name!r} has {count} training images; at least {RECOMMENDED_MINIMUM} are recommended."
        for name, count in counts["train"].items()
        if count < RECOMMENDED_MINIMUM
    ]
    alike: dict[str, list[str]] = {}
    for name in counts["train"]:
        alike.setdefault(looks(name), []).append(ascii(name))
    advice += [
        f"the classes {' and '.join(names)} look the same: if they are one, give it one name."
        for names in alike.values()
        if len(names) > 1
    ]
    largest, smallest = (pick(counts["train"], key=counts["train"].__getitem__) for pick in (max, min))
    ratio = counts["train"][largest] / max(counts["train"][smallest], 1)
    if ratio > MAX_IMBALANCE:
        advice.append(
            f"class {largest!r} has {ratio:.1f} times the training images of class {smallest!r}: "
            "classifiers correct for it by logit adjustment, and `augment tune` tries other methods."
        )
    if "test" not in counts and "val" not in counts:
        advice.append(
            "there is no test split: `augment run` tests every image once, by classifiers that have not seen it; a "
            "test/ folder or a separate test source makes the results more reliable."
        )
        return advice
    tested = "test" if "test" in counts else "val"
    if untested := [repr(name) for name, count in counts[tested].items() if not count]:
        advice.append(f"the {tested} split has no image of {listed(untested, MAX_NAMED)}: nothing is measured of that.")
    return advice


def _advise_on_copies(
    source: Source,
    duplicates: tuple[tuple[int, ...], ...],
    conflicts: tuple[tuple[int, ...], ...],
    leaks: Mapping[str, Pairs],
) -> list[str]:
    where = partial(image_name, source)
    advice = []
    if duplicates:
        spare = sum(len(group) - 1 for group in duplicates)
        first = " = ".join(where("train", i) for i in duplicates[0][:MAX_NAMED])
        advice.append(f"{counted(spare, 'exact duplicate')} among the training images ({first}): remove them.")
    if conflicts:
        first = ", ".join(
            f"{where('train', i)} as {source.train.class_names[source.train.labels[i]]!r}"
            for i in conflicts[0][:MAX_NAMED]
        )
        advice.append(
            f"{counted(len(conflicts), 'image')} {are(len(conflicts))} in more than one class ({first}): decide which "
            "class is right."
        )
    for split, pairs in leaks.items():
        if pairs:
            train, other = where("train", pairs[0][0]), where(split, pairs[0][1])
            advice.append(
                f"{counted(len(pairs), 'training image')} {are(len(pairs))} also in {split} ({train} = {other}): "
                "remove them from one of the two, otherwise the accuracy is overestimated."
            )
    return advice


def _advise_on_near_copies(source: Source, near: Pairs, near_leaks: Mapping[str, Pairs]) -> list[str]:
    advice = []
    if near:
        advice.append(
            f"{counted(len(near), 'pair')} of training images {are(len(near))} nearly the same, as they are or "
            f"mirrored ({_named_pairs(source, near, 'train')}): look at them, and keep one of each pair of copies."
        )
    for split, pairs in near_leaks.items():
        if pairs:
            advice.append(
                f"{counted(len(pairs), 'training image')} {are(len(pairs))} nearly the same as a {split} image, or as "
                f"its mirror image ({_named_pairs(source, pairs, split)}): look at them, and remove copies from one of "
                "the two, otherwise the accuracy is overestimated."
            )
    return advice


def _advise_to_drop(count: int) -> list[str]:
    if not count:
        return []
    return [
        f"--duplicates FILE.csv lists {counted(count, 'pair')} of copies; `augment run`, `fit` and `train` leave "
        "copies out of the training images with --drop-duplicates, and of copies with different labels all."
    ]


def _named_pairs(source: Source, pairs: Pairs, split: str) -> str:
    names = [f"{image_name(source, 'train', i)} ~ {image_name(source, split, j)}" for i, j in pairs]
    return listed(names, MAX_NAMED)


def image_name(source: Source, split: str, i: int) -> str:
    """Return the path of an image or, for sources that are arrays, its split and index."""
    return printable(source.files[split][i]) if split in source.files else f"{split} image {i}"


def _advise_on_pictures(source: Source, grey_stored_as_rgb: bool) -> list[str]:
    advice = [f"{sentence}." for sentence in source.unread(MAX_NAMED)]
    size = source.train.size
    if set(source.original_sizes) != {(size, size)}:
        largest = "{} x {}".format(*max(source.original_sizes, key=lambda s: s[0] * s[1]))
        details = f" {lost[0].upper()}{lost[1:]}." if (lost := source.lost_details()) else ""
        advice.append(
            f"images of {counted(len(source.original_sizes), 'size')}, the largest {largest} px, were resized to "
            f"{size} x {size} px; --image-size and --resize change that.{details}"
        )
    if transparent := source.partial_reads.transparent:
        advice.append(f"{counted(transparent, 'file')} with an alpha channel: transparent pixels were read as white.")
    if grey_stored_as_rgb:
        advice.append("all training images are grey but stored as RGB: training is faster if they are saved as grey.")
    return advice


def write_duplicates(inspection: Inspection, source: Source, path: Path) -> None:
    """Write the table of all duplicates to `path` and replace an existing file."""
    write_text(path, format_csv(inspection.duplicate_pairs, source.splits, partial(image_name, source)))


def write_sheet(sheet: Image.Image, path: Path) -> None:
    """Write a contact sheet as PNG, with an entry that identifies this program, and replace an existing file."""
    metadata, content = PngInfo(), io.BytesIO()
    metadata.add_text("Software", PROGRAM)
    sheet.save(content, format="PNG", pnginfo=metadata)
    write_bytes(path, content.getvalue())


def _font_file() -> Path:
    """Return matplotlib's font, which has Greek and Cyrillic; importing matplotlib would write to the home folder."""
    spec = find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"


def contact_sheet(data: LabelledImages, per_class: int = 10) -> Image.Image:
    """Draw an RGB image with a row per class: its name, its number of images, and up to `per_class` random images.

    The images are drawn with a fixed seed, and enlarged by a whole number to at least 48 px.
    """
    font = ImageFont.truetype(_font_file(), 13)
    scale, gap = max(-(-THUMBNAIL // data.size), 1), 4
    cell = data.size * scale
    names = [shortened(printable(name), 28) for name in data.class_names]
    captions = [f"{name} ({count})" for name, count in zip(names, data.counts(), strict=True)]
    left = max(int(font.getlength(caption)) for caption in captions) + 4 * gap
    selected = subset_per_class(data, per_class, seed=0)
    columns = int(selected.counts().max())
    sheet = Image.new("RGB", (left + columns * (cell + gap), data.num_classes * (cell + gap) + gap), "#dddddd")
    draw = ImageDraw.Draw(sheet)
    for k, caption in enumerate(captions):
        top = gap + k * (cell + gap)
        draw.text((left - 2 * gap, top + cell // 2), caption, fill="black", font=font, anchor="rm")
        for column, image in enumerate(selected.images[selected.labels == k]):
            picture = Image.fromarray(np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0).copy())
            sheet.paste(picture.resize((cell, cell), Image.Resampling.NEAREST), (left + column * (cell + gap), top))
    return sheet
