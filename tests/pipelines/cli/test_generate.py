"""`augment generate` writes as many images as it should, in each of its formats."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
from command_line import Augment, check_refused, next_command
from PIL import Image

from augment.dataset.sources import read_source


def test_generate_writes_pictures_with_a_manifest(gan: Path, tmp_path: Path, augment: Augment) -> None:
    result = augment("generate", gan, "--out", tmp_path / "images", "--per-class", "3")
    assert (result.status, result.err) == (0, "")
    assert "9 images of 3 classes" in result.out
    with (tmp_path / "images" / "manifest.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 9
    for row in rows:
        with Image.open(tmp_path / "images" / row["path"]) as picture:
            assert picture.size == (12, 12)


def test_generate_writes_an_npz(gan: Path, tmp_path: Path, augment: Augment) -> None:
    augment("generate", gan, "--out", tmp_path / "png", "--per-class", "3", "--seed", "7")
    assert (
        augment("generate", gan, "--out", tmp_path / "npz", "--per-class", "3", "--seed", "7", "--format", "npz")[0]
        == 0
    )
    ours, theirs = (read_source(tmp_path / form).train for form in ("npz", "png"))
    assert np.array_equal(ours.images, theirs.images)
    assert ours.class_names == theirs.class_names


def test_generate_balances_and_counts(gan: Path, tmp_path: Path, augment: Augment) -> None:
    data = read_source(gan.parent / "photos").train
    assert data.counts().tolist() == [5, 12, 12]
    result = augment("generate", gan, "--out", tmp_path / "balanced", "--balance")
    assert "7 images of 1 class:" in result.out
    few, many, _ = data.class_names
    assert len(list((tmp_path / "balanced" / few).iterdir())) == 7
    counts = ("--count", f"{few}=2", "--count", f"{many}=5")
    assert augment("generate", gan, "--out", tmp_path / "counted", *counts).status == 0
    assert [len(list((tmp_path / "counted" / name).iterdir())) for name in (few, many)] == [2, 5]
    twice = augment("generate", gan, "--out", tmp_path / "twice", *counts, "--count", f"{few}=3")
    check_refused(twice, f"the class '{few}' is given twice")


def test_the_source_of_the_run_is_not_written_into(image_folder: Path, tmp_path: Path, augment: Augment) -> None:
    photos, run = shutil.copytree(image_folder / "train", tmp_path / "photos"), tmp_path / "run"
    assert augment("fit", photos, "--generator", "resample", "--out", run).status == 0
    for out, why in ((photos, "is the source itself"), (photos / "more", f"more is inside the source {photos}")):
        check_refused(augment("generate", run, "--out", out, "--per-class", "3", "--overwrite"), why)
    assert not (photos / "more").exists()
    assert augment("inspect", photos).status == 0


def test_a_half_generated_folder_is_no_source(gan: Path, tmp_path: Path, augment: Augment) -> None:
    images = tmp_path / "images"
    assert augment("generate", gan, "--out", images, "--per-class", "3", "--quiet").status == 0
    marker = json.loads((images / ".augment.json").read_text())
    (images / ".augment.json").write_text(json.dumps({**marker, "finished": False}))
    check_refused(augment("inspect", images), "is not finished; run the same `augment generate` again")
    assert augment("generate", gan, "--out", images, "--per-class", "3", "--quiet").status == 0
    assert augment("inspect", images).status == 0


def test_a_run_folder_is_no_source_of_images(gan: Path, image_folder: Path, tmp_path: Path, augment: Augment) -> None:
    command = ("evaluate", image_folder, "--synthetic", gan, "--out", tmp_path / "out", "--image-size", "12")
    check_refused(augment(*command), f"holds a generator and no images; create some with `augment generate {gan}")


def test_the_next_command_works_with_few_images_too(image_folder: Path, tmp_path: Path, augment: Augment) -> None:
    """The set has test images, and 12 training images of each class."""
    run, tiny = tmp_path / "run", ("--generator", "resample")
    assert augment("fit", image_folder, *tiny, "--out", run).status == 0
    for name, counts, ratio in (
        ("enough", ("--per-class", "12"), None),
        ("few", ("--per-class", "5"), "0.41"),
        ("none of two classes", ("--count", "trouser=5"), "no evaluation"),
    ):
        following = next_command(augment("generate", run, "--out", tmp_path / name, *counts))
        if ratio == "no evaluation":
            assert following[1] == "generate"
            continue
        assert following[1] == "evaluate"
        assert ("--ratio" in following) == (ratio is not None)
        assert ratio is None or following[following.index("--ratio") + 1] == ratio
        short = ("--arms", "none,none+synthetic", "--repeats", "2", "--steps", "2", "--jobs", "1", "--quiet")
        assert augment(*following[1:], *short).status == 0
