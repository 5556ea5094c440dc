"""Fidelity measures agree with loops over pairs of images, and know copies from new images."""

from __future__ import annotations

from math import dist

import numpy as np
import pytest

from augment.fidelity import Features, kid, memorisation, precision_recall
from augment.images import LabelledImages


@pytest.fixture(scope="module")
def pixels(fashion: LabelledImages) -> Features:
    """1000 real images in random order as features: 49 means over 4 x 4 px."""
    blocks = fashion.images.reshape(1000, 7, 4, 7, 4).mean((2, 4)).reshape(1000, 49) / 255
    return np.random.default_rng(0).permutation(blocks)


def kernel(x: Features, y: Features) -> float:
    return (sum(a * b for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3


def looped_kid(real: Features, synthetic: Features) -> float:
    def within(points: Features) -> float:
        pairs = [(i, j) for i in range(len(points)) for j in range(len(points)) if i != j]
        return sum(kernel(points[i], points[j]) for i, j in pairs) / len(pairs)

    between = sum(kernel(x, y) for x in real for y in synthetic) / (len(real) * len(synthetic))
    return within(real) + within(synthetic) - 2 * between


def looped_share_inside(points: Features, manifold: Features, k: int) -> float:
    """The share of points that lie in a ball around some point of the manifold, up to its k-th nearest neighbour."""
    inside = 0
    for point in points:
        for i, centre in enumerate(manifold):
            others = sorted(dist(centre, other) for j, other in enumerate(manifold) if j != i)
            if dist(point, centre) <= others[k - 1]:
                inside += 1
                break
    return inside / len(points)


def test_kid_agrees_with_loops_over_pairs(pixels: Features) -> None:
    real, synthetic = pixels[:13], pixels[20:29] * 0.7 + 0.1
    assert kid(real, synthetic) == pytest.approx(looped_kid(real, synthetic), rel=1e-9)
    assert kid(synthetic, real) == pytest.approx(kid(real, synthetic), rel=1e-9)


def test_kid_is_about_zero_for_halves_of_one_set_and_grows_with_the_difference(pixels: Features) -> None:
    halves = [kid(half[:500], half[500:]) for half in (np.random.default_rng(s).permutation(pixels) for s in range(20))]
    assert min(halves) < 0 < max(halves)  # unbiased: not always above 0, as a biased estimate is
    changed = [kid(pixels[:500], pixels[500:] * factor) for factor in (0.9, 0.7, 0.4)]
    assert max(np.abs(halves)) < changed[0] < changed[1] < changed[2]


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_and_recall_agree_with_loops(k: int, pixels: Features) -> None:
    real, synthetic = pixels[:40], pixels[50:75] * 0.8
    expected = looped_share_inside(synthetic, real, k), looped_share_inside(real, synthetic, k)
    assert expected[0] != expected[1]
    assert precision_recall(real, synthetic, k=k) == pytest.approx(expected)


def test_one_image_again_and_again_is_precise_and_recalls_little(pixels: Features) -> None:
    precision, recall = precision_recall(pixels[:200], np.repeat(pixels[:1], 50, axis=0))
    assert precision == 1
    assert recall == 1 / 200  # the image itself


def test_images_from_elsewhere_are_not_precise(pixels: Features) -> None:
    assert precision_recall(pixels[:200], pixels[200:300] + 5) == (0, 0)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_set_with_fewer_images_than_neighbours_reaches_to_its_farthest(count: int, pixels: Features) -> None:
    precision, recall = precision_recall(pixels[:count], pixels[:30])
    assert 0 < precision <= 1
    assert recall == 1


def test_copies_of_the_training_set_are_all_memorised(pixels: Features) -> None:
    train, held_out = pixels[:400], pixels[400:700]
    order = np.random.default_rng(1).permutation(400)[:150]
    found = memorisation(train, held_out, train[order] + 1e-6)
    assert found.fraction == 1
    assert np.array_equal(found.nearest, order)
    assert found.distance == pytest.approx(np.full(150, 7e-6))  # 1e-6 in each of 49 dimensions


def test_held_out_real_images_are_memorised_as_seldom_as_the_threshold_says(pixels: Features) -> None:
    train = pixels[:400]
    assert memorisation(train, pixels[400:700], pixels[400:700]).fraction == pytest.approx(0.01, abs=0.004)
    shares = []
    for seed in range(10):  # unseen ones, against other unseen ones
        unseen = np.random.default_rng(seed).permutation(pixels[400:])
        shares.append(memorisation(train, unseen[:300], unseen[300:]).fraction)
    assert 0.003 < np.mean(shares) < 0.025


def test_distances_are_those_to_the_nearest_training_image(pixels: Features) -> None:
    train, held_out, synthetic = pixels[:30], pixels[30:50], pixels[60:67] * 0.9
    found = memorisation(train, held_out, synthetic)
    for image, nearest, distance in zip(synthetic, found.nearest, found.distance, strict=True):
        distances = [dist(image, other) for other in train]
        assert nearest == distances.index(min(distances))
        assert distance == pytest.approx(min(distances))
    reached = sorted(min(dist(image, other) for other in train) for image in held_out)
    assert found.threshold == pytest.approx(reached[0] + 0.19 * (reached[1] - reached[0]))  # 1 % of the way to the 20th
    assert found.fraction == sum(d <= found.threshold for d in found.distance) / 7


def test_copies_are_found_even_if_training_images_are_also_among_the_held_out(pixels: Features) -> None:
    leaked = np.concatenate([pixels[:20], pixels[400:500]])
    found = memorisation(pixels[:400], leaked, np.concatenate([pixels[:3], pixels[700:709]]))
    assert found.threshold == 0
    assert found.fraction == 3 / 12
