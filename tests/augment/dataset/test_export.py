"""Exported images can be read back, whatever the classes are called."""

import numpy as np
import pytest

from augment.dataset.export import dump_npz, escape_name, folder_files, folder_names, read_scores, write_folder
from augment.dataset.images import LabelledImages
from augment.dataset.sources import read_source
from augment.errors import SourceError
from augment.markers import MARKER
from augment.output_folders import open_output

AWKWARD = (
    "a/b\\c",
    "CON",
    "nul.txt",
    "Shirt",
    "shirt",
    "",
    "train",
    ".hidden",
    "end. ",
    "50%",
    "ä:*?",
    "a\nb",
    "b" * 400,
)


def write(data, folder, **columns):
    with open_output(folder, "generate", files=folder_files(data.class_names, data.labels)) as output:
        write_folder(data, output, {name: np.array(values) for name, values in columns.items()})
        output.finish()


@pytest.fixture
def awkward(fashion):
    """26 images, 2 of each class with an awkward name."""
    return LabelledImages(fashion.images[:26], np.arange(26) % 13, AWKWARD)


def test_folder_names_are_safe_and_distinct_where_case_does_not_count():
    folders = folder_names([*AWKWARD, "SHIRT", "shirt%~2"])
    assert len({folder.lower() for folder in folders}) == len(folders)
    assert not any(set(folder) & set('<>:"/\\|?*\n') or folder[0] in ". " or folder[-1] in ". " for folder in folders)
    assert all(0 < len(folder.encode()) <= 255 for folder in folders)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("T-shirt", "T-shirt"),
        ("Füße 2", "Füße 2"),
        ("a/b", "a%2Fb"),
        ("..", "%2E%2E"),
        ("con.x", "%63on.x"),
        ("Train", "%54rain"),
        ("", "%"),
    ],
)
def test_names_are_escaped_only_where_needed(name, folder):
    assert escape_name(name) == folder


@pytest.mark.parametrize("channels", [1, 3])
def test_a_written_folder_reads_back_with_its_real_names(tmp_path, awkward, channels):
    tinted = np.repeat(awkward.images, channels, axis=1)
    tinted[:, 0] //= 2
    data = LabelledImages(tinted, awkward.labels, (*AWKWARD[:5], "none", *AWKWARD[6:]))  # a csv has no empty label
    write(data, tmp_path / "out", seed=range(7, 33), scores=[i / 26 for i in range(26)])
    back = read_source(tmp_path / "out")
    assert back.train.class_names == tuple(sorted(data.class_names))
    assert [back.train.class_names[k] for k in back.train.labels] == [data.class_names[k] for k in data.labels]
    assert np.array_equal(back.train.images, tinted)


def test_a_written_folder_holds_exactly_the_files_that_were_announced(tmp_path, awkward):
    write(awkward, tmp_path, seed=range(26), scores=[0.5] * 26)
    written = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file()}
    assert written == {*folder_files(awkward.class_names, awkward.labels), MARKER}
    assert folder_files(awkward.class_names, awkward.labels)[-1] == "manifest.csv"
    assert (tmp_path / "manifest.csv").read_text("utf-8").splitlines()[:2] == [
        "path,label,seed,scores",
        "a%2Fb%5Cc/000000.png,a/b\\c,0,0.5",
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_written_npz_reads_back_also_from_its_folder(tmp_path, awkward, channels):
    tinted = np.repeat(awkward.images, channels, axis=1)
    tinted[:, 0] //= 2
    data = LabelledImages(tinted, awkward.labels, AWKWARD)
    (tmp_path / "images.npz").write_bytes(dump_npz(data, {"seed": np.arange(7, 33), "scores": np.arange(26) / 26}))
    for spec in (tmp_path, tmp_path / "images.npz"):
        back = read_source(spec).train
        assert (back.class_names, back.labels.tolist()) == (AWKWARD, data.labels.tolist())
        assert np.array_equal(back.images, tinted)
    assert np.load(tmp_path / "images.npz")["train_seeds"][3] == 10


def test_scores_come_back_in_the_order_of_the_images(tmp_path, fashion):
    some = fashion.take(np.arange(26))
    scores = [(-1) ** i * i / 7 for i in range(26)]
    assert read_scores(tmp_path) is None
    write(some, tmp_path / "png", seed=range(26), scores=scores)
    (tmp_path / "npz").mkdir()
    (tmp_path / "npz/images.npz").write_bytes(dump_npz(some, {"seed": np.arange(26), "scores": np.array(scores)}))
    for folder in (tmp_path / "png", tmp_path / "npz"):
        assert read_scores(folder) == pytest.approx(scores)
        back = read_source(folder, complete=False).train
        assert np.array_equal(back.images, some.images)  # and so do they


def test_images_from_elsewhere_have_no_scores(tmp_path, fashion):
    write(fashion.take(np.arange(26)), tmp_path, seed=range(26), scores=[0.5] * 26)
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("scores", "remarks"))
    assert read_scores(tmp_path) is None


@pytest.mark.parametrize("text", ["nan", "inf", "high", "0.5.1", "1e999", "x" * 200_000])
def test_a_score_in_a_table_is_a_finite_number(text, tmp_path, fashion):
    write(fashion.take(np.arange(26)), tmp_path, seed=range(26), scores=[0.25] * 26)
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("6,0.25", f"6,{text}"))
    with pytest.raises(
        SourceError, match=r"manifest\.csv (line 8: expected a finite number|is not CSV in UTF-8)"
    ) as caught:
        read_scores(tmp_path)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "scores",
    [
        np.array([{}] * 26),
        np.zeros((26, 2)),
        np.zeros((26, 1)),
        np.zeros(25),
        np.zeros(()),
        np.full(26, np.nan),
        np.full(26, -np.inf),
        np.array(["0.5"] * 26),
        np.zeros(26, complex),
        np.zeros(26, "datetime64[s]"),
    ],
)
def test_scores_in_an_archive_are_finite_numbers_one_an_image(scores, tmp_path, fashion):
    images = fashion.images[:26, 0]
    np.savez(tmp_path / "images.npz", train_images=images, train_labels=np.arange(26) % 2, train_scores=scores)
    with pytest.raises(SourceError, match=r"images\.npz(: train_scores: expected 26 finite| is not a readable)"):
        read_scores(tmp_path)


def test_a_table_with_splits_has_the_scores_of_its_training_images(tmp_path, fashion):
    write(fashion.take(np.arange(4)), tmp_path, seed=range(4), scores=[1, 2, 3, 4])
    lines = (tmp_path / "manifest.csv").read_text().splitlines()
    splits = ["split", "train", "test", "train", ""]
    rows = [f"{line},{split}" for line, split in zip(lines, splits, strict=True)]
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    assert read_scores(tmp_path).tolist() == [1, 3, 4]
