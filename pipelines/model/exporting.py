"""`augment export`: a model as one ONNX file, checked against our own predictions before it is written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augment.errors import ConfigError, RunError
from augment.files import write_bytes
from classifiers.export import INPUT, OUTPUT, to_onnx
from classifiers.training import predict
from pipelines.model.saved_model import ClassifierMetadata, SavedModel

TOLERANCE = 1e-4  # of a probability
PRODUCER = "augment export"  # in the file, near its beginning
CHECKED = (1, 33)  # images of the two batches that are compared
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # of Pillow, by the number of channels

SNIPPET = """\
import json, numpy as np, onnxruntime
from PIL import Image
session = onnxruntime.InferenceSession({file!r})
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
picture = Image.open("picture.png").convert({mode!r}).resize(({size}, {size}), Image.LANCZOS)
pixels = np.asarray(picture, np.uint8).reshape(1, {size}, {size}, {channels}).transpose(0, 3, 1, 2)
probabilities = session.run(["{output}"], {{"{input}": pixels}})[0][0]
print(classes[probabilities.argmax()], probabilities.max())"""


def export(model: SavedModel, out: Path) -> float:
    """Write the model as ONNX: pixels, uint8 (N, C, size, size), to probabilities, float32 (N, K).

    The metadata of the file hold `classes`, `image_size`, `resize` and `channels`. Returns the largest difference of a
    probability from our own prediction, on random pixels. Raises `ConfigError` if a package is missing, and
    `RunError` if a difference is above 1e-4; then nothing is written.
    """
    metadata = model.metadata
    content = _with_metadata(to_onnx(model.network, metadata.channels, metadata.image_size), metadata)
    difference = _largest_difference(content, model)
    if not difference <= TOLERANCE:
        raise RunError(f"the ONNX file differs from the model by {difference:.2g} in probability; nothing is written")
    write_bytes(out, content)
    return difference


def snippet(metadata: ClassifierMetadata, out: Path) -> str:
    """Return Python code that classifies a square picture by the exported file."""
    mode = MODES[metadata.channels]
    values = {"size": metadata.image_size, "channels": metadata.channels, "input": INPUT, "output": OUTPUT}
    return SNIPPET.format(file=str(out), mode=mode, **values)


def _with_metadata(content: bytes, metadata: ClassifierMetadata) -> bytes:
    import onnx

    model = onnx.load_from_string(content)
    model.producer_name = PRODUCER
    values = metadata.model_dump(mode="json", include={"classes", "image_size", "resize", "channels"})
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in values.items()})
    serialised: bytes = model.SerializeToString()
    return serialised


def _largest_difference(content: bytes, model: SavedModel) -> float:
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError("exporting needs onnxruntime; run: pip install 'augment-osgan[export]'") from error
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    rng, metadata = np.random.default_rng(0), model.metadata
    differences = []
    for count in CHECKED:
        shape = (count, metadata.channels, metadata.image_size, metadata.image_size)
        pixels = rng.integers(0, 256, shape).astype(np.uint8)
        theirs: NDArray[np.float32] = session.run([OUTPUT], {INPUT: pixels})[0]
        ours = predict(model.network, pixels).exp().numpy()
        differences.append(float(np.abs(theirs - ours).max()))
    return max(differences)
