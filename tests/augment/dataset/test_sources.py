"""Every form of a source is read as it is written, and one out of order is refused by name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pictures import members, save
from PIL import Image

from augment.dataset.sources import read_source
from augment.errors import ConfigError, SourceError


def test_a_folder_with_splits_is_read_pixel_for_pixel(photos, bundled):
    source = read_source(photos)
    assert (source.name, source.train.class_names, source.val) == ("photos", ("bag", "coat"), None)
    assert (source.train.labels.tolist(), source.test.labels.tolist()) == ([0, 0, 0, 0, 1, 1, 1], [0, 0, 1])
    assert np.array_equal(source.train.images[4:], members(bundled.train, "coat")[:3])
    assert source.original_sizes == {(28, 28): 10}
    assert source.files["test"][2] == str(photos / "test" / "coat" / "0.png")


def test_a_folder_of_class_folders_is_all_training_images(photos):
    source = read_source(str(photos / "train"))
    assert (len(source.train), source.val, source.test) == (7, None, None)


def test_a_class_may_be_called_train(photos):
    (photos / "train" / "bag").rename(photos / "train" / "train")
    assert read_source(photos / "train").train.class_names == ("coat", "train")


def test_hidden_files_are_ignored_and_other_files_are_named(photos):
    for name in (".DS_Store", "Thumbs.db"):
        (photos / "train" / "bag" / name).write_text("no picture")
    assert len(read_source(photos).train) == 7
    (photos / "train" / "bag" / "notes.txt").write_text("no picture")
    with pytest.raises(SourceError, match=r"bag.notes.txt is not a readable picture"):
        read_source(photos)


def test_pictures_beside_the_class_folders_are_ignored_and_named(photos):
    for folder in (photos, photos / "test"):
        shutil.copy(photos / "train" / "bag" / "0.png", folder / "stray.PNG")
        (folder / "README.md").write_text("no picture")
    source = read_source(photos)
    assert (len(source.train), len(source.test)) == (7, 3)
    assert source.unread(most=1) == [
        f"2 pictures beside the class folders ignored: {photos}/stray.PNG and 1 more; move them into class folders"
    ]
    assert read_source(photos / "train").unread(most=1) == []


@pytest.mark.parametrize("kept", [0, 20, 200])
def test_broken_pictures_are_an_error_or_skipped_on_request(photos, kept):
    broken = photos / "train" / "bag" / "1.png"
    broken.write_bytes(broken.read_bytes()[:kept])
    with pytest.raises(SourceError, match=r"bag.1.png is not a readable picture"):
        read_source(photos)
    source = read_source(photos, skip_broken=True)
    assert source.skipped == (str(broken),)
    assert source.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert sum(source.original_sizes.values()) == 9
    with Image.open(photos / "train" / "bag" / "2.png") as second:
        assert np.array_equal(source.train.images[1, 0], np.asarray(second))


def test_a_picture_that_would_fill_the_memory_is_broken(photos, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 28 * 28)
    save(Image.new("L", (28, 29)), photos / "train" / "bag" / "large.png")
    with pytest.raises(SourceError, match=r"large.png is not a readable picture"):
        read_source(photos)


def test_one_class_is_not_enough_unless_the_source_need_not_be_complete(photos):
    for split in ("train", "test"):
        for file in (photos / split / "coat").iterdir():
            file.unlink()
        (photos / split / "coat").rmdir()
    with pytest.raises(SourceError, match=r"has 1 class.*at least 2"):
        read_source(photos)
    assert read_source(photos, complete=False).train.class_names == ("bag",)


@pytest.mark.parametrize("spec", ["", "nowhere", "data.xyz", "sklearn:iris", "bundled:shoes"])
def test_an_unknown_source_names_the_possible_forms(spec, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data.xyz").touch()
    with pytest.raises(SourceError, match=r"expected .*(sklearn:digits|bundled:fashion)"):
        read_source(spec)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission_is_an_error_and_not_skipped(photos):
    (photos / "train" / "bag" / "1.png").chmod(0)
    with pytest.raises(SourceError, match=r"1.png cannot be read: Permission denied"):
        read_source(photos, skip_broken=True)


def test_progress_counts_a_picture_when_it_is_decoded(photos: Path) -> None:
    """A file is opened twice, first for its header, so that the headers are half of the way."""
    calls: list[tuple[int, int]] = []
    read_source(photos, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(opened // 2, 10) for opened in range(1, 21)]


def test_a_csv_names_files_labels_and_splits(photos, bundled):
    rows = [f"{f.relative_to(photos.parent)},{f.parent.name},{f.parents[1].name},x" for f in photos.glob("*/*/*.png")]
    table = photos.parent / "table.csv"
    table.write_text("\n".join(["path,label,split,note", *rows]), encoding="utf-8-sig")
    source = read_source(table)
    assert (source.train.counts().tolist(), source.test.counts().tolist()) == ([4, 3], [2, 1])
    table.write_text("\n".join(["label,path", *(f"{row.split(',')[1]},{row.split(',')[0]}" for row in rows)]))
    assert read_source(table).train.counts().tolist() == [6, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,class\nphotos/a.png,a", "line 1: the column 'label' is missing"),
        (
            "path,label\nphotos/train/bag/0.png,bag\nphotos/none.png,bag",
            r"line 3: there is no file (?!.*photos.*photos).*none\.png",
        ),
        (
            "path,label,split\nphotos/train/bag/0.png,bag,held",
            "line 2: expected the split train, val or test, got 'held'",
        ),
        ("path,label\nphotos/train/bag/0.png", "line 2: expected a path and a label"),
        ("", "line 1: the column 'path' is missing"),
        ("path,label\n", "holds no training images"),
    ],
)
def test_a_csv_error_names_the_line(photos, text, message):
    (photos.parent / "table.csv").write_text(text)
    with pytest.raises(SourceError, match=message):
        read_source(photos.parent / "table.csv")


def test_the_digits_use_the_full_range():
    train = read_source("sklearn:digits").train
    assert (train.images.shape, train.images.min(), train.images.max()) == ((1797, 1, 8, 8), 0, 255)
    assert train.images[0, 0, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]  # 5, 13, 9, 1 of 16
    assert train.labels[:4].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("sizes", "wanted", "expected"),
    [
        ([(20, 20)] * 4, None, 20),
        ([(128, 128)] * 4, None, 128),
        ([(30, 30)] * 4, None, 32),
        ([(20, 20), (20, 20), (21, 17), (50, 9)], None, 20),
        ([(300, 200)] * 4, None, 64),
        ([(300, 200)] * 4, 96, 96),
    ],
)
def test_the_size_follows_the_median_longer_side_unless_it_is_given(tmp_path, sizes, wanted, expected):
    for i, size in enumerate(sizes):
        save(Image.new("L", size), tmp_path / "ab"[i % 2] / f"{i}.png")
    assert read_source(tmp_path, image_size=wanted).train.size == expected


def test_an_impossible_size_is_refused_before_anything_is_read():
    with pytest.raises(ConfigError, match="nearest is 32"):
        read_source("nowhere", image_size=33)


def test_reading_needs_little_more_memory_than_the_images(tmp_path, bundled):
    """2,000 images of 128 x 128 px in RGB are 94 MiB; the peak of a fresh process is measured."""
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak is read from Linux's /proc")
    picture = Image.fromarray(bundled.train.images[0, 0]).convert("RGB").resize((128, 128))
    save(picture, tmp_path / "a" / "0.png")
    for i in range(1, 2000):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        os.link(tmp_path / "a" / "0.png", tmp_path / "ab"[i % 2] / f"{i}.png")
    code = (
        "import sys; from augment.dataset.sources import read_source\n"
        "peak = lambda: int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) / 2**10\n"
        "before = peak(); size = read_source(sys.argv[1]).train.images.nbytes / 2**20; print(peak() - before, size)"
    )
    run = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    grown, size = map(float, run.stdout.split())
    assert size == pytest.approx(93.75)
    assert grown < 1.4 * size


def test_reading_imports_no_heavy_library():
    code = (
        "import sys, augment.dataset.sources, augment.dataset.export, augment.dataset.inspection; print(*sys.modules)"
    )
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "sklearn", "matplotlib", "albumentations", "scipy"} & set(modules)


def test_loops_of_links_are_passed_over_or_named(photos, tmp_path):
    (photos / "loop").symlink_to("loop")
    assert len(read_source(photos).train) == 7
    with pytest.raises(SourceError, match="there is no "):
        read_source(photos / "loop")
    (photos / "train" / "bag" / "again.png").symlink_to("again.png")
    with pytest.raises(SourceError, match=r"again\.png is not a readable picture"):
        read_source(photos)
    (photos / "train" / "bag" / "again.png").unlink()
    (photos / "train" / "bag" / "up").symlink_to(photos)
    with pytest.raises(SourceError, match="holds the folder up/"):
        read_source(photos)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_class_folder_that_may_not_be_read_is_named(photos):
    (photos / "train" / "bag").chmod(0)
    with pytest.raises(SourceError, match=r"bag cannot be read: Permission denied"):
        read_source(photos)
