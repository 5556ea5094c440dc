"""Random changes that turn valid inputs into damaged or hostile ones; used by `hostile_sources.py`."""

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
    """Flip bits, or delete, overwrite, repeat or move a range of bytes."""
    data = bytearray(content or b"\0")
    start, stop = sorted(int(index) for index in rng.integers(0, len(data) + 1, 2))
    stop = min(stop, start + 64) if rng.random() < 0.7 else stop
    kind = int(rng.integers(5))
    if kind == 0:
        for index in rng.integers(0, len(data), int(rng.integers(1, 9))):
            data[int(index)] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del data[start:stop]
    elif kind == 2:
        data[start:stop] = bytes([int(rng.choice([0, 255, 34, 10]))]) * (stop - start)
    elif kind == 3:
        data[start:start] = data[start:stop]
    else:
        data = data[:start] + data[stop:] + data[start:stop]
    return bytes(data)


def damage_text(rng: np.random.Generator, text: str, tokens: list[str], separators: str) -> str:
    """Replace one field between separators by a hostile one, or all equal fields, or damage the bytes."""
    if rng.random() < 0.25:
        return damage(rng, text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
    indices = [i for i, character in enumerate(text) if character in separators]
    start = indices[int(rng.integers(len(indices)))] if indices else 0
    stop = next((index for index in indices if index > start), len(text))
    if start + 1 < stop and rng.random() < 0.3:
        return text.replace(text[start + 1 : stop], pick(rng, tokens)[:1000])
    return text[: start + 1] + pick(rng, tokens) + text[stop:]


def damage_header(rng: np.random.Generator, content: bytes) -> bytes:
    """Change the shape, the data type or the end of the header of an .npy array."""
    head, data = content[:128].decode("latin-1"), content[128:]
    if rng.random() < 0.5:
        head = head[: head.index("'shape': ") + 9] + pick(rng, SHAPES) + ", }"
    else:
        head = head.replace(head[head.index("'descr': ") + 9 : head.index(", 'fortran")], pick(rng, DTYPES))
    return head.ljust(127).encode("latin-1")[:127] + b"\n" + data


def damage_archive(rng: np.random.Generator, path: Path) -> None:
    """Damage the bytes of an .npz file, the header of an array, the labels, or the name of a member.

    The compression is changed at random too, unless only the bytes are damaged.
    """
    kind = int(rng.integers(4))
    if kind == 0:
        path.write_bytes(damage(rng, path.read_bytes()))
        return
    method = METHODS[int(rng.integers(len(METHODS)))]
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = pick(rng, list(members))
    if kind == 1:
        members[name] = damage_header(rng, members[name])
    elif kind == 2:
        labels, file = np.load(path)["train_labels"].astype(np.int64), io.BytesIO()
        labels[int(rng.integers(len(labels)))] = LABELS[int(rng.integers(len(LABELS)))]
        np.save(file, labels if rng.random() < 0.5 else labels.astype(rng.choice(["f8", "u8", "U9", "i1"])))
        members["train_labels.npy"] = file.getvalue()
    else:
        members[pick(rng, [name.removesuffix(".npy"), "../x.npy", "train_images.npy"])] = members.pop(name)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    if rng.random() < 0.5:
        path.write_bytes(damage(rng, path.read_bytes()))


def damage_folder(rng: np.random.Generator, folder: Path) -> None:
    """Add a special or hostile entry somewhere in a folder, or damage one of its files."""
    folders = [folder, *sorted(path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())]
    parent = folders[int(rng.integers(len(folders)))]
    name = pick(rng, ENTRIES)
    target = parent / name.replace("/", "_").replace("\0", "_")[:200]
    with contextlib.suppress(FileExistsError, IsADirectoryError, shutil.Error):
        kind = int(rng.integers(7))
        if kind == 0:
            os.mkfifo(target)
        elif kind == 1:
            target.symlink_to(pick(rng, LINKS))
        elif kind == 2:
            target.mkdir()
        elif kind == 3:
            target.write_bytes(rng.bytes(200))
        elif kind == 4:
            make_socket(target)
        elif kind == 5:
            shutil.copytree(folders[-1], target, symlinks=True, copy_function=shutil.copyfile)
        else:
            file = min((path for path in folder.rglob("*") if path.is_file()), key=lambda path: rng.random())
            file.write_bytes(damage(rng, file.read_bytes()))


def make_socket(path: Path) -> None:
    previous = Path.cwd()
    os.chdir(path.parent)  # the path of a socket may have at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as unix_socket, contextlib.suppress(OSError, UnicodeError):
            unix_socket.bind(os.fsencode(path.name))
    finally:
        os.chdir(previous)
