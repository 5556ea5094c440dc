"""Changes that make valid inputs damaged or hostile, each drawn from a generator: for `hostile_sources.py`."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import socket
import zipfile
from pathlib import Path

import numpy as np

NAMES = [
    "\x1b[2J",
    "a\nnext: rm",
    "\udcff",
    *["..", "-", "%00", "[bold]", "\u202e", "CON", "'", "$HOME", "~"],
    " ",
    "x" * 250,
]
NUMBERS = [
    *["-1", "0", "1e308", "nan", "inf", "-inf", "1e-320", "٣", "+-1"],
    "",
    "9" * 30,
    "9" * 5000,
    "0x" + "f" * 300,
]
TEXTS = [
    *NAMES[:2],
    *NUMBERS,
    *["null", "~", "[a]", "{x}", "2020-13-45", "\x00", "/", "/dev/zero", "/etc", "é"],
    "x" * 200_000,
]
ODD_YAML = [
    "!!int abc",
    "!!binary é",
    "!!python/object:os.system x",
    "&a [*a]",
    "*b",
    "? [a]",
    "<<: 3",
    "{{a: 1}: 2}",
    "'",
    '"\\x',
    ">",
    "%YAML 9.9",
    "---",
    "...",
    "\n\t",
    "yes",
    "[none, none]",
    "{5: 6}",
    "!!set {a}",
    "{name: a, synthetic: true, weight: confidence, keep: .nan}",
]
YAML = [*TEXTS[2:], *ODD_YAML, "[" * 3000, "- " * 500, "a: &a [x, x]\n" + "b: [*a, *a, *a, *a]\n" * 9]
CELLS = [*TEXTS, *['"', '"open', "\r", "\ufeff", "path", "label", "scores", ".", "/dev/tty"]]
SHAPES = ["(10**12,)", "(1000000000000,)", "(-1,)", "(4, 3, 8000000, 8000000)", "()", "'", "None", "(1.5,)", "(" * 90]
DTYPES = [
    "'|O'",
    "'<U0'",
    "'<f8'",
    "'<U7'",
    "'|V9'",
    "[('a', '<i4')]",
    "'<M8[s]'",
    "'|u1",
    "'x'",
    "3",
    "'>i8'",
    "'|b1'",
]
LABELS = [-1, 10**12, 2**63 - 1, -(2**63), 5, 255]
METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
LINKS = ["/dev/zero", "/dev/tty", ".", "itself", "nowhere", "/etc/passwd"]
ENTRIES = [*NAMES, *["1.png", "manifest.csv", "data.npz", "train", "test", "val", "thumbs.db", ".x", "itself"]]


def pick(rng: np.random.Generator, values: list[str]) -> str:
    return values[int(rng.integers(len(values)))]


def damage(rng: np.random.Generator, content: bytes) -> bytes:
    """Flip, cut, overwrite, repeat or move some bytes."""
    data = bytearray(content or b"\0")
    first, second = sorted(int(place) for place in rng.integers(0, len(data) + 1, 2))
    second = min(second, first + 64) if rng.random() < 0.7 else second
    how = int(rng.integers(5))
    if how == 0:
        for place in rng.integers(0, len(data), int(rng.integers(1, 9))):
            data[int(place)] ^= 1 << int(rng.integers(8))
    elif how == 1:
        del data[first:second]
    elif how == 2:
        data[first:second] = bytes([int(rng.choice([0, 255, 34, 10]))]) * (second - first)
    elif how == 3:
        data[first:first] = data[first:second]
    else:
        data = data[:first] + data[second:] + data[first:second]
    return bytes(data)


def damage_text(rng: np.random.Generator, text: str, tokens: list[str], separators: str) -> str:
    """Replace a field between separators by a hostile one, here or everywhere, or damage the bytes."""
    if rng.random() < 0.25:
        return damage(rng, text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
    places = [i for i, character in enumerate(text) if character in separators]
    begin = places[int(rng.integers(len(places)))] if places else 0
    end = next((place for place in places if place > begin), len(text))
    if begin + 1 < end and rng.random() < 0.3:
        return text.replace(text[begin + 1 : end], pick(rng, tokens)[:1000])
    return text[: begin + 1] + pick(rng, tokens) + text[end:]


def damage_header(rng: np.random.Generator, content: bytes) -> bytes:
    """Another shape, type or end in the header of an array."""
    head, data = content[:128].decode("latin-1"), content[128:]
    if rng.random() < 0.5:
        head = head[: head.index("'shape': ") + 9] + pick(rng, SHAPES) + ", }"
    else:
        head = head.replace(head[head.index("'descr': ") + 9 : head.index(", 'fortran")], pick(rng, DTYPES))
    return head.ljust(127).encode("latin-1")[:127] + b"\n" + data


def damage_archive(rng: np.random.Generator, path: Path) -> None:
    """Damage the file, a header within, the labels, or how a member is called and compressed."""
    how = int(rng.integers(4))
    if how == 0:
        path.write_bytes(damage(rng, path.read_bytes()))
        return
    method = METHODS[int(rng.integers(len(METHODS)))]
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    chosen = pick(rng, list(members))
    if how == 1:
        members[chosen] = damage_header(rng, members[chosen])
    elif how == 2:
        content = np.load(path)
        labels, other = content["train_labels"].astype(np.int64), io.BytesIO()
        labels[int(rng.integers(len(labels)))] = LABELS[int(rng.integers(len(LABELS)))]
        np.save(other, labels if rng.random() < 0.5 else labels.astype(rng.choice(["f8", "u8", "U9", "i1"])))
        members["train_labels.npy"] = other.getvalue()
    else:
        members[pick(rng, [chosen.removesuffix(".npy"), "../x.npy", "train_images.npy"])] = members.pop(chosen)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    if rng.random() < 0.5:
        path.write_bytes(damage(rng, path.read_bytes()))


def damage_folder(rng: np.random.Generator, folder: Path) -> None:
    """Put a special or a hostile entry somewhere into a folder."""
    places = [folder, *sorted(path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())]
    place = places[int(rng.integers(len(places)))]
    name = pick(rng, ENTRIES)
    target = place / name.replace("/", "_").replace("\0", "_")[:200]
    with contextlib.suppress(FileExistsError, IsADirectoryError, shutil.Error):
        how = int(rng.integers(7))
        if how == 0:
            os.mkfifo(target)
        elif how == 1:
            target.symlink_to(pick(rng, LINKS))
        elif how == 2:
            target.mkdir()
        elif how == 3:
            target.write_bytes(rng.bytes(200))
        elif how == 4:
            bind(target)
        elif how == 5:
            shutil.copytree(places[-1], target, symlinks=True, copy_function=shutil.copyfile)
        else:
            file = min((path for path in folder.rglob("*") if path.is_file()), key=lambda path: rng.random())
            file.write_bytes(damage(rng, file.read_bytes()))


def bind(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path has at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as opened, contextlib.suppress(OSError, UnicodeError):
            opened.bind(os.fsencode(path.name))
    finally:
        os.chdir(here)
