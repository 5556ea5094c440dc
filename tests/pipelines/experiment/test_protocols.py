"""Each protocol's folds: what they train on, test on, share, and why that protocol was taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from augment.dataset.images import LabelledImages, split_per_class, subset_per_class
from augment.errors import ConfigError
from augment.gan.anchors import check_anchor_policy
from pipelines.config.sections import ChooseConfig, DataConfig, ProtocolConfig
from pipelines.experiment.folds import NEW_CLASSES, NEW_GENERATORS, NEW_SUBSETS, ONE_GENERATOR, OTHER_FOLDS
from pipelines.experiment.loading import LoadedSource
from pipelines.experiment.protocols import Protocol, infer_protocol, inner_folds, make_protocol


@pytest.fixture(scope="module")
def split(fashion: LabelledImages) -> tuple[LabelledImages, LabelledImages]:
    """60 training and 40 test images of each of ten classes, all different."""
    return split_per_class(fashion, 0.4, seed=2)


def protocol_of(
    train: LabelledImages, test: LabelledImages | None, repeats: int, data: dict[str, Any] | None = None, **config: Any
) -> Protocol:
    settings = DataConfig(source="-", **(data or {}))
    return make_protocol(LoadedSource("-", train, train, test, ()), settings, ProtocolConfig(**config), repeats)


def pictures(data: LabelledImages) -> set[bytes]:
    return {image.tobytes() for image in data.images}


def test_holdout_with_one_generator_is_one_fold_with_all_repeats(split: tuple[LabelledImages, LabelledImages]) -> None:
    train, test = split
    protocol = protocol_of(train, test, 4, {"samples_per_class": 7}, kind="holdout", redraw_generator=False)
    (fold,) = protocol.folds
    assert (fold.name, fold.repeats) == ("", (0, 1, 2, 3))
    assert fold.train.counts().tolist() == [7] * 10
    assert pictures(fold.test) == pictures(test)
    assert (protocol.design.kind, protocol.design.note) == ("holdout", ONE_GENERATOR)
    assert np.array_equal(protocol.design.test_labels, test.labels)


def test_holdout_redraws_the_generator_with_every_repeat(split: tuple[LabelledImages, LabelledImages]) -> None:
    protocol = protocol_of(*split, 3, kind="holdout")
    assert [fold.repeats for fold in protocol.folds] == [(0,), (1,), (2,)]
    assert len({fold.numbers for fold in protocol.folds}) == 3  # and so their generators' seeds
    assert len({frozenset(pictures(fold.train)) for fold in protocol.folds}) == 1
    assert (protocol.design.kind, protocol.design.note) == ("holdout", NEW_GENERATORS)


def test_imbalance_draws_large_and_small_classes_anew_in_every_repeat(
    split: tuple[LabelledImages, LabelledImages],
) -> None:
    protocol = protocol_of(*split, 5, kind="imbalance", large=30, small=4, large_classes=0.3)
    assert (protocol.design.kind, protocol.design.note) == ("imbalance", NEW_CLASSES)
    counts = [fold.train.counts() for fold in protocol.folds]
    assert all(sorted(c) == [4] * 7 + [30] * 3 for c in counts)
    assert len({tuple(c) for c in counts}) == 5
    assert len({frozenset(pictures(fold.train)) for fold in protocol.folds}) == 5
    assert all(pictures(fold.train) <= pictures(split[0]) for fold in protocol.folds)
    assert [(fold.name, fold.repeats, fold.numbers) for fold in protocol.folds[:2]] == [
        ("i0", (0,), (0,)),
        ("i1", (1,), (1,)),
    ]


def test_imbalance_is_corrected_by_the_expected_overlap_of_a_class(
    split: tuple[LabelledImages, LabelledImages],
) -> None:
    protocol = protocol_of(*split, 40, kind="imbalance", large=30, small=6, large_classes=0.5)
    shared = []
    for first, second in zip(protocol.folds[:-1], protocol.folds[1:], strict=True):
        other = pictures(second.train)
        for k in range(10):
            members = first.train.images[first.train.labels == k]
            shared.append(np.mean([image.tobytes() in other for image in members]))
    assert protocol.design.correlation[None] == pytest.approx(18 / 60)
    assert np.mean(shared) == pytest.approx(18 / 60, abs=0.04)
    assert protocol.design.reported == {"large": 30, "small": 6, "large_classes": 5}


def test_imbalance_is_refused_where_all_classes_are_small(split: tuple[LabelledImages, LabelledImages]) -> None:
    settings = "give --set protocol.large=60 --set protocol.small=15$"
    with pytest.raises(ConfigError, match=rf"class 't-shirt' has 60 to train on: .*, or {settings}"):
        protocol_of(*split, 3, kind="imbalance")
    protocol_of(*split, 3, kind="imbalance", large=60, small=15)


def test_a_small_set_is_told_the_imbalance_that_it_allows(split: tuple[LabelledImages, LabelledImages]) -> None:
    few = subset_per_class(split[0], 6, seed=0)
    settings = "--set protocol.large=4 --set protocol.small=2$"
    with pytest.raises(
        ConfigError, match=rf"has 4 to train on of 6, the others are test images: .*, or give {settings}"
    ):
        protocol_of(few, None, 3, kind="imbalance")
    (first, *_) = protocol_of(few, None, 3, kind="imbalance", large=4, small=2).folds
    check_anchor_policy("pooled-difference", first.train, 4)


def test_a_source_without_test_images_has_some_set_aside(split: tuple[LabelledImages, LabelledImages]) -> None:
    train, _ = split
    protocol = protocol_of(train, None, 2, {"holdout": 0.25}, kind="holdout", redraw_generator=False)
    (fold,) = protocol.folds
    assert (fold.train.counts().tolist(), fold.test.counts().tolist()) == ([45] * 10, [15] * 10)
    assert not pictures(fold.train) & pictures(fold.test)
    assert "25% of each class, 150 images, were held out" in protocol.warnings[0]


def test_subsample_draws_other_images_in_every_repeat_and_tests_on_the_same(
    split: tuple[LabelledImages, LabelledImages],
) -> None:
    train, test = split
    protocol = protocol_of(train, test, 3, kind="subsample", sizes=(6, 15))
    assert [(fold.size, fold.repeats) for fold in protocol.folds] == [(n, (r,)) for n in (6, 15) for r in range(3)]
    for fold in protocol.folds:
        assert fold.train.counts().tolist() == [fold.size] * 10
        assert pictures(fold.train) <= pictures(train)
        assert pictures(fold.test) == pictures(test)
    assert len({frozenset(pictures(fold.train)) for fold in protocol.folds}) == 6
    assert protocol.design.correlation == {6: 0.1, 15: 0.25}  # of 60 a class
    assert len({fold.name for fold in protocol.folds}) == 6


@pytest.mark.parametrize(
    ("sizes", "samples", "message"),
    [
        ((70,), None, "smallest class has 60 and 70 are requested; set protocol.sizes of at most 30"),
        ((), None, "no size is set"),
        ((60,), None, "60 of each class are the whole pool"),
    ],
)
def test_subsample_refuses_what_leaves_nothing_to_draw(
    sizes: tuple[int, ...], samples: int | None, message: str, split: tuple[LabelledImages, LabelledImages]
) -> None:
    with pytest.raises(ConfigError, match=message):
        protocol_of(*split, 3, {"samples_per_class": samples}, kind="subsample", sizes=sizes)


def test_kfold_tests_every_image_once_a_round_and_never_trains_on_it(
    split: tuple[LabelledImages, LabelledImages],
) -> None:
    train, test = split
    protocol = protocol_of(train, None, 6, kind="kfold", folds=3)
    assert [fold.repeats for fold in protocol.folds] == [(r,) for r in range(6)]
    for fold in protocol.folds:
        assert not pictures(fold.train) & pictures(fold.test)
        assert pictures(fold.train) | pictures(fold.test) == pictures(train)
        assert fold.test.counts().tolist() == [20] * 10  # stratified
    for round_ in (protocol.folds[:3], protocol.folds[3:]):
        assert set().union(*(pictures(fold.test) for fold in round_)) == pictures(train)
    assert pictures(protocol.folds[0].test) != pictures(protocol.folds[3].test)  # cut anew
    assert protocol.design.correlation == {None: pytest.approx(1 / 3)}
    assert protocol.design.test_labels is None
    unused = protocol_of(train, test, 6, kind="kfold", folds=3).warnings[0]
    assert unused.startswith(f"the source's test split is not used, {len(test)} test images: kfold")


def test_kfold_names_the_folds_and_repeats_that_go_together(split: tuple[LabelledImages, LabelledImages]) -> None:
    train, _ = split
    with pytest.raises(ConfigError, match="multiple of 5, got 8; the nearest is 10"):
        protocol_of(train, None, 8, kind="kfold", folds=5)
    with pytest.raises(ConfigError, match=r"the smallest has 4; lower protocol\.folds to 4"):
        protocol_of(train, None, 5, {"samples_per_class": 4}, kind="kfold", folds=5)


@pytest.mark.parametrize(("repeats", "samples", "folds"), [(10, 9, 5), (6, 9, 6), (6, 5, 3), (8, 9, 4), (2, 9, 2)])
def test_the_default_number_of_folds_divides_the_repeats(
    repeats: int, samples: int, folds: int, split: tuple[LabelledImages, LabelledImages]
) -> None:
    protocol = protocol_of(split[0], None, repeats, {"samples_per_class": samples})
    assert protocol.design.reported == {"folds": folds, "rounds": repeats // folds}
    assert protocol.design.correlation == {None: pytest.approx(1 / folds)}


@pytest.mark.parametrize(
    ("has_test", "samples", "kind"),
    [
        (False, None, "kfold"),
        (False, 5, "kfold"),
        (True, None, "holdout"),
        (True, 30, "subsample"),
        (True, 31, "holdout"),
    ],
)
def test_the_protocol_follows_from_the_source_with_its_reason(
    has_test: bool, samples: int | None, kind: str, split: tuple[LabelledImages, LabelledImages]
) -> None:
    train, test = split
    loaded = LoadedSource("-", train, train, test if has_test else None, ())
    found, why = infer_protocol(loaded, DataConfig(source="-", samples_per_class=samples))
    assert (found, len(why) > 30) == (kind, True)
    made = make_protocol(loaded, DataConfig(source="-", samples_per_class=samples), ProtocolConfig(), 5)
    assert made.design.why == f"{kind}: {why}"
    assert made.design.note == {"kfold": OTHER_FOLDS, "subsample": NEW_SUBSETS, "holdout": NEW_GENERATORS}[kind]


def test_inner_splits_stay_within_their_folds_training_images(split: tuple[LabelledImages, LabelledImages]) -> None:
    train, _ = split
    outer = protocol_of(train, None, 3, kind="kfold", folds=3).folds
    inner = inner_folds(outer, ChooseConfig(splits=2, repeats=4, validation=0.25), 0)
    assert list(inner) == [fold.name for fold in outer]
    for fold in outer:
        for split_ in inner[fold.name]:
            assert not pictures(split_.train) & pictures(split_.test)
            assert pictures(split_.train) | pictures(split_.test) == pictures(fold.train)
            assert not pictures(split_.train) & pictures(fold.test)
            assert split_.test.counts().tolist() == [10] * 10
            assert split_.repeats == (0, 1, 2, 3)
    every = [s for splits in inner.values() for s in splits]
    assert len({s.name for s in every}) == len({s.numbers for s in every}) == 6
    assert not {s.numbers for s in every} & {fold.numbers for fold in outer}
    assert len({frozenset(pictures(s.test)) for s in every}) == 6


def with_val(split: tuple[LabelledImages, LabelledImages], **config: Any) -> Protocol:
    """The protocol of a source that has 5 validation images of each class beside its test images."""
    train, others = split
    test, val = split_per_class(others, 5 / others.counts().min(), seed=0)
    loaded = LoadedSource("-", train, train, test, (), val)
    chooses_mix = config.pop("chooses_mix", False)
    return make_protocol(loaded, DataConfig(source="-"), ProtocolConfig(**config), 3, chooses_mix=chooses_mix)


def test_a_mix_is_chosen_on_the_validation_images_under_holdout(split: tuple[LabelledImages, LabelledImages]) -> None:
    outer = with_val(split, kind="holdout").folds
    inner = inner_folds(outer, ChooseConfig(splits=2, repeats=4), 0)
    assert {name: len(splits) for name, splits in inner.items()} == {"g0": 1, "g1": 1, "g2": 1}
    for fold in outer:
        (chosen_on,) = inner[fold.name]
        assert fold.val is not None
        assert pictures(chosen_on.test) == pictures(fold.val)
        assert chosen_on.test.counts().tolist() == [5] * 10
        assert pictures(chosen_on.train) == pictures(fold.train)  # its generator sees these alone
        assert not pictures(chosen_on.test) & (pictures(fold.train) | pictures(fold.test))
        assert (chosen_on.repeats, chosen_on.numbers != fold.numbers) == ((0, 1, 2, 3), True)


@pytest.mark.parametrize("config", [{"kind": "kfold", "folds": 3}, {"kind": "subsample", "sizes": (6,)}])
def test_other_protocols_report_that_validation_images_are_not_used(
    config: dict[str, Any], split: tuple[LabelledImages, LabelledImages]
) -> None:
    protocol = with_val(split, chooses_mix=True, **config)
    unused = f"50 validation images of the source are not used: {config['kind']} chooses"
    assert protocol.warnings[-1].startswith(unused)
    for fold in protocol.folds:
        (first, *_) = inner_folds([fold], ChooseConfig(splits=2, validation=0.25), 0)[fold.name]
        assert pictures(first.test) < pictures(fold.train)


@pytest.mark.parametrize(
    ("chooses_mix", "words"),
    [
        (True, "50 validation images of the source are used only to choose the mix"),
        (False, "50 validation images of the source are not used: no mix is chosen"),
    ],
)
def test_the_use_of_validation_images_is_reported_under_holdout(
    chooses_mix: bool | None, words: str, split: tuple[LabelledImages, LabelledImages]
) -> None:
    assert with_val(split, kind="holdout", chooses_mix=chooses_mix).warnings == (words,)


def test_images_beyond_the_number_of_each_class_are_counted(split: tuple[LabelledImages, LabelledImages]) -> None:
    train, test = split
    used = "at most 20 images of each class are used: 200 of 600 training images"
    assert protocol_of(train, test, 2, {"samples_per_class": 20}, kind="holdout").warnings == (used,)
    assert protocol_of(train, None, 4, {"samples_per_class": 20}, kind="kfold").warnings[0] == used
    (drawn,) = protocol_of(train, test, 2, kind="subsample", sizes=(6, 15)).warnings
    assert drawn == "every repeat draws 6 or 15 images of each class: at most 150 of 600 training images"
    assert protocol_of(train, test, 2, {"samples_per_class": 60}, kind="holdout").warnings == ()


def test_subsample_of_unequal_classes_is_corrected_by_their_mean_overlap(
    split: tuple[LabelledImages, LabelledImages],
) -> None:
    train, test = split
    kept = np.concatenate([np.flatnonzero(train.labels == k)[: 60 if k else 12] for k in range(10)])
    protocol = protocol_of(train.take(kept), test, 3, kind="subsample", sizes=(6,))
    assert protocol.design.correlation[6] == pytest.approx((0.5 + 9 * 0.1) / 10)
