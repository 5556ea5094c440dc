"""Every class shows the pair that looks most like a copy."""

from __future__ import annotations

import numpy as np
import pytest

from augment.dataset.images import LabelledImages
from augment.fidelity import memorisation
from pipelines.results.closest_pairs import closest_pairs
from pipelines.results.fidelity_evaluation import Fidelity


def flat(images: LabelledImages) -> np.ndarray:
    return images.images.reshape(len(images), -1) / 255


@pytest.fixture(scope="module")
def compared(fashion: LabelledImages) -> tuple[Fidelity, LabelledImages]:
    """30 training and 20 "synthetic" images of each class, of which 12 trousers are training images made darker."""
    places = [np.flatnonzero(fashion.labels == k) for k in range(10)]
    train, held_out, synthetic = (
        fashion.take(np.concatenate([p[a:b] for p in places])) for a, b in ((0, 30), (30, 50), (50, 70))
    )
    images = synthetic.images.copy()
    images[20:32] = train.images[35:47] - train.images[35:47] // 16
    synthetic = LabelledImages(images, synthetic.labels, synthetic.class_names)
    memory = memorisation(flat(train), flat(held_out), flat(synthetic))
    return Fidelity({}, synthetic, memory), train


def test_the_closest_pair_of_every_class_is_shown(compared: tuple[Fidelity, LabelledImages]) -> None:
    fidelity, train = compared
    pairs = closest_pairs(*compared)
    assert {name for *_, name in pairs} == set(train.class_names)
    for k, name in enumerate(train.class_names):
        least = fidelity.memorisation.distance[fidelity.synthetic.labels == k].min()
        assert min(distance for *_, distance, of_class in pairs if of_class == name) == least


def test_the_closest_of_all_are_shown_first(compared: tuple[Fidelity, LabelledImages]) -> None:
    fidelity, _ = compared
    pairs = closest_pairs(*compared)
    distances = [distance for _, _, distance, _ in pairs]
    assert distances[:8] == sorted(fidelity.memorisation.distance)[:8]
    assert distances == sorted(distances)
    assert len(pairs) == 8 + 9  # the first eight are all trousers
    assert {name for *_, name in pairs[:8]} == {"trouser"}


def test_a_pair_is_a_synthetic_image_and_its_nearest_training_image(compared: tuple[Fidelity, LabelledImages]) -> None:
    _, train = compared
    for synthetic, real, distance, _ in closest_pairs(*compared):
        distances = np.linalg.norm(flat(train) - synthetic.reshape(1, -1) / 255, axis=1)
        assert np.array_equal(real, train.images[distances.argmin()])
        assert distance == pytest.approx(distances.min())


def test_a_class_without_synthetic_images_has_no_pair(compared: tuple[Fidelity, LabelledImages]) -> None:
    fidelity, train = compared
    kept = np.flatnonzero(fidelity.synthetic.labels < 2)[:24]
    memory = memorisation(flat(train), flat(train), flat(fidelity.synthetic.take(kept)))
    pairs = closest_pairs(Fidelity({}, fidelity.synthetic.take(kept), memory), train)
    assert {name for *_, name in pairs} == {"t-shirt", "trouser"}
