"""An inspection counts images, names copies and gives advice."""

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from augment.dataset.duplicates import find_leaks
from augment.dataset.images import LabelledImages, concatenate, subset_per_class
from augment.dataset.inspection import contact_sheet, inspect
from augment.dataset.sources import Source, read_source
from pipelines.cli.tables import print_inspection


@pytest.fixture(scope="module")
def fashion():
    return read_source("bundled:fashion")


def source_of(train, test=None, **more):
    return Source("photos", train, None, test, more.pop("sizes", Counter({(28, 28): len(train)})), **more)


def of_classes(data, **counts):
    """The first images of some classes, that many of each, in the order given."""
    places = [np.flatnonzero(data.labels == data.class_names.index(name))[:n] for name, n in counts.items()]
    old = [data.class_names.index(name) for name in counts]
    picked = data.take(np.concatenate(places))
    return LabelledImages(picked.images, np.searchsorted(old, picked.labels), tuple(counts))


def test_the_bundled_set_is_balanced_and_clean(fashion):
    found = inspect(fashion)
    assert set(found.counts["train"].values()) == {100}
    assert set(found.counts["test"].values()) == {200}
    assert (found.size, found.channels, found.original_sizes) == (28, 1, {(28, 28): 3000})
    assert (found.duplicates, found.conflicts, found.leaks) == ((), (), {"test": ()})
    assert found.near_duplicates == ()
    assert len(found.near_leaks["test"]) <= 3  # clothes too alike to tell
    assert len(found.advice) == 3  # on these, on what to do about them, and on flips
    assert found.use == (
        "train (1,000 images) is for training generators and classifiers; test (2,000 images) is only for testing"
    )


def test_small_and_unequal_classes_are_named(fashion):
    advice = inspect(source_of(of_classes(fashion.train, trouser=20, bag=6))).advice
    assert "class 'bag' has 6 training images; at least 20 are recommended." in advice
    assert sum("are recommended" in line for line in advice) == 1
    assert any("'trouser' has 3.3 times the training images of class 'bag'" in line for line in advice)
    assert any("no test split" in line for line in advice)


def test_classes_without_test_images_are_named(fashion):
    train, test = (of_classes(fashion.train, trouser=20, bag=n) for n in (20, 0))
    assert any("test split has no image of 'bag'" in line for line in inspect(source_of(train, test)).advice)


def test_copies_are_grouped_and_those_of_two_classes_are_conflicts(fashion):
    data = of_classes(fashion.train, trouser=20, bag=20)
    images = data.images.copy()
    images[7], images[9], images[31] = images[2], images[2], images[12]  # 31 is a bag, 12 a pair of trousers
    found = inspect(source_of(LabelledImages(images, data.labels, data.class_names)))
    assert found.duplicates == ((2, 7, 9), (12, 31))
    assert found.conflicts == ((12, 31),)
    assert any("3 exact duplicates among the training images (" in line for line in found.advice)
    assert any("train image 12 as 'trouser', train image 31 as 'bag'" in line for line in found.advice)


def test_training_images_in_the_test_split_are_leaks(fashion):
    train = of_classes(fashion.train, trouser=20, bag=21)
    test = concatenate([of_classes(fashion.test, trouser=3, bag=4), train.take(np.array([40, 5]))])
    found = inspect(source_of(train, test, files={"train": tuple(f"{i}.png" for i in range(41))}))
    assert found.leaks == {"test": ((5, 8), (40, 7))}
    assert any("2 training images are also in test (5.png = test image 8)" in line for line in found.advice)
    assert found.near_leaks == {"test": ()}


def test_leaks_are_counted_for_training_images(fashion):
    train = fashion.train.take(np.array([4, 9, 4]))
    assert find_leaks(train, fashion.train.take(np.array([8, 4, 4, 7]))) == ((0, 1), (2, 1))


@pytest.fixture
def folder(fashion, tmp_path):
    """Class folders of PNG files below train/, val/ and test/: 12, 6 and 6 of each of three classes."""
    splits = (("train", fashion.train, 0, 12), ("val", fashion.test, 12, 6), ("test", fashion.test, 0, 6))
    for split, data, start, count in splits:
        for k in (1, 5, 8):
            place = tmp_path / split / data.class_names[k]
            place.mkdir(parents=True)
            for i, image in enumerate(data.images[data.labels == k][start : start + count]):
                Image.fromarray(image[0]).save(place / f"{i:02}.png")
    return tmp_path


def test_near_copies_are_named_by_their_files_within_and_between_the_splits(folder):
    assert "nearly" not in " ".join(inspect(read_source(folder)).advice)
    bags, val, test = (folder / split / "bag" for split in ("train", "val", "test"))
    Image.open(bags / "03.png").save(bags / "z.jpg", quality=75)
    Image.open(bags / "05.png").point(lambda v: v * 0.9).save(test / "z.png")
    Image.open(bags / "06.png").save(val / "y.jpg", quality=75)
    Image.open(bags / "07.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(val / "z.png")
    found = inspect(read_source(folder))
    assert found.near_duplicates == ((3, 12),)
    assert found.near_leaks == {"val": ((6, 6), (7, 7)), "test": ((5, 6),)}
    assert [line.partition(": ")[0] for line in found.advice if "nearly" in line] == [
        f"1 pair of training images is nearly the same, as they are or mirrored ({bags}/03.png ~ {bags}/z.jpg)",
        "2 training images are nearly the same as a val image, or as its mirror image "
        f"({bags}/06.png ~ {val}/y.jpg, {bags}/07.png ~ {val}/z.png)",
        f"1 training image is nearly the same as a test image, or as its mirror image ({bags}/05.png ~ {test}/z.png)",
    ]


def test_five_pairs_of_near_copies_are_named_and_the_others_counted(fashion):
    train = of_classes(fashion.train, trouser=20, bag=20)
    copies = [Image.fromarray(image[0]) for image in train.images[20:27]]
    saved = np.stack([saved_as_jpeg(picture) for picture in copies])[:, None]
    advice = inspect(source_of(train, LabelledImages(saved, train.labels[20:27], train.class_names))).advice
    (line,) = (line for line in advice if "nearly the same" in line)
    assert line.startswith("7 training images")
    assert "(train image 20 ~ test image 0, " in line
    assert "train image 24 ~ test image 4 and 2 more)" in line


def test_class_names_that_look_the_same_are_named(fashion):
    data = subset_per_class(fashion.train, 12, seed=0)
    names = ("\u00e9", "e\u0301", *data.class_names[2:])
    assert any(
        line.startswith(r"the classes '\xe9' and 'e\u0301' look the same: if they are one")
        for line in inspect(source_of(LabelledImages(data.images, data.labels, names))).advice
    )
    assert not any("look the same" in line for line in inspect(source_of(data)).advice)


def saved_as_jpeg(picture):
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=75)
    return np.asarray(Image.open(buffer))


def test_the_use_of_every_split_is_explained(fashion):
    train, val, test = (of_classes(fashion.train, trouser=20, bag=n) for n in (20, 3, 2))

    def use(**others):
        splits = {"val": None, "test": None} | others
        return inspect(Source("photos", train, **splits, original_sizes=Counter({(28, 28): 40}))).use

    learns = "train (40 images) is for training generators and classifiers; "
    assert use() == f"{learns}`augment run` tests every image once, because there is no test split"
    assert use(val=val) == f"{learns}val (23 images) is used as the test set, because there is no other"
    assert use(val=val, test=test) == (
        f"{learns}val (23 images) is used to choose a mix, by pipelines with holdout and a choose section; "
        "test (22 images) is only for testing"
    )


def test_validation_images_without_a_test_split_are_enough_to_measure_on(fashion):
    train, val = (of_classes(fashion.train, trouser=n, bag=20) for n in (20, 0))
    advice = inspect(Source("photos", train, val, None, Counter({(28, 28): 40}))).advice
    assert not any("no test split" in line for line in advice)


def test_files_with_an_alpha_channel_are_counted(folder):
    assert "alpha" not in " ".join(inspect(read_source(folder)).advice)
    for file in (folder / "train" / "bag" / "02.png", folder / "train" / "bag" / "04.png"):
        picture = Image.open(file)
        picture.putalpha(picture.point(lambda v: 255 if v else 0))
        picture.save(file)
    file = folder / "val" / "bag" / "01.png"
    Image.open(file).save(file, transparency=0)
    source = read_source(folder)
    file.unlink()  # the files are read once
    assert any(line.startswith("3 files with an alpha channel") for line in inspect(source).advice)


def test_the_printed_table_contains_channels_and_balance(fashion, capsys):
    grey = of_classes(fashion.train, trouser=20, bag=16)
    rgb = LabelledImages(np.repeat(grey.images, 3, axis=1), grey.labels, grey.class_names)
    coloured = LabelledImages(rgb.images.copy(), grey.labels, grey.class_names)
    coloured.images[35, 2, 27, 27] += 1
    said = []
    for data in (of_classes(fashion.train, trouser=20, bag=20), rgb, coloured):
        print_inspection(inspect(source_of(data)))
        said.append(capsys.readouterr().out.splitlines())
    assert "channels: grey" in said[0]
    assert not any(line.startswith("balance") for line in said[0])
    assert "channels: RGB, though all training images are grey" in said[1]
    assert "balance: 16 to 20 training images per class, a ratio of 1.25" in said[1]
    assert "channels: RGB" in said[2]


def test_resized_skipped_and_needlessly_coloured_pictures_are_reported(fashion):
    grey = of_classes(fashion.train, trouser=20, bag=20)
    train = LabelledImages(np.repeat(grey.images, 3, axis=1), grey.labels, grey.class_names)
    source = source_of(train, sizes=Counter({(300, 200): 39, (28, 28): 1}), skipped=("bag/torn.png",))
    advice = " ".join(inspect(source).advice)
    assert "2 sizes, the largest 300 x 200 px, were resized to 28 x 28 px" in advice
    assert "Details of less than 11 px of the largest image may disappear." in advice
    assert "1 broken file skipped: bag/torn.png" in advice
    assert "grey but stored as RGB" in advice


def test_a_contact_sheet_has_a_row_a_class_of_48_px(fashion):
    data = subset_per_class(fashion.train, 3, seed=0)
    sheet = contact_sheet(data, per_class=3)
    assert (sheet.mode, sheet.height) == ("RGB", 10 * (56 + 4) + 4)
    last = sheet.crop((sheet.width - 60, sheet.height - 60, sheet.width - 4, sheet.height - 4))
    shown = np.asarray(last.resize((28, 28), Image.Resampling.NEAREST))[..., 1]
    assert np.array_equal(shown, data.images[data.labels == 9][2, 0])


def test_a_contact_sheet_shows_names_in_other_scripts(fashion):
    few = fashion.train.take(np.arange(2))
    scripts = (("лист", "ж"), ("ψωφί", "λ"))
    sheets = [contact_sheet(LabelledImages(few.images, np.array([0, 1]), names)) for names in scripts]
    captions = [np.array(sheet.crop((0, 0, 60, sheet.height))) for sheet in sheets]
    assert (captions[0] != captions[1]).any()


def test_a_contact_sheet_takes_colours_uneven_classes_and_long_names():
    images = np.zeros((3, 3, 8, 8), np.uint8)
    images[:, 0] = 255
    sheet = contact_sheet(LabelledImages(images, np.array([0, 1, 1]), ("a", "b" * 300)), per_class=5)
    assert sheet.height == 2 * (48 + 4) + 4
    assert sheet.width < 500
    assert sheet.getpixel((sheet.width - 10, sheet.height - 10)) == (255, 0, 0)
