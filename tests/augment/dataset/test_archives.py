"""An archive of a folder is read as the folder is."""

from __future__ import annotations

import errno
import shutil
import subprocess
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from augment.dataset.archives import read_archive
from augment.dataset.pictures import Format, decoded, find_pictures
from augment.dataset.sources import read_source
from augment.errors import SourceError

FORMATS = ("zip", "tar", "gztar", "bztar", "xztar")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("base", [None, "source"], ids=["its content", "the folder itself"])
def test_an_archive_of_a_folder_is_read_as_the_folder_is(
    image_folder: Path, tmp_path: Path, form: str, base: str | None
) -> None:
    folder = shutil.copytree(image_folder, tmp_path / "source")
    (folder / "train" / "trouser" / ".DS_Store").write_text("no picture")
    root = tmp_path if base else folder
    archive = shutil.make_archive(str(tmp_path / "packed" / "images"), form, root, base)
    packed, unpacked = read_source(archive), read_source(folder)
    assert list(packed.splits) == list(unpacked.splits) == ["train", "test"]
    for split, data in unpacked.splits.items():
        assert packed.splits[split].class_names == data.class_names
        assert np.array_equal(packed.splits[split].images, data.images)
        assert np.array_equal(packed.splits[split].labels, data.labels)
    inside = [Path(name).relative_to(folder) for name in unpacked.files["train"]]
    assert packed.files["train"] == tuple(str(Path(archive) / (base or "") / name) for name in inside)


@pytest.mark.parametrize("form", ["zip", "gztar"])
def test_pictures_of_an_archive_are_decoded_in_threads(image_folder: Path, tmp_path: Path, form: str) -> None:
    archive = shutil.make_archive(str(tmp_path / "images"), form, image_folder)
    found, _ = find_pictures(archive)
    images = np.concatenate([batch.images for batch in decoded(found, Format(28, "pad", 1), 4, skip_broken=False)])
    assert np.array_equal(images, read_source(image_folder).test.images)
    with ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(lambda picture: picture.content.open("rb").read(), found * 20))
    assert contents == [p.content.open("rb").read() for p in found] * 20


def test_links_are_read_as_the_files_that_they_stand_for(image_folder: Path, tmp_path: Path) -> None:
    picture = next((image_folder / "train" / "trouser").iterdir())
    with tarfile.open(tmp_path / "images.tar", "w") as archive:
        archive.add(picture, "cat/1.png")
        archive.add(picture, "../dog/1.png")
        link = tarfile.TarInfo("fox/2.png")
        link.type, link.linkname = tarfile.SYMTYPE, "../bird/1.png"
        second = tarfile.TarInfo("bird/1.png")
        second.type, second.linkname = tarfile.LNKTYPE, "cat/1.png"
        archive.addfile(second)
        archive.addfile(link)
        dot = tarfile.TarInfo(".")
        dot.type = tarfile.REGTYPE
        archive.addfile(dot)
    root = read_archive(tmp_path / "images.tar")
    assert [entry.name for entry in root.iterdir()] == ["cat", "..", "bird", "fox"]
    for name in ("bird", "fox"):
        (linked,) = next(entry for entry in root.iterdir() if entry.name == name).iterdir()
        assert linked.open("rb").read() == picture.read_bytes()


@pytest.mark.parametrize(
    ("kind", "target"), [(tarfile.LNKTYPE, "cat/0.png"), (tarfile.SYMTYPE, "0.png"), (tarfile.SYMTYPE, "/etc/passwd")]
)
def test_a_link_to_a_file_that_is_missing_is_one_sentence(kind: bytes, target: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "images.tar", "w") as archive:
        link = tarfile.TarInfo("cat/1.png")
        link.type, link.linkname = kind, target
        archive.addfile(link)
    with pytest.raises(
        SourceError, match=rf"cat/1\.png is a link to {target}, which is no file in it; pack with tar -h"
    ):
        read_archive(tmp_path / "images.tar")


def test_a_link_to_a_link_or_a_folder_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "images.tar", "w") as archive:
        folder, link = tarfile.TarInfo("cat"), tarfile.TarInfo("dog")
        folder.type = tarfile.DIRTYPE
        link.type, link.linkname = tarfile.SYMTYPE, "cat"
        archive.addfile(folder)
        archive.addfile(link)
    with pytest.raises(SourceError, match="dog is a link to cat, which is no file in it; pack with tar -h"):
        read_archive(tmp_path / "images.tar")


@pytest.mark.parametrize("packed", [("cat", "dog", "cat/0.png"), (".",)])
def test_tar_archives_of_every_usual_form_are_read(packed: tuple[str, ...], image_folder: Path, tmp_path: Path) -> None:
    """A file that is named twice becomes a link to itself, and `tar .` puts ./ before all names."""
    for name in ("cat", "dog"):
        shutil.copytree(image_folder / "train" / "trouser", tmp_path / "set" / name)
    first = min((tmp_path / "set" / "cat").iterdir())
    first.rename(first.with_name("0.png"))
    (tmp_path / "set" / "dog" / "link.png").symlink_to("../cat/0.png")
    (tmp_path / "set" / ".cache").symlink_to("nowhere")
    subprocess.run(["tar", "-cf", tmp_path / "set.tar", "-C", tmp_path / "set", *packed], check=True)
    read = read_source(tmp_path / "set.tar", complete=False).train
    assert read.counts().tolist() == [12, 13]


def test_a_zip_with_backslashes_has_folders(image_folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for file in sorted(image_folder.rglob("*")):
            info = zipfile.ZipInfo("x")
            if file.is_dir():
                info.filename = str(file.relative_to(image_folder)).replace("/", "\\") + "\\"
                archive.writestr(info, b"")
                continue
            info.filename = str(file.relative_to(image_folder)).replace("/", "\\")
            archive.writestr(info, file.read_bytes())
    packed = read_source(tmp_path / "images.zip")
    assert np.array_equal(packed.train.images, read_source(image_folder).train.images)


def test_a_full_disk_is_not_blamed_on_the_archive(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    archive = Path(shutil.make_archive(str(tmp_path / "images"), "gztar", image_folder))
    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space left") as caught:
        read_archive(archive)
    assert caught.value.errno == errno.ENOSPC


def test_an_archive_without_class_folders_is_refused(image_folder: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "images"), "zip", image_folder / "train" / "trouser")
    with pytest.raises(SourceError, match=r"images.zip holds no class folders: put the images of each class"):
        read_source(archive)


@pytest.mark.parametrize("name", ["images.zip", "images.tar", "images.tar.gz", "images.tar.xz", "images.tbz2"])
@pytest.mark.parametrize("content", [b"", b"no archive at all" * 100], ids=["empty", "text"])
def test_a_damaged_archive_is_one_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=rf"{name} is not a readable archive .*; pack it again$"):
        read_source(tmp_path / name)


def test_a_cut_archive_is_one_sentence(image_folder: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "images"), "gztar", image_folder))
    archive.write_bytes(archive.read_bytes()[:-2000])
    with pytest.raises(SourceError, match=r"is not a readable archive .*; pack it again$"):
        read_source(archive)


def test_a_broken_picture_in_an_archive_is_named_or_skipped(image_folder: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "images"), "zip", image_folder)
    with zipfile.ZipFile(archive, "a") as packed:
        packed.writestr("train/trouser/x.png", "no picture")
    with pytest.raises(SourceError, match=r"images.zip.train.trouser.x.png is not a readable picture"):
        read_source(archive)
    assert read_source(archive, skip_broken=True).skipped == (f"{archive}/train/trouser/x.png",)


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_a_huge_file_in_an_archive_is_not_read(
    image_folder: Path, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = shutil.make_archive(str(tmp_path / "images"), form, image_folder)
    largest = max(file.stat().st_size for file in image_folder.rglob("*.png"))
    monkeypatch.setattr("augment.dataset.archives.MAX_BYTES", largest - 1)
    with pytest.raises(SourceError, match=rf"is not a readable picture \(it has {largest} bytes\)"):
        read_source(archive)
