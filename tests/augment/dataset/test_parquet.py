"""Tables of pictures and labels are read, and one without them is refused with the names of its columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from augment.dataset.pictures import Format, decoded, find_pictures
from augment.dataset.sources import Source, read_source
from augment.errors import SourceError


@pytest.fixture(scope="module")
def source(image_folder: Path) -> Source:
    return read_source(image_folder)


def pictures(source: Source, split: str) -> list[bytes]:
    return [Path(name).read_bytes() for name in source.files[split]]


def names(source: Source, split: str) -> list[str]:
    return [source.train.class_names[k] for k in source.splits[split].labels]


def write(path: Path, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=7)
    return path


def test_bytes_and_texts_are_read_as_the_folder_is(source: Source, tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.parquet", number=range(36), image=pictures(source, "train"), label=names(source, "train")
    )
    read = read_source(path)
    assert np.array_equal(read.train.images, source.train.images)
    assert np.array_equal(read.train.labels, source.train.labels)
    assert (read.name, read.files["train"][35]) == ("a.parquet", f"{path}[35]")


def test_a_struct_holds_bytes_or_the_path_of_a_file(source: Source, tmp_path: Path) -> None:
    contents = pictures(source, "train")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "0.png").write_bytes(contents[0])
    cells = [{"bytes": None, "path": "pictures/0.png"}, *({"bytes": c, "path": "lost.png"} for c in contents[1:])]
    read = read_source(write(tmp_path / "a.parquet", image=cells, label=names(source, "train")))
    assert np.array_equal(read.train.images, source.train.images)


def test_files_of_a_folder_are_splits(source: Source, tmp_path: Path) -> None:
    for split, file in (("train", "train-00000-of-00001"), ("test", "test-00000-of-00001")):
        path = tmp_path / "set" / "data" / f"{file}.parquet"
        write(path, image=pictures(source, split), label=names(source, split))
    (tmp_path / "set" / "README.md").write_text("a card")
    read = read_source(tmp_path / "set")
    assert [np.array_equal(read.splits[s].images, source.splits[s].images) for s in ("train", "test")] == [True, True]


def test_a_column_may_name_the_splits(source: Source, tmp_path: Path) -> None:
    splits = ["train"] * 30 + ["validation"] * 6
    labels = ["a", "b"] * 18
    read = read_source(write(tmp_path / "a.parquet", image=pictures(source, "train"), label=labels, split=splits))
    assert {name: len(data) for name, data in read.splits.items()} == {"train": 30, "val": 6}


def test_numbers_are_ordered_as_numbers(source: Source, tmp_path: Path) -> None:
    labels = [2, 10, 9] * 12
    read = read_source(write(tmp_path / "a.parquet", image=pictures(source, "train"), label=labels))
    assert read.train.class_names == ("2", "9", "10")
    assert read.train.labels[:3].tolist() == [0, 2, 1]


def test_columns_are_named_in_the_source(source: Source, tmp_path: Path) -> None:
    contents, labels = pictures(source, "train"), names(source, "train")
    path = write(tmp_path / "a.parquet", front=contents, back=contents[::-1], kind=labels, label=[0, 1] * 18)
    read = read_source(f"{path}?image=back&label=kind")
    assert np.array_equal(read.train.images, source.train.images[::-1])
    assert read.train.class_names == source.train.class_names
    with pytest.raises(SourceError, match=r"has several columns of pictures .* name one as .*\?image=COLUMN.*back"):
        read_source(path)
    with pytest.raises(SourceError, match=r"expected FILE\?image=COLUMN&label=COLUMN, got 'picture'"):
        read_source(f"{path}?picture=back")
    with pytest.raises(SourceError, match=r"has no column 'left' of pictures"):
        read_source(f"{path}?image=left")


def test_columns_of_a_folder_without_tables_are_refused(image_folder: Path) -> None:
    for columns in ("image=x", "label=y"):
        with pytest.raises(SourceError, match=r"train has no parquet files, directly or in data/, so no columns"):
            read_source(f"{image_folder / 'train'}?{columns}")


def test_a_table_without_pictures_lists_its_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", width=[0.5, 0.25], label=["a", "b"])
    with pytest.raises(SourceError, match=r"has no column of pictures .* It has: width \(double\), label \(string\)$"):
        read_source(path)


def test_a_table_without_labels_is_unlabelled(source: Source, tmp_path: Path) -> None:
    contents = pictures(source, "train")
    path = write(tmp_path / "a.parquet", image=contents, width=[0.5] * 36)
    found, _ = find_pictures(str(path))
    assert [p.class_name for p in found] == [None] * 36
    (batch,) = decoded(found, Format(source.train.size, "pad", 1), 1, skip_broken=False)
    assert np.array_equal(batch.images, source.train.images)
    with pytest.raises(SourceError, match=r"has no column of labels .* name one as .*\?label=COLUMN. It has: image"):
        read_source(path)
    with pytest.raises(SourceError, match=r"has no column 'class' of labels"):
        find_pictures(f"{path}?label=class")


def test_single_rows_may_lack_a_label(source: Source, tmp_path: Path) -> None:
    labels: list[str | None] = [*names(source, "train")]
    labels[3] = None
    path = write(tmp_path / "a.parquet", image=pictures(source, "train"), label=labels)
    assert [p.class_name for p in find_pictures(str(path))[0]] == labels


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"label": None}, r"a.parquet\[3\] has no label"),
        ({"image": None}, r"a.parquet\[3\] has no picture"),
        ({"image": b"text"}, r"a.parquet\[3\] is not a readable picture"),
    ],
)
def test_a_bad_row_is_named(source: Source, tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    columns: dict[str, list[Any]] = {"image": pictures(source, "train"), "label": names(source, "train")}
    for name, value in change.items():
        columns[name][3] = value
    with pytest.raises(SourceError, match=expected):
        read_source(write(tmp_path / "a.parquet", **columns))


def test_a_file_that_is_no_parquet_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"text" * 10)
    with pytest.raises(SourceError, match=r"a.parquet is not a readable parquet file"):
        read_source(tmp_path / "a.parquet")
    with pytest.raises(SourceError, match=r"there is no .*b.parquet.*: expected a folder of class folders"):
        read_source(f"{tmp_path / 'b.parquet'}?image=a")


@pytest.mark.parametrize("metadata", [b"text", b"[]", b'{"info": null}', b'{"info": {"features": {"label": []}}}'])
def test_metadata_of_another_form_gives_no_class_names(source: Source, tmp_path: Path, metadata: bytes) -> None:
    table = pa.table({"image": pictures(source, "train"), "label": source.train.labels.tolist()})
    pq.write_table(table.replace_schema_metadata({b"huggingface": metadata}), tmp_path / "a.parquet")
    assert read_source(tmp_path / "a.parquet").train.class_names == ("0", "1", "2")


def test_labels_in_words_need_no_class_names(source: Source, tmp_path: Path) -> None:
    table = pa.table({"image": pictures(source, "train"), "label": names(source, "train")})
    metadata = {b"huggingface": b'{"info": {"features": {"label": {"names": ["a", "b", "c"]}}}}'}
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "a.parquet")
    assert set(read_source(tmp_path / "a.parquet").train.class_names) == set(source.train.class_names)
