"""Banks of views: real images through every policy."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from augment.dataset.images import LabelledImages
from augment.dataset.policies import POLICIES, bank_of_views, check_license, trivial_augment
from augment.errors import ConfigError


def in_channels(data: LabelledImages, channels: int) -> LabelledImages:
    """The grey images in channels that differ: each is darker than the one before."""
    planes = [data.images // (c + 1) for c in range(channels)]
    return LabelledImages(np.concatenate(planes, 1), data.labels, data.class_names)


OURS = ("light", "standard", "strong")
PUBLISHED = ("trivial-augment", "rand-augment")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_bank_has_the_shape_of_the_images_for_each_view(shoes: LabelledImages, policy: str, channels: int) -> None:
    data = in_channels(shoes, channels)
    bank = bank_of_views(data, policy, views=2, horizontal_flip=True, seed=0)
    assert bank.shape == (2, 19, channels, 12, 12)
    assert bank.dtype == np.uint8


def test_the_seed_decides_the_bank(shoes: LabelledImages) -> None:
    first, again, other = (
        bank_of_views(shoes, "standard", views=3, horizontal_flip=True, seed=seed) for seed in (4, 4, 5)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("policy", POLICIES)
def test_views_differ_from_each_other(shoes: LabelledImages, policy: str) -> None:
    first, second = bank_of_views(shoes, policy, views=2, horizontal_flip=False, seed=0)
    assert (first != second).any()


def test_every_view_stays_nearest_to_its_own_image(fashion: LabelledImages) -> None:
    data = fashion.take(np.unique(fashion.labels, return_index=True)[1])
    bank = bank_of_views(data, "light", views=4, horizontal_flip=False, seed=0).astype(float)
    distances = ((bank[:, :, None] - data.images.astype(float)) ** 2).sum((3, 4, 5))  # view x image x original
    np.testing.assert_array_equal(distances.argmin(2), np.tile(np.arange(10), (4, 1)))


@pytest.mark.parametrize("policy", OURS)
def test_images_are_mirrored_only_on_request(policy: str) -> None:
    left_half_white = np.zeros((1, 1, 28, 28), np.uint8)
    left_half_white[..., :14] = 200
    data = LabelledImages(left_half_white, np.zeros(1, np.int64), ("left",))

    def mirrored(horizontal_flip: bool) -> int:
        bank = bank_of_views(data, policy, views=40, horizontal_flip=horizontal_flip, seed=1).astype(int)
        return int((bank[..., 20:].sum((1, 2, 3, 4)) > bank[..., :8].sum((1, 2, 3, 4))).sum())

    assert mirrored(horizontal_flip=False) == 0
    assert 10 <= mirrored(horizontal_flip=True) <= 30


@pytest.mark.parametrize("policy", PUBLISHED)
def test_published_policies_are_mirrored_on_top_and_leave_the_global_random_state(
    policy: str, shoes: LabelledImages
) -> None:
    before = torch.random.get_rng_state()
    plain, flipped = (bank_of_views(shoes, policy, views=6, horizontal_flip=flip, seed=3) for flip in (False, True))
    assert torch.equal(before, torch.random.get_rng_state())
    same = (plain == flipped).all((2, 3, 4))
    turned = (plain[..., ::-1] == flipped).all((2, 3, 4))
    assert (same | turned).all()
    assert 35 < (turned & ~same).sum() < 80  # of 114
    again = bank_of_views(shoes, policy, views=6, horizontal_flip=False, seed=3)
    other = bank_of_views(shoes, policy, views=6, horizontal_flip=False, seed=4)
    np.testing.assert_array_equal(plain, again)
    assert (plain != other).any()


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("policy", PUBLISHED)
def test_published_policies_change_two_or_four_channels_alike(
    shoes: LabelledImages, policy: str, channels: int
) -> None:
    many = shoes.take(np.arange(64) % len(shoes))  # enough to be transformed in groups
    grey = bank_of_views(many, policy, views=4, horizontal_flip=True, seed=1)
    equal = LabelledImages(many.images.repeat(channels, 1), many.labels, many.class_names)
    bank = bank_of_views(equal, policy, views=4, horizontal_flip=True, seed=1)
    np.testing.assert_array_equal(bank, grey.repeat(channels, 2))


@pytest.mark.parametrize("size", [8, 20, 28, 64, 128])
def test_trivial_augment_leaves_part_of_every_image_in_sight(size: int) -> None:
    """A move by 32 px would empty the small ones."""
    images = np.full((1, 1, size, size), 200, np.uint8)
    data = LabelledImages(images, np.zeros(1, np.int64), ("bright",))
    bank = bank_of_views(data, "trivial-augment", views=400, horizontal_flip=False, seed=0)
    lit = (bank > 0).mean((1, 2, 3, 4))
    assert lit.min() > 0.4
    assert lit.mean() > 0.8


def test_trivial_augment_works_on_an_enlarged_image_and_averages_it_back(
    shoes: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A roll by one enlarged pixel stands in for torchvision's operation, so a sixth of each neighbour comes in."""
    monkeypatch.setattr("torchvision.transforms.v2.TrivialAugmentWide", lambda **_: lambda large: large.roll(1, -1))
    image = torch.from_numpy(shoes.images[2])  # 12 px, so 72
    expected = (5 * image.double() + image.roll(1, -1).double()) / 6
    torch.testing.assert_close(trivial_augment(12)(image).double(), expected, atol=0.51, rtol=0)


@pytest.mark.parametrize("policy", PUBLISHED)
def test_published_policies_leave_some_views_as_they_were(shoes: LabelledImages, policy: str) -> None:
    """No operation, or colour on grey images, changes nothing: enlarging and averaging back lose nothing."""
    bank = bank_of_views(shoes, policy, views=30, horizontal_flip=False, seed=2)
    unchanged = (bank == shoes.images).all((2, 3, 4)).mean()
    expected = {"trivial-augment": 2 / 14, "rand-augment": (2 / 14) ** 2}[policy]  # and a little by weak operations
    assert expected - 0.03 < unchanged < expected + 0.15


@pytest.mark.parametrize("policy", POLICIES)
def test_equal_images_get_views_of_their_own(shoes: LabelledImages, policy: str) -> None:
    bank = bank_of_views(shoes.take(np.array([4, 4])), policy, views=8, horizontal_flip=False, seed=0)
    assert (bank[:, 0] != bank[:, 1]).any((1, 2, 3)).sum() >= 4


@pytest.mark.parametrize("policy", PUBLISHED)
def test_images_transformed_alike_are_drawn_anew_for_each_view(shoes: LabelledImages, policy: str) -> None:
    bank = bank_of_views(shoes.take(np.full(64, 4)), policy, views=20, horizontal_flip=False, seed=0)
    alike = (bank[:, :, None] == bank[:, None]).all((3, 4, 5))  # view x image x image
    assert (alike.sum(2) >= 4).all()  # groups of 64 / 16
    assert 1 < alike.sum(2).mean() < 16
    assert alike[:, 0].sum(0)[1:].max() < 12  # no image is always with the first one: of 20 views


@pytest.mark.parametrize("policy", PUBLISHED)
def test_images_transformed_in_groups_have_views_of_the_policy(shoes: LabelledImages, policy: str) -> None:
    """As many views as one by one leave an image as it was, and are as far from it."""
    one = shoes.take(np.array([4]))
    alone = bank_of_views(one, policy, views=1200, horizontal_flip=False, seed=1)[:, 0].astype(int)
    many = shoes.take(np.full(60, 4))
    grouped = bank_of_views(many, policy, views=60, horizontal_flip=False, seed=2).reshape(-1, *one.images.shape[1:])
    distance_alone, distance_grouped = (
        np.abs(views.astype(int) - one.images[0].astype(int)).mean((1, 2, 3)) for views in (alone, grouped)
    )
    assert abs((distance_alone == 0).mean() - (distance_grouped == 0).mean()) < 0.03
    np.testing.assert_allclose(distance_grouped.mean(), distance_alone.mean(), rtol=0.1)


def test_an_unknown_policy_is_refused_with_the_known_ones(shoes: LabelledImages) -> None:
    with pytest.raises(ConfigError, match="'weak'; known are light, standard, strong"):
        bank_of_views(shoes, "weak", views=1, horizontal_flip=False, seed=0)


@pytest.mark.parametrize(
    ("albumentations", "albumentationsx"), [(None, None), ("2.1.0", None), ("1.4.24", None), ("2.0.8", "2.0.12")]
)
def test_all_but_the_last_mit_release_is_refused(albumentations: str | None, albumentationsx: str | None) -> None:
    with pytest.raises(ConfigError, match=r"pip install albumentations==2\.0\.8"):
        check_license(albumentations, albumentationsx)


def test_the_module_loads_without_the_libraries() -> None:
    heavy = {"albumentations", "torchvision", "torch"}
    code = f"import sys, augment.dataset.policies; sys.exit(len({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
