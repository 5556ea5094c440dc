"""Banks of views: real images through every policy."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from augment.classical import POLICIES, bank_of_views, refuse_unless_mit
from augment.errors import ConfigError
from augment.images import LabelledImages


def in_channels(data: LabelledImages, channels: int) -> LabelledImages:
    """The grey images in channels that differ: each is darker than the one before."""
    planes = [data.images // (c + 1) for c in range(channels)]
    return LabelledImages(np.concatenate(planes, 1), data.labels, data.class_names)


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


@pytest.mark.parametrize("policy", POLICIES)
def test_images_are_mirrored_only_when_asked(policy: str) -> None:
    left_half_white = np.zeros((1, 1, 28, 28), np.uint8)
    left_half_white[..., :14] = 200
    data = LabelledImages(left_half_white, np.zeros(1, np.int64), ("left",))

    def mirrored(horizontal_flip: bool) -> int:
        bank = bank_of_views(data, policy, views=40, horizontal_flip=horizontal_flip, seed=1).astype(int)
        return int((bank[..., 20:].sum((1, 2, 3, 4)) > bank[..., :8].sum((1, 2, 3, 4))).sum())

    assert mirrored(horizontal_flip=False) == 0
    assert 10 <= mirrored(horizontal_flip=True) <= 30


def test_an_unknown_policy_is_refused_with_the_known_ones(shoes: LabelledImages) -> None:
    with pytest.raises(ConfigError, match="'weak'; known are light, standard, strong"):
        bank_of_views(shoes, "weak", views=1, horizontal_flip=False, seed=0)


@pytest.mark.parametrize(
    ("albumentations", "albumentationsx"), [(None, None), ("2.1.0", None), ("1.4.24", None), ("2.0.8", "2.0.12")]
)
def test_all_but_the_last_mit_release_is_refused(albumentations: str | None, albumentationsx: str | None) -> None:
    with pytest.raises(ConfigError, match=r"pip install albumentations==2\.0\.8"):
        refuse_unless_mit(albumentations, albumentationsx)


def test_the_module_loads_without_albumentations() -> None:
    code = "import sys, augment.classical; sys.exit('albumentations' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
