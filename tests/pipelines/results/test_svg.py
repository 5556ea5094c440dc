"""Plots have strips of images, axes with round ticks, and thinned curves."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from pipelines.results.svg import downsample, image_strip, scale_over


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_strip_holds_the_pixels_side_by_side(channels):
    images = np.random.default_rng(0).integers(0, 256, (2, channels, 12, 12)).astype(np.uint8)
    sheet = Image.open(io.BytesIO(base64.b64decode(image_strip(images, 64).split(",")[1])))
    assert sheet.size == (12 + 2 + 12, 12)
    pixel = np.asarray(sheet)[5, 14 + 7]
    assert pixel[:channels].tolist() == images[1, :, 5, 7].tolist()


def test_a_strip_of_large_images_is_reduced_in_proportion():
    sheet = Image.open(io.BytesIO(base64.b64decode(image_strip(np.zeros((3, 3, 40, 80), np.uint8), 20).split(",")[1])))
    assert sheet.size == (3 * 20 + 2 * 2, 10)


def test_an_axis_holds_its_values_between_round_ticks():
    scale = scale_over([-0.7, 0.0, 4.2])
    assert scale.low <= -0.7
    assert scale.high >= 4.2
    assert 0.0 in scale.ticks
    assert [scale.at(scale.low), scale.at((scale.low + scale.high) / 2), scale.at(scale.high)] == [4, 50, 96]


def test_an_axis_over_a_single_value_has_a_width():
    scale = scale_over([3.0, 3.0])
    assert scale.low < 3 < scale.high
    assert scale.high - scale.low >= 0.5


def test_long_curves_are_averaged_over_neighbours():
    steps, values = downsample(range(1200), [float(i % 4) for i in range(1200)])
    assert len(steps) == len(values) == 300
    assert steps[0] == 1.5
    assert set(values) == {1.5}
