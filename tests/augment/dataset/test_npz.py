"""Archives are read array by array, and damaged or hostile ones are refused in one sentence."""

from __future__ import annotations

import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augment.dataset.images import LabelledImages, fit_to_square
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
    with pytest.raises(SourceError, match=rf"data\.npz is not a readable \.npz of plain arrays \(.*{reason}") as caught:
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


def npz(tmp_path, **changes):
    """An .npz of 5 images of 3 classes, 12 x 8 px, with `changes`; None leaves a key out."""
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 12), dtype=np.uint8)
    content = {"train_images": images, "train_labels": np.array([[2], [0], [1], [2], [0], [1]], np.uint8)} | changes
    np.savez(tmp_path / "data.npz", **{key: value for key, value in content.items() if value is not None})
    return tmp_path / "data.npz"


@pytest.mark.parametrize("shape", [(6, 8, 12), (6, 8, 12, 1), (6, 8, 12, 3)])
def test_an_npz_is_read_in_grey_and_in_colour(tmp_path, shape):
    images = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    source = read_source(npz(tmp_path, train_images=images), image_size=12)
    assert source.train.class_names == ("0", "1", "2")
    assert source.train.labels.tolist() == [2, 0, 1, 2, 0, 1]
    assert source.original_sizes == {(12, 8): 6}
    expected = [fit_to_square(Image.fromarray(image.squeeze()), 12, "pad") for image in images]
    assert np.array_equal(source.train.images.transpose(0, 2, 3, 1).squeeze(), np.array(expected))


def test_square_npz_images_are_views_and_not_copies(tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (6, 12, 12, 3), dtype=np.uint8)
    source = read_source(npz(tmp_path, train_images=images))
    assert source.train.images.strides == (432, 1, 36, 3)
    assert np.array_equal(source.train.images[4, 2], images[4, :, :, 2])


@pytest.mark.parametrize("channels", [2, 4])
def test_an_alpha_channel_is_composited_over_white(tmp_path, channels):
    images = np.full((6, 8, 8, channels), 100, np.uint8)
    images[..., -1] = 51  # a fifth
    train = read_source(npz(tmp_path, train_images=images)).train
    assert (train.channels, set(train.images.ravel().tolist())) == (channels - 1, {224})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": None}, "'train_images' is missing"),
        ({"train_images": np.zeros((6, 8, 8))}, "expected uint8 values from 0 to 255, got float64"),
        ({"train_images": np.zeros((6, 8, 8, 9), np.uint8)}, "expected N x H x W"),
        ({"train_labels": np.zeros((6, 4), int)}, "multi-label"),
        ({"train_labels": np.zeros(5, int)}, "expected 6 whole numbers"),
        ({"train_labels": np.zeros(6)}, "expected 6 whole numbers.*float64"),
        ({"class_names": np.array(["a", "b"])}, "label 2 is outside the classes, 0 to 1"),
        ({"class_names": np.array(["a", "b", "a"])}, "class_names: expected a list of different strings"),
        ({"class_names": np.array(["a", "b", None])}, "not a readable .npz of plain arrays"),
        ({"class_names": np.array(["a", "b", "c", "d"])}, "class 'd' has 0 training image"),
        ({"train_labels": np.array([0, 0, 2, 2, 2, 0])}, "no training image has the label 1"),
        ({"test_images": np.zeros((2, 8, 8), np.uint8)}, "expected both test_images and test_labels"),
    ],
)
def test_an_npz_out_of_order_is_refused(tmp_path, changes, message):
    with pytest.raises(SourceError, match=message):
        read_source(npz(tmp_path, **changes))


@pytest.mark.parametrize("content", [b"", b"PK\3\4 but no more", b"plain text", "array"])
def test_a_file_that_is_no_npz_is_refused(tmp_path, content):
    with (tmp_path / "data.npz").open("wb") as file:
        np.save(file, np.arange(3)) if content == "array" else file.write(content)
    with pytest.raises(SourceError, match=r"data.npz is not a readable .npz"):
        read_source(tmp_path / "data.npz")
