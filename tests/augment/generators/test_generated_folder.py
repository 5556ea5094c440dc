"""A generated folder is a source with the right labels, and replaces nothing but its own files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fitting import TINY, files_of, fit

from augment.dataset.images import LabelledImages
from augment.dataset.sources import read_source
from augment.errors import ConfigError, OutputError
from augment.generators.base import Model
from augment.generators.generated_folder import FORMATS, generate_folder, requested_counts
from augment.generators.registry import load_model
from augment.generators.sampling import SyntheticImages, generate
from augment.identity import Identity
from augment.output_folders import open_output
from augment.runtime import Observer, Task

HOSTILE = (
    "a/b", "CON", "con", "a[1]", "a1", "*", "..", ".hidden", "train", "manifest.csv", "100%", 'comma, "quote"',
    "two\nlines", "carriage\rreturn", " spaces ", "ü", "u\u0308", "靴", "C:\\x", "x" * 300,
)  # fmt: skip

formats = pytest.mark.parametrize("format", FORMATS)


@pytest.fixture(scope="module")
def run(shoes: LabelledImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthesis") / "run"
    fit(shoes, TINY, folder)
    return folder


@pytest.fixture(scope="module")
def model(run: Path) -> Model:
    return load_model(run)


def synthetic(fashion: LabelledImages, *class_names: str, per_class: int = 2, channels: int = 1) -> SyntheticImages:
    """Different real pictures, as if they had been generated for classes of these names."""
    count = per_class * len(class_names)
    labels = np.repeat(np.arange(len(class_names)), per_class)
    images = np.repeat(fashion.images[::7][:count], channels, axis=1)
    images[:, -1, 0] = 77  # so that a swapped channel shows
    data = LabelledImages(images, labels, class_names)
    return SyntheticImages(data, np.arange(count, dtype=np.uint64) + 2**62, np.linspace(-1, 1, count, dtype=np.float32))


def pictures(data: LabelledImages) -> list[tuple[str, bytes]]:
    """The (class name, pixels) of every image, in an order that does not depend on theirs."""
    names = [data.class_names[label] for label in data.labels]
    return sorted((name, image.tobytes()) for name, image in zip(names, data.images, strict=True))


def write_images(made: SyntheticImages, folder: Path, format: str, *, overwrite: bool = False) -> None:
    """Write images as `generate_folder` does."""
    form, classes = FORMATS[format], {"classes": made.data.class_names}
    files = form.files(made.data.class_names, made.data.labels)
    options = {"files": files, "overwrite": overwrite, "replace": "unfinished"}
    with open_output(folder, "generate", Identity(data=classes), **options) as output:  # type: ignore[arg-type]
        form.write(made, output)
        output.finish()


def check_source(folder: Path, made: SyntheticImages) -> None:
    source = read_source(folder, complete=False)
    assert source.train.images.shape[1:] == made.data.images.shape[1:]
    assert pictures(source.train) == pictures(made.data)


@formats
@pytest.mark.parametrize("channels", [1, 3])
def test_an_output_is_a_source_whatever_its_classes_are_called(
    format: str, channels: int, fashion: LabelledImages, tmp_path: Path
) -> None:
    made = synthetic(fashion, *HOSTILE, channels=channels)
    write_images(made, tmp_path / "out", format)
    check_source(tmp_path / "out", made)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@formats
@pytest.mark.parametrize("name", HOSTILE)
def test_a_class_without_images_beside_a_single_one_does_no_harm(
    format: str, name: str, fashion: LabelledImages, tmp_path: Path
) -> None:
    made = synthetic(fashion, name, "empty")
    made = SyntheticImages(made.data.take(np.array([1, 0])), made.seeds[1::-1], made.scores[1::-1])
    write_images(made, tmp_path / "out", format)
    check_source(tmp_path / "out", made)


@formats
def test_a_run_goes_from_its_counts_to_a_source(format: str, model: Model, tmp_path: Path) -> None:
    counts = requested_counts(model, per_class=None, balance=True, counts={})
    assert generate_folder(model, counts, tmp_path / "out", format, seed=1)
    check_source(tmp_path / "out", generate(model, counts, seed=1))


@formats
def test_generating_the_same_again_is_noted_and_writes_nothing(format: str, model: Model, tmp_path: Path) -> None:
    assert generate_folder(model, {"sneaker": 2}, tmp_path / "out", format, seed=1)
    before = files_of(tmp_path)
    assert not generate_folder(model, {"sneaker": 2}, tmp_path / "out", format, seed=1)
    assert files_of(tmp_path) == before
    for counts, seed in (({"sneaker": 3}, 1), ({"sneaker": 2}, 2)):
        with pytest.raises(OutputError, match=r"was started with other settings \(other (counts|seed)\)"):
            generate_folder(model, counts, tmp_path / "out", format, seed=seed)
    assert files_of(tmp_path) == before


@formats
def test_a_half_written_output_is_replaced_even_with_other_settings(format: str, model: Model, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        generate_folder(model, {"sneaker": 9}, tmp_path / "out", format, seed=1, observer=Killed())
    assert generate_folder(model, {"sandal": 2}, tmp_path / "out", format, seed=1)
    check_source(tmp_path / "out", generate(model, {"sandal": 2}, seed=1))


class Killed(Observer):
    """A process that dies with its first images."""

    def on_progress(self, task: Task, done: int, metrics: Mapping[str, float], label: str = "") -> None:
        raise RuntimeError("killed")


def test_images_without_scores_have_no_column_of_them(fashion: LabelledImages, tmp_path: Path) -> None:
    made = replace(synthetic(fashion, "b", "a"), scores=None)
    write_images(made, tmp_path / "png", "png")
    assert (tmp_path / "png/manifest.csv").read_text().splitlines()[0] == "path,label,seed"
    write_images(made, tmp_path / "npz", "npz")
    with np.load(tmp_path / "npz/images.npz") as archive:
        assert archive["train_seeds"].tolist() == made.seeds.tolist()
        assert "train_scores" not in archive


def test_seeds_and_scores_are_beside_the_images(fashion: LabelledImages, tmp_path: Path) -> None:
    made = synthetic(fashion, "b", "a")
    write_images(made, tmp_path / "png", "png")
    header, *rows = (tmp_path / "png/manifest.csv").read_text().splitlines()
    assert header == "path,label,seed,scores"
    assert rows[2].split(",")[:3] == ["a/000000.png", "a", str(2**62 + 2)]
    assert [float(row.split(",")[3]) for row in rows] == pytest.approx(made.scores.tolist())
    write_images(made, tmp_path / "npz", "npz")
    with np.load(tmp_path / "npz/images.npz") as archive:
        assert archive["train_seeds"].tolist() == made.seeds.tolist()
        assert archive["train_scores"].tolist() == made.scores.tolist()


@pytest.mark.parametrize("before", FORMATS)
@pytest.mark.parametrize("after", FORMATS)
def test_overwrite_replaces_an_older_output_and_keeps_foreign_files(
    before: str, after: str, fashion: LabelledImages, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    write_images(synthetic(fashion, "sandal", "a[1]", "old", per_class=3), out, before)
    mine = {"notes.txt": b"mine"} | ({"sandal/photo.png": b"mine"} if before == after == "png" else {})
    for name, content in mine.items():
        (out / name).write_bytes(content)
    made = synthetic(fashion, "sandal", "new", "a[1]")
    write_images(made, out, after, overwrite=True)
    check_source(out, made)
    now = files_of(out)
    assert mine.items() <= now.items()
    assert len(now) == len(mine) + 1 + (len(made.data) + 1 if after == "png" else 1)  # 1 for the marker


@formats
def test_without_overwrite_an_older_output_stays(format: str, fashion: LabelledImages, tmp_path: Path) -> None:
    write_images(synthetic(fashion, "a", "b"), tmp_path / "out", format)
    before = files_of(tmp_path)
    with pytest.raises(OutputError, match=r"was started with other settings .* or give --overwrite"):
        write_images(synthetic(fashion, "c", "b"), tmp_path / "out", format)
    assert files_of(tmp_path) == before


@formats
@pytest.mark.parametrize("overwrite", [False, True])
def test_foreign_files_under_the_new_names_are_never_replaced(
    format: str, overwrite: bool, fashion: LabelledImages, tmp_path: Path
) -> None:
    for name in ("a[1]/000001.png", "images.npz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(OutputError):
        write_images(synthetic(fashion, "a[1]", "b"), tmp_path, format, overwrite=overwrite)
    assert files_of(tmp_path) == {"a[1]/000001.png": b"mine", "images.npz": b"mine"}


def test_a_class_name_with_brackets_is_no_pattern(fashion: LabelledImages, tmp_path: Path) -> None:
    made = synthetic(fashion, "a[1]", "b")
    write_images(made, tmp_path, "png")
    (tmp_path / "a1").mkdir()
    (tmp_path / "a1/000000.png").write_bytes(b"mine")  # what the pattern a[1]/000000.png would match
    write_images(made, tmp_path, "png", overwrite=True)
    assert (tmp_path / "a1/000000.png").read_bytes() == b"mine"


def test_counts_come_from_exactly_one_of_three_ways(model: Model) -> None:
    def counts(**ways: object) -> dict[str, int]:
        return requested_counts(model, **{"per_class": None, "balance": False, "counts": {}, **ways})  # type: ignore[arg-type]

    assert counts(per_class=7) == {"sandal": 7, "sneaker": 7, "ankle-boot": 7}
    assert counts(balance=True) == {"sandal": 0, "sneaker": 3, "ankle-boot": 5}
    assert counts(counts={"sneaker": 2}) == {"sneaker": 2}
    for wrong in (
        {},
        {"per_class": 7, "balance": True},
        {"per_class": 0, "balance": True},
        {"per_class": 7, "counts": {"sneaker": 2}},
        {"balance": True, "counts": {"sneaker": 2}},
        {"per_class": 7, "balance": True, "counts": {"sneaker": 2}},
    ):
        with pytest.raises(ConfigError, match="give exactly one of --per-class N, --balance and --count CLASS=N"):
            counts(**wrong)


@formats
def test_nothing_to_generate_is_noted_and_writes_nothing(format: str, model: Model, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to generate"):
        generate_folder(model, {"sandal": 0}, tmp_path / "out", format, seed=0)
    assert not (tmp_path / "out").exists()
