"""`augment init` writes a pipeline that loads, with the reasons for its settings as comments."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipelines.config.reading import load_pipeline
from pipelines.config.sections import Pipeline
from pipelines.drafting import draft


@pytest.fixture
def photos(image_folder: Path, tmp_path: Path) -> Path:
    """12 images of two classes and 4 of the third, without test images."""
    photos = Path(shutil.copytree(image_folder / "train", tmp_path / "photos"))
    for file in sorted((photos / "sandal").iterdir())[4:]:
        file.unlink()
    return photos


def drafted(source: Path, tmp_path: Path, *settings: str) -> tuple[str, Pipeline]:
    text = draft([f"data.source={source}", *settings], "mine.yaml")
    (tmp_path / "mine.yaml").write_text(text)
    return text, load_pipeline(str(tmp_path / "mine.yaml"))


def test_the_draft_is_a_pipeline_of_the_source(image_folder: Path, tmp_path: Path) -> None:
    text, pipeline = drafted(image_folder, tmp_path, "data.image_size=12")
    assert (pipeline.data.source, pipeline.data.image_size) == (str(image_folder), 12)
    assert (pipeline.protocol.kind, pipeline.auto) == ("holdout", None)
    assert pipeline.evaluate.repeats == 8
    assert "36 images of 3 classes" in text
    assert "#   augment run mine.yaml --dry-run" in text


def test_imbalanced_classes_decide_as_in_auto(photos: Path, tmp_path: Path) -> None:
    text, pipeline = drafted(photos, tmp_path)
    classifier = pipeline.evaluate.classifier
    assert (classifier.sampling, classifier.long_tail) == ("plain", "logit-adjustment")
    assert pipeline.protocol.kind == "kfold"
    assert pipeline.evaluate.repeats % 4 == 0
    assert pipeline.generator.model_dump()["anchors"] == "pooled-difference"
    assert "classical+resample" in [arm.name for arm in pipeline.evaluate.arms]
    for section, reason in (("protocol", "every image is tested once"), ("generator", "no class has 20 images")):
        before = text[: text.index(f"\n{section}:")]
        assert reason in before.rpartition("\n\n")[2]
