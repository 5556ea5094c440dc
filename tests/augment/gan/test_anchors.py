"""Anchors are images of the class, lenders of a large class, and features are combined as their policies say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from augment.dataset.images import LabelledImages
from augment.errors import ConfigError
from augment.gan.anchors import (
    ANCHOR_POLICIES,
    INDEX_UNIFORMS,
    POLICY_UNIFORMS,
    UNIFORMS_PER_IMAGE,
    Anchors,
    Features,
    check_anchor_policy,
    grid_mask,
)

CPU = torch.device("cpu")


def uniform(count: int, columns: int = UNIFORMS_PER_IMAGE, seed: int = 0) -> Tensor:
    return torch.rand(count, columns, generator=torch.Generator().manual_seed(seed))


def features(count: int = 40, side: int = 7) -> Features:
    rng = torch.Generator().manual_seed(5)
    return Features(*(torch.randn(count, 3, side, side, generator=rng) for _ in range(4)))


@pytest.fixture
def sandals_only(shoes: LabelledImages) -> LabelledImages:
    """9 sandals, 1 sneaker, 2 ankle boots."""
    return shoes.take(np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16]))


def test_anchor_and_partner_are_different_images_of_the_class(shoes: LabelledImages) -> None:
    labels = torch.arange(3).repeat(400)
    indices, _ = Anchors.from_images(shoes, 6, flip=False, device=CPU).draw(labels, uniform(1200))
    of_images = torch.from_numpy(shoes.labels)[indices]
    assert torch.equal(of_images[:, 0], labels)
    assert torch.equal(of_images[:, 1], labels)
    assert (indices[:, 0] != indices[:, 1]).all()
    assert len(indices[:, :2].unique()) == len(shoes)


def test_only_classes_that_are_large_enough_lend_differences(shoes: LabelledImages) -> None:
    labels = torch.arange(3).repeat(400)
    indices, _ = Anchors.from_images(shoes, 6, flip=False, device=CPU).draw(labels, uniform(1200))
    difference_classes = torch.from_numpy(shoes.labels)[indices[:, 2:]]
    assert torch.equal(difference_classes[:, 0], difference_classes[:, 1])
    assert difference_classes.unique().tolist() == [0, 1]  # 9 and 6 images; the class with 4 does not lend
    assert (indices[:, 2] != indices[:, 3]).all()


def test_the_base_is_of_another_class_and_similar_to_the_anchor(four: LabelledImages) -> None:
    data = four.take(np.concatenate([np.arange(60), np.arange(100, 160), np.arange(200, 203)]))
    labels = torch.tensor([0, 1, 2]).repeat(300)
    indices = Anchors.from_images(data, 20, flip=False, device=CPU).draw(labels, uniform(900))[0].numpy()
    thumbnails = data.images.astype(float).reshape(len(data), 7, 4, 7, 4).mean((2, 4)).reshape(len(data), 49)
    for anchor, base in indices[:, [0, 3]]:
        assert data.labels[base] in {0: [1], 1: [0], 2: [0, 1]}[data.labels[anchor]]
        others = np.flatnonzero((data.labels != data.labels[anchor]) & (data.labels < 2))
        distances = np.linalg.norm(thumbnails[others] - thumbnails[anchor], axis=1)
        assert np.linalg.norm(thumbnails[base] - thumbnails[anchor]) <= np.sort(distances)[9] + 1e-6
    anchored = indices[indices[:, 0] == indices[0, 0]]
    assert len(np.unique(anchored[:, 3])) > 1


def test_a_lending_class_without_another_one_lends_to_itself(shoes: LabelledImages) -> None:
    indices, _ = Anchors.from_images(shoes, 9, flip=False, device=CPU).draw(torch.arange(3).repeat(50), uniform(150))
    assert torch.from_numpy(shoes.labels)[indices[:, 2:]].unique().tolist() == [0]
    assert (indices[:, 2] != indices[:, 3]).all()


def test_d_learns_from_the_lending_classes_or_from_all(shoes: LabelledImages) -> None:
    assert Anchors.from_images(shoes, 6, flip=False, device=CPU).discriminator_classes.tolist() == [0, 1]
    assert Anchors.from_images(shoes, 20, flip=False, device=CPU).discriminator_classes.tolist() == [0, 1, 2]


def test_every_image_of_a_class_is_an_anchor_equally_often(shoes: LabelledImages) -> None:
    anchors, labels = Anchors.from_images(shoes, 6, flip=False, device=CPU), torch.zeros(9000, dtype=torch.long)
    indices, _ = anchors.draw(labels, uniform(9000))
    for column in (0, 1):
        counts = indices[:, column].bincount()
        assert len(counts) == 9
        assert ((counts > 880) & (counts < 1120)).all()


def test_a_class_with_one_image_is_its_own_partner(sandals_only: LabelledImages) -> None:
    anchors, labels = Anchors.from_images(sandals_only, 9, flip=False, device=CPU), torch.ones(5, dtype=torch.long)
    indices, _ = anchors.draw(labels, uniform(5))
    assert indices[:, :2].unique().tolist() == [9]


def test_pairs_are_mirrored_alike_and_only_where_flips_are_allowed(shoes: LabelledImages) -> None:
    labels = torch.arange(3).repeat(200)
    _, mirrored = Anchors.from_images(shoes, 6, flip=True, device=CPU).draw(labels, uniform(600))
    assert torch.equal(mirrored[:, 0], mirrored[:, 1])
    assert torch.equal(mirrored[:, 2], mirrored[:, 3])
    assert not torch.equal(mirrored[:, 0], mirrored[:, 2])
    assert 0.4 < mirrored.float().mean() < 0.6
    assert not Anchors.from_images(shoes, 6, flip=False, device=CPU).draw(labels, uniform(600))[1].any()


def test_a_draw_of_an_image_depends_on_its_own_row_alone(shoes: LabelledImages) -> None:
    anchors, labels, uniforms = Anchors.from_images(shoes, 6, flip=True, device=CPU), torch.arange(3), uniform(3)
    indices, mirrored = anchors.draw(labels, uniforms)
    for i in range(3):
        alone, flipped = anchors.draw(labels[i : i + 1], uniforms[i : i + 1])
        assert torch.equal(alone[0], indices[i])
        assert torch.equal(flipped[0], mirrored[i])


def test_masks_have_two_to_four_cells_a_side_each_as_often() -> None:
    masks = grid_mask(uniform(3000, POLICY_UNIFORMS), 12)[:, 0]
    assert masks.float().mean() == pytest.approx(0.5, abs=0.02)
    fits = [
        (masks == masks[:, :: 12 // n, :: 12 // n].repeat_interleave(12 // n, 1).repeat_interleave(12 // n, 2))
        .all(2)
        .all(1)
        .float()
        .mean()
        for n in (2, 3, 4)
    ]
    assert fits[0] == pytest.approx(1 / 3, abs=0.04)
    assert fits[1] == pytest.approx(1 / 3 + 1 / 24, abs=0.04)  # an eighth of the 2 x 2 masks is of one piece
    assert fits[2] > 0.6  # masks of 2 x 2 cells are masks of 4 x 4 cells too


def test_grid_takes_each_place_from_anchor_or_partner() -> None:
    f, uniforms = features(), uniform(40, POLICY_UNIFORMS)
    mixed = ANCHOR_POLICIES["grid"].combine(f, uniforms)
    from_anchor = (mixed == f.anchor).all(1)
    assert torch.equal(from_anchor, ~(mixed == f.partner).all(1))
    assert torch.equal(from_anchor, grid_mask(uniforms, 7)[:, 0])


@pytest.mark.parametrize("name", ["difference", "pooled-difference", "grid-difference"])
def test_the_lent_images_get_the_difference_of_their_lenders(name: str) -> None:
    f, uniforms = features(), uniform(40, POLICY_UNIFORMS)
    with_difference = torch.arange(40) % 3 == 1
    f = f._replace(lender=f.lender[with_difference], base=f.base[with_difference], with_difference=with_difference)
    start = ANCHOR_POLICIES["grid"].combine(f, uniforms) if name == "grid-difference" else f.anchor
    added = ANCHOR_POLICIES[name].combine(f, uniforms) - start
    expected = f.lender - f.base
    if name == "pooled-difference":
        expected = expected.mean((2, 3), keepdim=True).expand_as(expected)
    torch.testing.assert_close(added[with_difference], expected, atol=1e-5, rtol=1e-4)
    assert not added[~with_difference].abs().max() > 0


@pytest.mark.parametrize("name", ANCHOR_POLICIES)
def test_a_policy_works_with_the_images_it_names_and_keeps_their_shape(name: str) -> None:
    full, uniforms = features(), uniform(40, POLICY_UNIFORMS)
    combined = ANCHOR_POLICIES[name].combine(
        Features(**{used: getattr(full, used) for used in ANCHOR_POLICIES[name].used_fields}), uniforms
    )
    assert combined.shape == full.anchor.shape
    assert torch.equal(combined, ANCHOR_POLICIES[name].combine(full, uniforms))


def test_the_numbers_of_indices_and_policies_do_not_overlap() -> None:
    assert UNIFORMS_PER_IMAGE == INDEX_UNIFORMS + POLICY_UNIFORMS


def test_differences_without_a_large_class_are_refused(shoes: LabelledImages) -> None:
    with pytest.raises(ConfigError, match=r"no class has the 10 images .* largest, sandal, has 9"):
        check_anchor_policy("pooled-difference", shoes, 10)
    check_anchor_policy("pooled-difference", shoes, 9)
    check_anchor_policy("grid", shoes, 10)


def test_mixing_within_a_class_of_one_image_is_refused(sandals_only: LabelledImages) -> None:
    with pytest.raises(ConfigError, match="class 'sneaker' has one image"):
        check_anchor_policy("grid", sandals_only, 9)
    check_anchor_policy("grid-difference", sandals_only, 9)
    check_anchor_policy("reconstruction", sandals_only, 9)
