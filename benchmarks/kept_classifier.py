"""Measure the classifier of `augment train`: its calibration, whether all its forms agree, and how fast it predicts.

    python benchmarks/kept_classifier.py --out DIR --set fashion=fashion.npz --set cifar10=cifar10.npz

For each set it trains on `--per-class` images of each class, without the test images, and measures on the first 2,000
of these: accuracy, and the calibration error without and with the temperature. The MODEL folder and its ONNX file
classify 1,000 of them, and the largest difference of a probability is printed; for the first set, `AugmentClassifier`
is trained too and compared. Then `predict` classifies 3,000 pictures from PNG files, decoding included, on two threads
(`--repeats` times).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image

from augment.dataset.images import LabelledImages
from augment.runtime import Runtime
from classifiers.metrics import expected_calibration_error
from classifiers.training import predict as predict_logits
from pipelines.config.sections import DataConfig
from pipelines.experiment.loading import load
from pipelines.model.estimator import AugmentClassifier
from pipelines.model.exporting import export
from pipelines.model.prediction import predict
from pipelines.model.recipe import choose_recipe
from pipelines.model.saved_model import SavedModel, load_model
from pipelines.model.training import train
from pipelines.process import tune_allocator

CPU = torch.device("cpu")
TESTED, COMPARED, PICTURES, THREADS = 2000, 1000, 3000, 2
MEMBERS = 3


def measure(name: str, data: DataConfig, out: Path, *, flip: bool, repeats: int, jobs: int) -> dict[str, float | str]:
    """Train, measure and return the figures of one set."""
    recipe, folder = choose_recipe(None, horizontal_flip=flip or None), out / name
    train(data, recipe, folder, Runtime(jobs=jobs), members=MEMBERS, keep_test=True)
    saved, loaded = load_model(folder, CPU), load(data)
    assert loaded.test is not None
    test = loaded.test.take(np.arange(min(TESTED, len(loaded.test))))
    after = probabilities(saved, test)
    temperature, saved.network.temperature = saved.network.temperature, torch.tensor(1.0)
    before = probabilities(saved, test)
    saved.network.temperature = temperature
    few = np.ascontiguousarray(test.images[:COMPARED])
    export(saved, out / f"{name}.onnx")
    (exported,) = onnxruntime.InferenceSession(out / f"{name}.onnx").run(["probabilities"], {"pixels": few})
    ours = after[: len(few)]
    speeds = pictures_per_second(saved, test, repeats)
    return {
        "set": name,
        "test images": len(test),
        "accuracy": float((after.argmax(1) == test.labels).mean()),
        "temperature": float(temperature),
        "calibration error before": expected_calibration_error(before, test.labels),
        "calibration error after": expected_calibration_error(after, test.labels),
        "ONNX differs by": float(np.abs(exported - ours).max()),
        "pictures per second": statistics.median(speeds),
        "slowest": min(speeds),
    }


def estimator_differs_by(saved: SavedModel, data: DataConfig, jobs: int) -> float:
    """Return the largest difference of a probability between the model and `AugmentClassifier`, on test images."""
    loaded = load(data)
    assert loaded.test is not None
    test = loaded.test.take(np.arange(COMPARED))
    flip = saved.metadata.recipe.evaluate.horizontal_flip
    estimator = AugmentClassifier(
        members=MEMBERS, calibrated=True, horizontal_flip=flip, image_size=test.size, jobs=jobs
    ).fit(channels_last(loaded.train), loaded.train.labels)
    return float(np.abs(estimator.predict_proba(channels_last(test)) - probabilities(saved, test)).max())


def probabilities(saved: SavedModel, data: LabelledImages) -> NDArray[np.float64]:
    """Return the probabilities of the classes by the model: float64, N x K."""
    p: NDArray[np.float64] = predict_logits(saved.network, data.images).double().exp().numpy()
    return p


def channels_last(data: LabelledImages) -> NDArray[np.uint8]:
    """Return the images as scikit-learn's users have them: N x H x W, or N x H x W x C."""
    return data.images[:, 0] if data.channels == 1 else data.images.transpose(0, 2, 3, 1)


def pictures_per_second(saved: SavedModel, test: LabelledImages, repeats: int) -> list[float]:
    """Return the speed of `predict` on PNG files, for each repeat."""
    torch.set_num_threads(THREADS)
    speeds = []
    with tempfile.TemporaryDirectory() as folder:
        pictures = channels_last(test)
        for i in range(PICTURES):
            Image.fromarray(pictures[i % len(test)]).save(Path(folder, f"{i}.png"))
        for _ in range(repeats):
            start = time.perf_counter()
            predict(saved, [folder], Path(folder).with_suffix(".csv"), Runtime(jobs=THREADS))
            speeds.append(PICTURES / (time.perf_counter() - start))
            Path(folder).with_suffix(".csv").unlink()
    return speeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", action="append", required=True, metavar="NAME=FILE", dest="sets")
    parser.add_argument("--flip", nargs="*", default=[], metavar="NAME", help="sets that look the same when mirrored")
    parser.add_argument("--per-class", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    tune_allocator()
    for name, path in (pair.split("=", 1) for pair in options.sets):
        data = DataConfig(source=path, samples_per_class=options.per_class, largest_size=32)
        row = measure(name, data, options.out, flip=name in options.flip, repeats=options.repeats, jobs=options.jobs)
        print(json.dumps(row), flush=True)
    name, path = options.sets[0].split("=", 1)
    first = DataConfig(source=path, samples_per_class=options.per_class, largest_size=32)
    difference = estimator_differs_by(load_model(options.out / name, CPU), first, options.jobs)
    print(f"{name}: AugmentClassifier differs by {difference:.1g}")


if __name__ == "__main__":
    main()
