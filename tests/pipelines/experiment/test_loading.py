"""Which images are trained on, which are tested on, and that no image is both without a warning."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from augment.dataset.images import LabelledImages, image_hashes
from augment.dataset.sources import read_source
from augment.errors import ConfigError, SourceError
from pipelines.config.sections import DataConfig
from pipelines.experiment.loading import leak_warnings, limit_notes, load, load_synthetic, require_test, unused_notes


def config(source: Path | str, **changes: Any) -> DataConfig:
    return DataConfig.model_validate({"source": str(source), "image_size": 12, **changes})


def images(data: LabelledImages | None) -> set[bytes]:
    return {image.tobytes() for image in data.images} if data else set()


@pytest.fixture
def folder(image_folder: Path, tmp_path: Path) -> Path:
    """A copy of the user's folder that may be changed."""
    return Path(shutil.copytree(image_folder, tmp_path / "photos"))


def repaint(folder: Path, mode: str) -> None:
    for file in folder.rglob("*.png"):
        picture = Image.merge("RGB", [Image.open(file).convert("L").point(lambda v, c=c: v // c) for c in (1, 2, 3)])
        picture.convert(mode).save(file)


def test_the_test_split_of_the_source_is_the_test_set(image_folder: Path) -> None:
    loaded = load(config(image_folder))
    assert (len(loaded.train), len(require_test(loaded)), loaded.warnings) == (36, 18, ())
    assert np.array_equal(require_test(loaded).images, read_source(image_folder / "test", image_size=12).train.images)


def test_a_class_without_test_images_is_told(folder: Path) -> None:
    shutil.rmtree(folder / "test" / "sandal")
    assert load(config(folder)).warnings == ("the test set has no image of 'sandal', so nothing is measured of that",)


def test_another_source_takes_the_place_of_the_test_split(image_folder: Path) -> None:
    other = config(image_folder / "train", test=str(image_folder))  # the other's own test split, where it has one
    assert len(require_test(load(other))) == 18
    loaded = load(config(image_folder / "train", test=str(image_folder / "test")))
    assert (len(loaded.train), len(require_test(loaded))) == (36, 18)
    assert loaded.warnings == ()
    tested = require_test(loaded)
    names = [loaded.names[key] for key in zip(image_hashes(tested.images), tested.labels.tolist(), strict=True)]
    assert [Path(name).parent for name in names[::6]] == sorted((image_folder / "test").iterdir())
    assert loaded.fingerprint == load(config(image_folder / "train")).fingerprint


def test_the_seed_decides_the_subset_and_the_pool_stays_whole(image_folder: Path) -> None:
    first, again, other = (load(config(image_folder / "train", samples_per_class=4, seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.train.images, again.train.images)
    assert images(first.train) != images(other.train)
    assert (len(first.train), len(first.pool)) == (12, 36)
    assert images(first.train) < images(first.pool)


def test_a_subset_takes_at_most_so_many_of_each_class(folder: Path) -> None:
    smallest = sorted((folder / "train").iterdir())[0]
    for file in sorted(smallest.iterdir())[3:]:
        file.unlink()
    assert load(config(folder, samples_per_class=5)).train.counts().tolist() == [3, 5, 5]


def test_a_source_without_test_images_has_none(image_folder: Path) -> None:
    loaded = load(config(image_folder / "train"))
    assert (len(loaded.train), loaded.test, loaded.warnings) == (36, None, ())
    with pytest.raises(SourceError, match=r"train has no test split.*--test.*`augment run auto"):
        require_test(loaded)


def test_training_images_in_the_test_set_are_reported(folder: Path) -> None:
    inner = sorted((folder / "test").iterdir())[1]
    for file in sorted(inner.iterdir())[:2]:
        shutil.copy(file, folder / "train" / inner.name / f"again-{file.name}")
    loaded = load(config(folder))
    warning, *_ = leak_warnings(loaded.train, require_test(loaded))
    assert warning.startswith("2 training images are in the test set too, pixel for pixel")
    assert leak_warnings(loaded.train, loaded.train)[0].startswith("38 training images")


def test_near_copies_in_the_test_set_are_reported_apart_from_exact_ones(folder: Path) -> None:
    first, second, third = (sorted(inner.iterdir()) for inner in sorted((folder / "train").iterdir()))
    before = load(config(folder, image_size=28))
    assert leak_warnings(before.train, require_test(before)) == ()
    tests = sorted((folder / "test").iterdir())
    shutil.copy(first[0], tests[0] / "exact.png")
    Image.open(second[1]).save(tests[1] / "saved.jpg", quality=75)
    Image.open(third[2]).point(lambda v: v * 1.1).save(tests[2] / "bright.png")
    loaded = load(config(folder, image_size=28))
    exact, near = leak_warnings(loaded.train, require_test(loaded))
    assert exact.startswith("1 training image is in the test set too, pixel for pixel")
    assert near.startswith("2 training images are nearly the same as a test image or its mirror image")


def test_pictures_beside_the_class_folders_are_reported(folder: Path) -> None:
    shutil.copy(next((folder / "train").rglob("*.png")), folder / "train" / "stray.png")
    loaded = load(config(folder))
    assert len(loaded.train) == 36
    assert loaded.warnings[0].startswith(f"1 picture beside the class folders ignored: {folder}/train/stray.png; move")


def test_equal_images_of_several_classes_are_reported(folder: Path) -> None:
    (first, *_), (second, *_), *_ = (sorted(of_class.iterdir()) for of_class in (folder / "train").iterdir())
    shutil.copy(first, second)
    loaded = load(config(folder))
    assert loaded.warnings[0].startswith("1 training image is in more than one class (`augment inspect` names them)")
    (dropped,) = load(config(folder, drop_duplicates=True)).warnings
    assert dropped.startswith("2 of 36 training images were dropped as copies")


def test_skipped_broken_files_are_reported(folder: Path) -> None:
    broken = sorted((folder / "train").rglob("*.png"))[0]
    broken.write_bytes(b"no picture")
    with pytest.raises(SourceError, match=rf"{broken.name} is not a readable picture"):
        load(config(folder))
    loaded = load(config(folder, skip_broken=True))
    assert (len(loaded.train), loaded.warnings) == (35, (f"1 broken file skipped: {broken}",))


def test_test_images_of_a_class_that_is_not_trained_on_are_refused(folder: Path) -> None:
    sorted((folder / "test").iterdir())[0].rename(folder / "test" / "hat")
    with pytest.raises(ConfigError, match=r"test images have a class 'hat' that the training images do not have"):
        load(config(folder / "train", test=str(folder / "test")))


def test_test_images_may_lack_a_class_and_keep_their_labels(folder: Path) -> None:
    classes = sorted(p.name for p in (folder / "test").iterdir())
    shutil.rmtree(folder / "test" / classes[0])
    test = require_test(load(config(folder / "train", test=str(folder / "test"))))
    assert (test.class_names, test.counts().tolist()) == (tuple(classes), [0, 6, 6])


def test_test_images_are_brought_to_the_size_of_the_training_images(image_folder: Path) -> None:
    loaded = load(DataConfig(source="sklearn:digits", test="sklearn:digits", image_size=12))
    assert (loaded.train.size, require_test(loaded).size) == (12, 12)
    test = require_test(load(DataConfig(source=str(image_folder / "train"), test=str(image_folder), image_size=None)))
    assert test.size == 28


def test_grey_test_images_become_colour_and_colour_ones_are_refused_beside_grey(folder: Path) -> None:
    repaint(folder / "train", "RGB")
    loaded = load(config(folder / "train", test=str(folder / "test")))
    assert (loaded.train.channels, require_test(loaded).channels) == (3, 3)
    with pytest.raises(ConfigError, match="the test images are in colour and the training images are grey"):
        load(config(folder / "test", test=str(folder / "train")))


def test_synthetic_images_are_matched_to_the_real_ones(folder: Path, shoes: LabelledImages) -> None:
    real = load(config(folder)).train
    synthetic, notes = load_synthetic(folder / "test", real)
    assert (synthetic.scores, notes) == (
        None,
        ("synthetic images of 28 x 28 were resized to 12 x 12 px, as the real ones are",),
    )
    assert (synthetic.data.size, synthetic.data.class_names, len(synthetic)) == (12, real.class_names, 18)
    with pytest.raises(ConfigError, match="the synthetic images have a class"):
        load_synthetic(folder / "test", shoes)
    with pytest.raises(SourceError, match="there is no"):
        load_synthetic(folder / "none", real)


@pytest.fixture
def three_splits(folder: Path) -> Path:
    """train/, val/ and test/: 12, 2 and 4 images of each of three classes."""
    for inner in sorted((folder / "test").iterdir()):
        (folder / "val" / inner.name).mkdir(parents=True)
        for file in sorted(inner.iterdir())[:2]:
            file.rename(folder / "val" / inner.name / file.name)
    return folder


def test_validation_images_stay_apart_where_there_are_test_images(three_splits: Path) -> None:
    loaded = load(config(three_splits))
    assert loaded.val is not None
    assert (len(loaded.pool), len(loaded.val), len(require_test(loaded)), loaded.warnings) == (36, 6, 12, ())
    assert images(loaded.val) == images(read_source(three_splits / "val", image_size=12).train)
    assert unused_notes(loaded, config(three_splits))[0].startswith(
        "6 validation images of the source are not used: only `augment run` uses them"
    )


def test_validation_images_are_the_test_set_where_there_is_no_other(three_splits: Path) -> None:
    shutil.rmtree(three_splits / "test")
    loaded = load(config(three_splits))
    assert (len(loaded.pool), loaded.val, len(require_test(loaded))) == (36, None, 6)
    assert loaded.warnings == ("the source has no test split, so its 6 validation images are the test set",)
    assert unused_notes(loaded, config(three_splits)) == ()


def test_images_of_a_test_source_that_are_not_used_are_counted(three_splits: Path, image_folder: Path) -> None:
    loaded = load(config(three_splits, test=str(image_folder)))
    assert loaded.warnings == (
        f"the source's own 12 test images are not used: those of {image_folder.name} are the test set",
        f"the test set is the test split of {image_folder.name}: its 36 training images are not used",
    )
    assert loaded.val is not None
    assert (len(loaded.val), len(require_test(loaded))) == (6, 18)


def test_the_number_of_images_that_a_limit_leaves_is_reported(image_folder: Path) -> None:
    some = config(image_folder, samples_per_class=5)
    assert limit_notes(load(some).pool, some) == ("at most 5 images of each class are used: 15 of 36 training images",)
    assert limit_notes(load(some).pool, config(image_folder, samples_per_class=12)) == ()


def test_copies_are_dropped_from_training_images_alone(three_splits: Path) -> None:
    train, val, test = (sorted((three_splits / split).iterdir())[0] for split in ("train", "val", "test"))
    first, second, third, fourth = sorted(train.iterdir())[:4]
    shutil.copy(first, train / "z-again.png")
    shutil.copy(second, val / "z.png")
    Image.open(third).save(test / "z.jpg", quality=75)
    Image.open(fourth).save(test / "z-other.png")
    kept, dropped = (load(config(three_splits, image_size=28, drop_duplicates=drop)) for drop in (False, True))
    assert kept.warnings == ()
    assert (len(kept.pool), len(dropped.pool), len(dropped.train)) == (37, 33, 33)
    assert dropped.warnings == (
        "4 of 37 training images were dropped as copies: 1 that repeat another one, 3 that are also in val or test, "
        "or copies of such images",
    )
    assert dropped.val is not None
    assert (len(dropped.val), len(require_test(dropped))) == (7, 14)
    assert leak_warnings(dropped.train, require_test(dropped)) == ()
    assert leak_warnings(dropped.train, dropped.val) == ()


def test_generated_images_are_no_test_images(image_folder: Path, done: Path) -> None:
    with pytest.raises(SourceError, match="holds generated images: classifiers are tested on real ones"):
        load(config(image_folder, test=str(done / "synthetic")))
