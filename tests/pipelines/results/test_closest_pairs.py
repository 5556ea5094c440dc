"""Every class shows the pair that looks most like a copy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from augment.dataset.images import LabelledImages
from augment.fidelity import Memorisation, memorisation
from pipelines.results.closest_pairs import Pair, closest_pairs, pictures_of


def flat(images: LabelledImages) -> np.ndarray:
    return images.images.reshape(len(images), -1) / 255


class Compared(NamedTuple):
    """Training and "synthetic" images with their distances."""

    train: LabelledImages
    synthetic: LabelledImages
    memory: Memorisation

    def pairs(self) -> list[Pair]:
        return pictures_of(closest_pairs(self.memory, self.synthetic.labels), self.synthetic, self.train)


@pytest.fixture(scope="module")
def compared(fashion: LabelledImages) -> Compared:
    """30 training and 20 "synthetic" images of each class, of which 12 trousers are training images made darker."""
    places = [np.flatnonzero(fashion.labels == k) for k in range(10)]
    train, held_out, synthetic = (
        fashion.take(np.concatenate([p[a:b] for p in places])) for a, b in ((0, 30), (30, 50), (50, 70))
    )
    images = synthetic.images.copy()
    images[20:32] = train.images[35:47] - train.images[35:47] // 16
    synthetic = LabelledImages(images, synthetic.labels, synthetic.class_names)
    return Compared(train, synthetic, memorisation(flat(train), flat(held_out), flat(synthetic)))


def test_the_closest_pair_of_every_class_is_shown(compared: Compared) -> None:
    pairs, names = compared.pairs(), compared.train.class_names
    assert {name for *_, name in pairs} == set(names)
    for k, name in enumerate(names):
        least = compared.memory.distance[compared.synthetic.labels == k].min()
        assert min(distance for *_, distance, of_class in pairs if of_class == name) == least


def test_the_closest_of_all_are_shown_first(compared: Compared) -> None:
    pairs = compared.pairs()
    distances = [distance for _, _, distance, _ in pairs]
    assert distances[:8] == sorted(compared.memory.distance)[:8]
    assert distances == sorted(distances)
    assert len(pairs) == 8 + 9  # the first eight are all trousers
    assert {name for *_, name in pairs[:8]} == {"trouser"}


def test_a_pair_is_a_synthetic_image_and_its_nearest_training_image(compared: Compared) -> None:
    train = compared.train
    for synthetic, real, distance, _ in compared.pairs():
        distances = np.linalg.norm(flat(train) - synthetic.reshape(1, -1) / 255, axis=1)
        assert np.array_equal(real, train.images[distances.argmin()])
        assert distance == pytest.approx(distances.min())


def test_a_class_without_synthetic_images_has_no_pair(compared: Compared) -> None:
    few = compared.synthetic.take(np.flatnonzero(compared.synthetic.labels < 2)[:24])
    memory = memorisation(flat(compared.train), flat(compared.train), flat(few))
    pairs = Compared(compared.train, few, memory).pairs()
    assert {name for *_, name in pairs} == {"t-shirt", "trouser"}
