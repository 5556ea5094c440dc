"""Sample grids: a row a class, a column a noise, in the right places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fitting import SMALL, fit
from PIL import Image
from tensors import weights

from augment.dataset.images import LabelledImages, to_uint8
from augment.gan.networks import Shape, build
from augment.gan.noise import noise_from_seeds
from augment.generators.previews import tile
from augment.tensor_files import load_network, unprefixed


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_images_are_tiled_row_by_row_and_the_rest_is_white(channels: int, mode: str, shoes: LabelledImages) -> None:
    images = np.repeat(shoes.images[:5], channels, axis=1)
    images[:, -1] //= 2
    picture = tile(images, 3)
    assert (picture.mode, picture.size) == (mode, (3 * 36, 2 * 36))
    pixels = np.asarray(picture).reshape(2, 36, 3, 36, channels)[:, ::3, :, ::3]
    for i, image in enumerate(images):
        assert np.array_equal(pixels[i // 3, :, i % 3].transpose(2, 0, 1), image)
    assert (pixels[1, :, 2] == 255).all()


@pytest.mark.parametrize("channels", [2, 4])
def test_images_of_odd_channels_are_shown_by_their_first(channels: int, shoes: LabelledImages) -> None:
    images = np.repeat(shoes.images[:2], channels, axis=1)
    images[:, -1] = 0
    first = tile(images[:, : {2: 1, 4: 3}[channels]], 2)
    assert np.array_equal(np.asarray(tile(images, 2)), np.asarray(first))


def test_a_sample_grid_is_of_averaged_weights_by_class_and_noise(shoes: LabelledImages, tmp_path: Path) -> None:
    fit(shoes, SMALL, tmp_path)
    with Image.open(tmp_path / "samples/step-00000012.png") as picture:
        grid = np.asarray(picture)
    assert grid.shape == (3 * 36, 10 * 36)
    cell = grid[2 * 36 : 3 * 36 : 3, 4 * 36 : 5 * 36 : 3].astype(int)
    generator = build("projection", Shape(3, 1, 12, 4, 8), seed=0).generator.eval()
    averaged = unprefixed("ema", weights(tmp_path / "checkpoints/step-00000012.safetensors"))
    load_network(generator, averaged)
    image = to_uint8(generator(noise_from_seeds([4], 8), torch.tensor([2])))[0, 0]
    assert np.abs(cell - image.numpy()).max() <= 1  # another batch size may round another way
