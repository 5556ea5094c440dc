"""Damaged and hostile archives are one sentence, whatever the libraries below make of them."""

from __future__ import annotations

import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from augment.dataset.images import LabelledImages
from augment.dataset.npz import read_arrays
from augment.dataset.sources import read_source
from augment.errors import SourceError

METHODS = {"deflate": zipfile.ZIP_DEFLATED, "bz2": zipfile.ZIP_BZIP2, "lzma": zipfile.ZIP_LZMA}
MAGIC = b"\x93NUMPY\x01\x00"


def header(text: str) -> bytes:
    return MAGIC + struct.pack("<H", len(text)) + text.encode()


def npy(descr: str, shape: str, data: bytes = b"") -> bytes:
    return header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n") + data


@pytest.fixture
def archive(fashion: LabelledImages, tmp_path: Path) -> Callable[..., Path]:
    """An .npz of 40 real images of 4 classes, whose members are replaced or added by name."""

    def make(method: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
        some = fashion.take(np.flatnonzero(fashion.labels < 4)[:40])
        np.savez(tmp_path / "plain.npz", train_images=some.images[:, 0], train_labels=np.arange(40) % 4)
        with zipfile.ZipFile(tmp_path / "plain.npz") as plain, zipfile.ZipFile(tmp_path / "data.npz", "w") as out:
            for name in plain.namelist():
                if name.removesuffix(".npy") not in members:
                    out.writestr(name, plain.read(name), method)
            for name, content in members.items():
                out.writestr(f"{name}.npy", content, method)
        return tmp_path / "data.npz"

    return make


def change_headers(path: Path, offset: int, value: int) -> None:
    """Overwrite 2 bytes of all local and central file headers; offset: in the local ones."""
    content = bytearray(path.read_bytes())
    for mark, shift in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
        place = -1
        while (place := content.find(mark, place + 1)) >= 0:
            struct.pack_into("<H", content, place + offset + shift, value)
    path.write_bytes(content)


def check_refused(path: Path, reason: str = "") -> None:
    with pytest.raises(SourceError, match=rf"data\.npz is no readable \.npz of plain arrays \(.*{reason}") as caught:
        read_source(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@contextmanager
def at_most(limit: int) -> Iterator[None]:
    """No more than `limit` bytes are allocated within."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_method_of_compression_is_read(method: int, archive: Callable[..., Path]) -> None:
    assert read_source(archive(method)).train.counts().tolist() == [10, 10, 10, 10]


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("place", [0.2, 0.5, 0.9])
def test_damaged_compressed_data_are_refused(method: int, place: float, archive: Callable[..., Path]) -> None:
    path = archive(method)
    with zipfile.ZipFile(path) as opened:
        info = opened.getinfo("train_images.npy")
    content = bytearray(path.read_bytes())
    begin = info.header_offset + 30 + len(info.filename) + int(place * info.compress_size)
    content[begin : begin + 40] = bytes(byte ^ 0x5A for byte in content[begin : begin + 40])
    path.write_bytes(content)
    check_refused(path)


def test_encrypted_members_are_refused(archive: Callable[..., Path]) -> None:
    path = archive()
    change_headers(path, 6, 1)
    check_refused(path, "encrypted")


def test_an_unknown_compression_method_is_refused(archive: Callable[..., Path]) -> None:
    path = archive()
    change_headers(path, 8, 99)
    check_refused(path, "compression method")


def test_a_member_without_its_ending_is_refused(archive: Callable[..., Path]) -> None:
    path = archive()
    with zipfile.ZipFile(path, "a") as opened:
        opened.writestr("test_images", b"anything")
    check_refused(path, "'test_images' lacks the ending .npy")


HEADERS = {
    "a string that never ends": header("{'descr': '|u1, 'fortran_order': False, 'shape': (40, 28, 28), }\n"),
    "an open bracket": header("{'descr': '|u1', 'fortran_order': False, 'shape': (40, 28, 28"),
    "brackets only": header("(" * 9000),
    "unary operators only": header("-" * 9000 + "1"),
    "terabytes": npy("'|u1'", "(40, 200000, 200000)", bytes(100)),
    "terabytes of nothing": npy("'<U0'", "(1000000000000,)"),
    "a negative shape": npy("'|u1'", "(-1, 28, 28)", bytes(784)),
    "an overflowing shape": npy("'|u1'", f"({2**62}, 4, 28)", bytes(784)),
    "too many dimensions": npy("'|u1'", "(" + "1, " * 80 + ")", bytes(784)),
    "objects": npy("'|O'", "(40,)", bytes(784)),
    "structures": npy("[('a', '|u1')]", "(40, 28, 28)", bytes(40 * 784)),
    "a type of no name": npy("'|q9'", "(40, 28, 28)", bytes(40 * 784)),
    "a later format": MAGIC[:6] + b"\x03\x00" + bytes(200),
    "nothing": b"",
}


@pytest.mark.parametrize("content", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("member", ["train_images", "class_names"])
def test_a_hostile_array_header_is_refused(content: bytes, member: str, archive: Callable[..., Path]) -> None:
    path = archive(**{member: content})
    with at_most(2**26):
        check_refused(path)


def test_an_archive_bomb_is_refused_before_it_is_unpacked(archive: Callable[..., Path]) -> None:
    path = archive(zipfile.ZIP_DEFLATED, train_images=npy("'|u1'", "(5000, 256, 256)", bytes(5000 * 2**16)))
    assert path.stat().st_size < 2**20
    with at_most(2**24):
        check_refused(path, r"would unpack [\d,]+ bytes to 327,680,")


def test_only_the_wanted_arrays_are_read(archive: Callable[..., Path]) -> None:
    assert list(read_arrays(archive(remarks=HEADERS["objects"]), ("train_labels", "remarks of others"))) == [
        "train_labels"
    ]
