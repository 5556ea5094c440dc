"""The report shows the test images that classifiers most often get wrong, each once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from toy import record

from augment.dataset.images import LabelledImages, image_hashes
from pipelines.experiment.records import Record, encode_labels
from pipelines.results.hard_images import MAX_PER_CONFUSION, hard_images


def of(repeat: int, predicted: list[int], fold: str = "") -> Record:
    return record(repeat, "a", 0.0).model_copy(update={"predicted": encode_labels(np.array(predicted)), "fold": fold})


def test_the_images_that_are_wrong_most_often_come_first(shoes: LabelledImages) -> None:
    test = shoes.take(np.array([0, 1, 10, 16]))  # sandal, sandal, sneaker, ankle-boot
    records = [of(0, [0, 1, 2, 2]), of(1, [0, 2, 2, 2]), of(2, [0, 2, 1, 2])]
    names = {(image_hashes(test.images)[1], 0): "sandal/1.png"}
    first, second = hard_images(records, {"": test}, names)
    assert (first.name, second.name) == ("sandal/1.png", "")
    assert (first.true, first.taken_for, first.wrong, first.tested) == ("sandal", "ankle-boot", 3, 3)
    assert (second.true, second.taken_for, second.wrong, second.tested) == ("sneaker", "ankle-boot", 2, 3)
    assert np.array_equal(first.pixels, shoes.images[1])


def test_an_image_of_several_folds_counts_once_with_all_its_classifiers(shoes: LabelledImages) -> None:
    test = shoes.take(np.array([0, 10]))
    records = [of(0, [1, 1], "one"), of(1, [0, 0], "two"), of(2, [1, 1], "three")]
    tests = {"one": test, "two": replace(test), "three": shoes.take(np.array([1, 10]))}
    found = hard_images(records, tests, {})
    assert [(image.true, image.wrong, image.tested) for image in found] == [
        ("sandal", 1, 1),
        ("sandal", 1, 2),
        ("sneaker", 1, 3),
    ]


def test_few_images_of_one_confusion_are_shown(shoes: LabelledImages) -> None:
    found = hard_images([of(0, [1] * 9 + [1] * 10)], {"": shoes}, {})
    confusions = [(image.true, image.taken_for) for image in found]
    assert confusions.count(("sandal", "sneaker")) == MAX_PER_CONFUSION
    assert confusions.count(("ankle-boot", "sneaker")) == MAX_PER_CONFUSION


def test_an_image_that_several_sets_hold_is_shown_once(shoes: LabelledImages) -> None:
    records = [of(0, [1, 1], "one"), of(1, [1, 0], "two")]
    tests = {"one": shoes.take(np.array([0, 10])), "two": shoes.take(np.array([0, 1]))}
    assert len(hard_images(records, tests, {})) == 1


def test_the_order_in_which_classifiers_finish_does_not_matter(shoes: LabelledImages) -> None:
    records = [of(0, [1] * 9 + [0] * 10), of(1, [2] * 9 + [2] * 10), of(2, [0] * 9 + [1] * 10)]
    first, second = (hard_images(order, {"": shoes}, {}) for order in (records, records[::-1]))
    assert [image.taken_for for image in first] == [image.taken_for for image in second]
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(first, second, strict=True))
