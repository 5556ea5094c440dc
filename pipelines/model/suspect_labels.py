"""Find training images whose labels look wrong, by ensembles that have not seen them.

By confident learning (Northcutt et al., JAIR 2021, arXiv 1911.00068), as cleanlab implements it (extra `labels`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from importlib.util import find_spec
from typing import NamedTuple

from augment.dataset.images import LabelledImages
from classifiers.ensemble import Ensemble
from classifiers.metrics import softmax
from pipelines.experiment.loading import Names
from pipelines.model.cross_validation import OutOfFoldPredictions

SUSPECTS = "suspect-labels.csv"
COLUMNS = ("path", "label", "suggested", "probability_of_label", "probability_of_suggested")


class Suspect(NamedTuple):
    """An image whose label looks wrong. image: its place among all. probability: of its label, and of `suggested`."""

    image: int
    label: int
    suggested: int
    probability: float
    of_suggested: float


def can_check_labels() -> bool:
    """Return whether cleanlab is installed, so that labels can be checked."""
    return find_spec("cleanlab") is not None


def find_suspects(unseen: OutOfFoldPredictions, network: Ensemble) -> list[Suspect]:
    """Return the images whose labels look wrong, the least probable label first. network: calibrated on `unseen`."""
    from cleanlab.filter import find_label_issues

    z = (unseen.log_probabilities - network.shift.double().numpy()) / float(network.temperature)
    p, labels = softmax(z), unseen.labels
    found = find_label_issues(labels, p, return_indices_ranked_by="self_confidence", n_jobs=1)
    return [
        Suspect(int(unseen.indices[i]), int(labels[i]), int(p[i].argmax()), float(p[i, labels[i]]), float(p[i].max()))
        for i in found
    ]


def as_csv(found: Sequence[Suspect], data: LabelledImages, names: Names) -> str:
    """Return a table with a line for each suspect. data: all images. names: of images, by their hashes and labels."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in found:
        name = names.get((data.hashes[one.image], one.label), f"image {one.image}")
        classes = data.class_names[one.label], data.class_names[one.suggested]
        writer.writerow([name, *classes, f"{one.probability:.3f}", f"{one.of_suggested:.3f}"])
    return file.getvalue()
