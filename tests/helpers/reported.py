"""Results of an evaluation with every section of a report, under hostile names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from toy import record

from augment.dataset.images import LabelledImages
from pipelines.config.arm_section import Arm
from pipelines.experiment.folds import Design
from pipelines.results.document import Dataset
from pipelines.results.hard_images import HardImage
from pipelines.results.report import Pictures
from pipelines.results.results import build_results

CLASSES = ("boot", "<script>alert(1)</script>", 'a "quoted" & hostile name', "empty")
SETTINGS = {"data": {"source": Path("sets/toy.npz")}, "classifier": {"steps": 300, "sizes": (8, 12)}}
GAIN = (0.02, 0.04, 0.01, 0.03, 0.05, 0.03)
ARMS = [
    Arm(name="plain<b>"),
    Arm(name="more", synthetic=True),
    Arm(name="alone", real=False, synthetic=True),
]


def results_of(arms=ARMS, gain=GAIN):
    records = []
    for arm in arms:
        for r, g in enumerate(gain):
            accuracy = 0.7 + 0.01 * r + g * arm.synthetic
            counts = [[7, 2, 1, 0], [1, 5, 4, 0], [0, 3, 7, 0], [0, 0, 0, 0]]
            metrics = dict.fromkeys(("accuracy", "balanced_accuracy", "macro_f1"), accuracy)
            metrics |= {"pairwise_auc": 0.9, "log_loss": 0.5, "expected_calibration_error": 0.1}
            recalls = [accuracy, 0.5, 0.7, None]
            records.append(
                record(r, arm.name, 0.0, metrics=metrics, per_class_recall=recalls, confusion=counts, seed=70 + r)
            )
    counts = dict.fromkeys(CLASSES, 9)
    dataset = Dataset(name="toy", classes=list(CLASSES), train_per_class=counts, test_size=30, image_size=8)
    return build_results(records, arms, dataset, Design(), 1.0)


def images_of(labels, channels=1, size=8):
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), channels, size, size)).astype(np.uint8)
    return LabelledImages(pixels, np.array(labels, np.int64), CLASSES)


def pictures():
    real, synthetic = images_of([0, 0, 1, 2, 2, 3]), images_of([0, 1, 1, 2])
    pairs = [
        (synthetic.images[0], real.images[1], 3.25, "boot"),
        (synthetic.images[1], real.images[2], 1.5, CLASSES[1]),
    ]
    curves = {"generator loss": ([0, 50, 100], [1.5, float("nan"), 1.25]), "discriminator loss": ([0, 100], [1.0, 1.0])}
    hard = [HardImage(real.images[3], CLASSES[1], "boot", 5, 6), HardImage(real.images[4], "empty", CLASSES[2], 4, 6)]
    return Pictures(real, synthetic, pairs, curves, hard)


def full_results():
    fidelity = {
        "features": "own classifier",
        "kid": -0.0123,
        "fid": None,
        "fid_note": "FID needs <b>256</b> images",
        "recall": float("nan"),
        "own_score": 3000,
        "per_class": {
            "coverage": {"boot": 0.25, "empty": None},
            "kid": dict.fromkeys(CLASSES, 1234.5),
            "density": dict.fromkeys(CLASSES),
            "precision": {"boot": 1.0, CLASSES[2]: float("nan")},
        },
    }
    extra = {"versions": {"torch": "2.9.1"}, "warnings": ["2 near duplicates <here>."]}
    return results_of().model_copy(update={"fidelity": fidelity, **extra})
