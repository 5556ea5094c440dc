"""Synthetic images are drawn by their ratio to the real ones, equally many of each class."""

from __future__ import annotations

import numpy as np
import pytest

from augment.dataset.images import LabelledImages
from augment.dataset.ratios import draw_by_ratio, synthetic_share
from augment.errors import ConfigError


@pytest.fixture
def pool(fashion: LabelledImages) -> LabelledImages:
    """30 images of each of three classes, of which every one is another picture."""
    members = np.concatenate([np.flatnonzero(fashion.labels == k)[:30] for k in (5, 7, 9)])
    return LabelledImages(fashion.images[members], np.repeat(np.arange(3), 30), ("sandal", "sneaker", "ankle-boot"))


@pytest.mark.parametrize(("ratio", "per_class"), [(1.0, 6), (0.5, 3), (2.0, 13), (4.5, 28), (0.01, 1)])
def test_a_ratio_counts_synthetic_images_per_real_image_balanced_over_the_classes(
    ratio: float, per_class: int, pool: LabelledImages, shoes: LabelledImages
) -> None:
    taken = pool.take(draw_by_ratio(pool, shoes, ratio, seed=3))  # 19 real images: 9, 6 and 4
    assert taken.counts().tolist() == [per_class] * 3
    assert taken.class_names == pool.class_names
    for image, label in zip(taken.images, taken.labels, strict=True):
        assert any(np.array_equal(image, other) for other in pool.images[pool.labels == label])
    assert len({image.tobytes() for image in taken.images}) == 3 * per_class  # without replacement


def test_the_draw_repeats_with_its_seed(pool: LabelledImages, shoes: LabelledImages) -> None:
    first, again, other = (draw_by_ratio(pool, shoes, 1.0, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_too_few_images_are_refused_with_the_number_needed(pool: LabelledImages, shoes: LabelledImages) -> None:
    scarce = pool.take(np.r_[0:30, 30:35, 60:90])
    message = "a ratio of 1 for 19 real images needs 6 .* but class 'sneaker' has 5"
    with pytest.raises(ConfigError, match=message):
        draw_by_ratio(scarce, shoes, 1.0, seed=0)
    with pytest.raises(ConfigError, match="class 'sandal' has 0"):
        draw_by_ratio(pool.take(np.arange(30, 90)), shoes, 0.1, seed=0)


@pytest.mark.parametrize(("ratio", "share"), [(0.0, 0.0), (0.5, 1 / 3), (1.0, 0.5), (4.0, 0.8)])
def test_the_share_of_a_batch_is_the_part_of_the_whole(ratio: float, share: float) -> None:
    assert synthetic_share(ratio) == pytest.approx(share)
