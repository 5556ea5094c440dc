"""Fidelity measures agree with loops over pairs of images, and know copies from new images."""

from __future__ import annotations

from math import dist
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from augment.dataset.images import LabelledImages
from augment.errors import InputError
from augment.fidelity import Features, density_coverage, distinctness, fid, kid, memorisation, precision_recall, spread


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


def looped_density_and_coverage(real: Features, synthetic: Features, k: int) -> tuple[float, float]:
    """How many balls around real points hold each synthetic one, over k, and the share of balls that hold any."""
    held = np.zeros((len(real), len(synthetic)))
    for i, centre in enumerate(real):
        radius = sorted(dist(centre, other) for j, other in enumerate(real) if j != i)[k - 1]
        for j, point in enumerate(synthetic):
            held[i, j] = dist(point, centre) <= radius
    return held.sum() / (k * len(synthetic)), sum(row.any() for row in held) / len(real)


def test_kid_over_all_images_at_once_agrees_with_loops_over_pairs(pixels: Features) -> None:
    real, synthetic = pixels[:11], pixels[20:31] * 0.7 + 0.1
    found = kid(real, synthetic, subset_size=11, subsets=1)
    assert found == (pytest.approx(looped_kid(real, synthetic), rel=1e-9), 0, 11)


def test_kid_over_subsets_is_that_over_all_images_up_to_its_spread(pixels: Features) -> None:
    real, synthetic = pixels[:60], pixels[100:140] * 0.7 + 0.1
    found = kid(real, synthetic)
    assert found.subset_size == 20  # half of the smaller set
    assert found.std > 0
    assert found.mean == pytest.approx(looped_kid(real, synthetic), abs=3 * found.std / 10)


def test_subsets_of_large_sets_stop_growing(pixels: Features) -> None:
    assert [kid(pixels[:n], pixels, subsets=1).subset_size for n in (2, 3, 9, 999, 1000)] == [2, 2, 4, 499, 500]
    twice = np.concatenate([pixels, pixels])
    assert kid(twice, twice * 0.9, subsets=1).subset_size == 500


def test_kid_follows_its_seed_alone(pixels: Features) -> None:
    state = torch.random.get_rng_state()
    first, again, other = (kid(pixels[:30], pixels[30:90], seed=seed).mean for seed in (1, 1, 2))
    assert first == again != other
    assert torch.equal(torch.random.get_rng_state(), state)


def test_kid_is_near_zero_within_one_set_and_grows_with_the_difference(pixels: Features) -> None:
    halves = []
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(pixels)
        halves.append(kid(order[:500], order[500:]).mean)
    assert min(halves) < 0 < max(halves)  # unbiased: not always above 0, as a biased estimate is
    changed = [kid(pixels[:500], pixels[500:] * factor).mean for factor in (0.9, 0.7, 0.4)]
    assert max(np.abs(halves)) < changed[0] < changed[1] < changed[2]


def test_fid_agrees_with_the_square_root_of_the_matrix(pixels: Features) -> None:
    real, synthetic = pixels[:300], pixels[300:420] * 0.8
    c_real, c_synthetic = np.cov(real.T), np.cov(synthetic.T)
    between = np.sum((real.mean(0) - synthetic.mean(0)) ** 2)
    expected = between + np.trace(c_real + c_synthetic - 2 * sqrtm(c_real @ c_synthetic).real)
    assert fid(real, synthetic) == pytest.approx(expected, rel=1e-6)
    assert fid(real, real) == pytest.approx(0, abs=1e-6)


def test_fid_is_refused_with_fewer_than_two_images_a_feature(pixels: Features) -> None:
    assert fid(pixels[:98], pixels[98:196]) > 0
    with pytest.raises(InputError, match=r"98 images of each kind, .* the 49 features, and got 97 real and 98 synth"):
        fid(pixels[:97], pixels[98:196])
    with pytest.raises(InputError, match="got 98 real and 97 synthetic"):
        fid(pixels[:98], pixels[98:195])


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


@pytest.mark.parametrize("k", [1, 3, 5])
def test_density_and_coverage_agree_with_loops(k: int, pixels: Features) -> None:
    real, synthetic = pixels[:40], pixels[50:75] * 0.8
    expected = looped_density_and_coverage(real, synthetic, k)
    assert expected[0] != expected[1]
    assert density_coverage(real, synthetic, k=k) == pytest.approx(expected)


def test_density_and_coverage_agree_with_loops_where_images_are_repeated(pixels: Features) -> None:
    real, synthetic = np.repeat(pixels[:6], [1, 1, 2, 4, 7, 9], axis=0), np.repeat(pixels[4:9], 3, axis=0)
    assert density_coverage(real, synthetic) == pytest.approx(looped_density_and_coverage(real, synthetic, 5))
    assert density_coverage(real[-9:], real[-9:]) == (9 / 5, 1)  # balls of radius 0, each of which holds all 9


def test_new_real_images_have_a_density_of_one_and_cover_the_others(pixels: Features) -> None:
    density, coverage = density_coverage(pixels[:500], pixels[500:])
    assert density == pytest.approx(1, abs=0.15)
    assert coverage == pytest.approx(1 - 0.5**5, abs=0.03)  # as Naeem et al. derive for equally many


def test_one_image_again_and_again_is_dense_and_covers_little(pixels: Features) -> None:
    typical = pixels[:1]
    density, coverage = density_coverage(pixels[1:200], np.repeat(typical, 50, axis=0))
    assert density * 5 == round(density * 5) > 0  # the balls that hold it
    assert coverage == pytest.approx(density * 5 / 199)


def test_one_stray_image_makes_recall_and_neither_density_nor_coverage(pixels: Features) -> None:
    strays = pixels[:4] + 5 * np.eye(49)[:4]  # far off and far from each other, so that their balls hold everything
    assert precision_recall(pixels[10:200], strays) == (0, 1)
    assert density_coverage(pixels[10:200], strays) == (0, 0)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_set_with_fewer_images_than_neighbours_has_a_density_too(count: int, pixels: Features) -> None:
    assert density_coverage(pixels[:count], pixels[:count])[1] == 1
    assert density_coverage(pixels[:count], pixels[:count])[0] == count / max(count - 1, 1)  # all balls hold all
    assert density_coverage(pixels[:count], pixels[:1] + 5) == (0, 0)


def test_copies_of_the_training_set_are_all_memorised(pixels: Features) -> None:
    train, held_out = pixels[:400], pixels[400:700]
    order = np.random.default_rng(1).permutation(400)[:150]
    found = memorisation(train, held_out, train[order] + 1e-6)
    assert found.fraction == 1
    assert np.array_equal(found.nearest, order)
    assert found.distance == pytest.approx(np.full(150, 7e-6))  # 1e-6 in each of 49 dimensions


def test_held_out_real_images_are_memorised_as_rarely_as_the_threshold_allows(pixels: Features) -> None:
    train = pixels[:400]
    assert memorisation(train, pixels[400:700], pixels[400:700]).fraction == pytest.approx(0.01, abs=0.004)
    shares = []
    for seed in range(10):  # unseen ones, against other unseen ones
        unseen = np.random.default_rng(seed).permutation(pixels[400:])
        shares.append(memorisation(train, unseen[:300], unseen[300:]).fraction)
    assert 0.003 < np.mean(shares) < 0.025


@pytest.mark.parametrize("count", [5, 20, 80])
def test_the_fraction_expected_by_chance_allows_for_few_held_out_images(count: int, pixels: Features) -> None:
    shares, by_chance = [], 0.0
    for seed in range(60):
        order = np.random.default_rng(seed).permutation(pixels)
        found = memorisation(order[:300], order[300 : 300 + count], order[500:])
        shares.append(found.fraction)
        by_chance = found.by_chance
    assert by_chance > 0.015  # more than the 1 % that the quantile asks for
    assert by_chance == pytest.approx(np.mean(shares), abs=4 * np.std(shares) / 60**0.5)


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


def test_copies_are_found_though_training_images_are_also_held_out(pixels: Features) -> None:
    leaked = np.concatenate([pixels[:20], pixels[400:500]])
    found = memorisation(pixels[:400], leaked, np.concatenate([pixels[:3], pixels[700:709]]))
    assert found.threshold == 0
    assert found.fraction == 3 / 12


def test_spread_is_the_ratio_of_distances_from_the_mean(pixels: Features) -> None:
    real, synthetic = pixels[:30], pixels[40:60]

    def from_mean(points: Features) -> float:
        centre = points.mean(0)
        return float(np.mean([dist(p, centre) ** 2 for p in points]) ** 0.5)

    assert spread(real, synthetic) == pytest.approx(from_mean(synthetic) / from_mean(real[:20]))


def test_distinctness_is_the_ratio_of_median_nearest_distances(pixels: Features) -> None:
    real, synthetic = pixels[:30], pixels[40:60]

    def median_nearest(points: Features) -> float:
        numbered = list(enumerate(points))
        return float(np.median([min(dist(p, q) for j, q in numbered if j != i) for i, p in numbered]))

    assert distinctness(real, synthetic) == pytest.approx(median_nearest(synthetic) / median_nearest(real[:20]))


@pytest.mark.parametrize("different", [1, 2, 5])
def test_a_few_images_again_and_again_are_not_distinct(different: int, pixels: Features) -> None:
    repeated = pixels[40 + np.arange(20) % different]
    assert distinctness(pixels[:20], repeated) == 0
    assert (spread(pixels[:20], repeated) < 1e-9) == (different == 1)


@pytest.mark.parametrize("measure", [spread, distinctness])
@pytest.mark.parametrize("count", [6, 20, 50])
def test_real_images_of_a_class_are_as_varied_as_others(measure: Any, count: int, fashion: LabelledImages) -> None:
    for k in range(10):
        of_class = fashion.images[fashion.labels == k].reshape(100, -1).astype(float)
        assert 0.5 < measure(of_class[:count], of_class[50 : 50 + count]) < 2


def test_synthetic_images_may_repeat_as_often_as_real_ones_do(pixels: Features) -> None:
    assert spread(pixels[[0, 0, 0]], pixels[[3, 3, 3]]) == 1
    assert distinctness(pixels[[0, 0, 0]], pixels[[3, 3, 3]]) == 1
