"""Parquet as Hugging Face writes it, on look-alikes: an image column of {bytes, path}, labels."""

import errno
import io
import json
import os
import pickle
from datetime import date
from decimal import Decimal
from pathlib import Path, PurePath
from typing import Any

import pytest
from PIL import Image

from pipeline.data.sources.parquet import Parquet
from pipeline.data.sources.registry import open_source
from pipeline.data.sources.source import Options
from stylealae.errors import DataError, UnreachableError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def saved(level: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (level,) * 3).save(file, "PNG")
    return file.getvalue()


def table(levels: list[int], **columns: Any) -> Any:
    """Rows as `Dataset.push_to_hub` stores them, ClassLabel names in the schema's note."""
    pictures = [{"bytes": saved(level), "path": None} for level in levels]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    arrays = {"image": pa.array(pictures, kind), "label": pa.array([v % 2 for v in levels])}
    features = {
        "image": {"_type": "Image"},
        "label": {"names": ["female", "male"], "_type": "ClassLabel"},
    }
    note = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.table(arrays | columns).replace_schema_metadata(note)


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A clone of a set on the hub: data/train-*, data/validation-*, in groups of two rows."""
    folder = tmp_path / "celeba-hq" / "data"
    folder.mkdir(parents=True)
    pq.write_table(
        table([1, 2, 3, 4, 5]), folder / "train-00000-of-00002-abc.parquet", row_group_size=2
    )
    pq.write_table(table([6, 7]), folder / "train-00001-of-00002-def.parquet")
    pq.write_table(table([8, 9]), folder / "validation-00000-of-00001-abc.parquet")
    (folder.parent / "README.md").write_text("---\nlicense: other\n---\n")
    return folder.parent


@pytest.mark.parametrize("name", ["auto", "celebahq", "parquet"])
def test_rows_in_order_with_their_classes(hub: Path, name: str) -> None:
    source = open_source(str(hub), name)
    assert (source.name, len(source)) == ("parquet", 9)
    assert source.splits == {"train": range(7), "test": range(7, 9)}
    assert source.label_names == ("label",)
    for i in (*range(9), 4, 0, 8):
        sample = source.read(i)
        assert (sample.image == i + 1).all()
        assert sample.labels == {"label": ("female", "male")[(i + 1) % 2]}
    assert source.key(8) == "validation-00000-of-00001-abc/00000001"
    again = pickle.loads(pickle.dumps(source))
    assert again.fingerprint == source.fingerprint
    assert (again.read(3).image == 4).all()


@pytest.mark.parametrize(("start", "stop"), [(0, 4), (3, 6), (4, 9), (7, 9), (5, 6)])
def test_a_part_opens_the_files_of_its_images_alone(hub: Path, start: int, stop: int) -> None:
    whole = open_source(str(hub))
    wanted = [whole.read(i) for i in range(start, stop)]
    given = pickle.dumps(whole.part(start, stop))
    assert len(given) < len(pickle.dumps(whole.part(0, 9))) or stop - start > 4
    for number, path in enumerate(sorted(hub.glob("data/*.parquet"))):
        first, end = ((0, 5), (5, 7), (7, 9))[number]
        if end <= start or stop <= first:
            path.unlink()
    part = pickle.loads(given)
    for i, sample in zip(range(start, stop), wanted, strict=True):
        found = part.read(i)
        assert (
            (found.key, found.labels) == (sample.key, sample.labels) == (part.key(i), found.labels)
        )
        assert (found.image == sample.image).all()


@pytest.mark.parametrize("harm", ["removed", "replaced"])
def test_a_file_that_a_part_cannot_open_is_no_heap_of_bad_images(hub: Path, harm: str) -> None:
    given = pickle.dumps(open_source(str(hub)).part(0, 3))
    path = next(hub.glob("data/train-00000*"))
    path.unlink()
    if harm == "replaced":
        path.write_bytes(b"<html>quota</html>")
    with pytest.raises(
        UnreachableError, match=r"train-00000\S* was listed and can no longer be read"
    ):
        pickle.loads(given).read(0)


def test_folders_named_after_splits(tmp_path: Path) -> None:
    for split, levels in (("train", [1, 2]), ("validation", [3])):
        (tmp_path / "default" / split).mkdir(parents=True)
        pq.write_table(table(levels), tmp_path / "default" / split / "0000.parquet")
    assert open_source(str(tmp_path)).splits == {"train": range(2), "test": range(2, 3)}


def put(folder: Path, **files: list[int]) -> None:
    """Parquet files of some levels of grey, `a__b=[1]` as a/b."""
    for name, levels in files.items():
        path = folder / name.replace("__", "/").replace("_", "-")
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table(levels), path.with_suffix(".parquet"))


def test_the_beginning_of_a_split_is_of_that_split(tmp_path: Path) -> None:
    """As the hub converts a set of which it reads 5 GB alone; the keys are of one image each."""
    put(tmp_path, default__partial_train__0000=[1, 2], default__partial_train__0001=[3])
    put(tmp_path, default__partial_test__0000=[4], default__partial_validation__0000=[5])
    source = open_source(str(tmp_path))
    assert source.name == "parquet"
    assert source.splits == {"train": range(3), "test": range(3, 5)}
    assert [int(source.read(i).image.max()) for i in range(5)] == [1, 2, 3, 4, 5]
    assert source.key(3) == "default/partial-test/0000/00000000"
    assert len({source.key(i) for i in range(5)}) == 5
    assert "the beginning alone of default/partial-test, default/partial-train" in source.notes[0]
    inside = open_source(str(tmp_path / "default"))
    assert inside.splits == source.splits
    assert len(open_source(str(tmp_path / "default" / "partial-test"))) == 1


@pytest.mark.parametrize(
    "layout", ["{}__train__0000", "{}__train-00000-of-00001", "{}__cats__0000"]
)
def test_of_several_configs_one_is_to_be_given(layout: str, tmp_path: Path) -> None:
    put(tmp_path, **{layout.format(name): [1, 2] for name in ("large", "small")})
    put(tmp_path, small__test__0000=[3])
    with pytest.raises(DataError, match=r"2 data sets, .* folders large, small: give .*/small$"):
        open_source(str(tmp_path), "parquet")
    assert len(open_source(str(tmp_path / "small"), "parquet")) == 3


def test_folders_that_say_no_split_are_parts_of_one_set(tmp_path: Path) -> None:
    put(tmp_path, data__2020__faces=[1], data__2021__faces=[2], data__test__more__faces=[3])
    source = open_source(str(tmp_path), "parquet")
    assert source.splits == {"train": range(2), "test": range(2, 3)}
    assert [source.key(i) for i in range(3)] == [
        "data/2020/faces/00000000", "data/2021/faces/00000000", "data/test/more/faces/00000000",
    ]  # fmt: skip


def test_linked_folders_are_read_and_hidden_files_are_not(tmp_path: Path) -> None:
    away, here = tmp_path / "away" / "train", tmp_path / "set"
    away.mkdir(parents=True)
    (here / "data").mkdir(parents=True)
    pq.write_table(table([1, 2]), away / "0000.parquet")
    pq.write_table(table([3]), here / "data" / "test.parquet")
    (here / "data" / "train").symlink_to(away, target_is_directory=True)
    (here / "data" / "._test.parquet").write_bytes(b"what macOS keeps beside a file")
    source = open_source(str(here))
    assert source.splits == {"train": range(2), "test": range(2, 3)}


def test_other_columns_become_labels(tmp_path: Path) -> None:
    more = {
        "age": pa.array([30, None]),
        "score": pa.array([0.5, 1.5]),
        "smiles": pa.array([True, False]),
        "text": pa.array(["a face", None]),
        "box": pa.array([[1, 2], [3, 4]]),
    }
    pq.write_table(table([0, 1], **more), tmp_path / "a.parquet")
    source = open_source(str(tmp_path / "a.parquet"))
    assert source.label_names == ("label", "age", "score", "smiles", "text")
    assert source.read(0).labels == {
        "label": "female", "age": 30.0, "score": 0.5, "smiles": 1.0, "text": "a face",
    }  # fmt: skip
    assert source.read(1).labels["age"] is None
    assert source.read(1).labels["text"] is None


def test_empty_and_broken_images_are_named(tmp_path: Path) -> None:
    rows = [{"bytes": b"", "path": "a.png"}, {"bytes": None, "path": "b.png"}, None]
    rows.append({"bytes": b"no image", "path": None})
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"image": pa.array(rows, kind)}), tmp_path / "a.parquet")
    source = open_source(str(tmp_path / "a.parquet"))
    for i, said in enumerate(("0 bytes", "0 bytes", "0 bytes", "no image")):
        with pytest.raises(DataError, match=f"a/{i:08d}: .*{said}"):
            source.read(i)


def test_a_disk_that_fails_is_told_from_a_broken_image(hub: Path) -> None:
    disk: dict[str, OSError] = {}

    class Failing(io.FileIO):
        def read(self, size: int = -1) -> bytes:
            if disk:
                raise disk["error"]
            return super().read(size) or b""

    class OnDisk(Parquet):
        def opened(self, path: PurePath) -> object:
            return pa.PythonFile(Failing(path), "r")

    source = OnDisk(str(hub), Options())
    assert (source.read(0).image == 1).all()
    disk["error"] = OSError(errno.EIO, os.strerror(errno.EIO))
    with pytest.raises(UnreachableError, match=r"/00000002 was listed .*\(Input/output error\)"):
        source.read(2)
    disk["error"] = OSError("Corrupt snappy compressed data.")
    with pytest.raises(DataError, match="Corrupt snappy"):
        source.read(2)


@pytest.mark.parametrize("harm", ["cut", "html"])
def test_a_damaged_file_is_named(hub: Path, harm: str) -> None:
    path = next(hub.glob("data/train-00001*"))
    data = path.read_bytes()
    path.write_bytes(data[:-50] if harm == "cut" else b"<html>quota</html>")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        open_source(str(hub))


def test_a_table_without_images_says_what_it_has(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "n": [1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="has the columns text, n, and none of them holds images"):
        open_source(str(tmp_path / "a.parquet"))


def test_text_of_every_kind_dates_and_decimals_become_labels(tmp_path: Path) -> None:
    more = {
        "large": pa.array(["x", None], pa.large_string()),
        "coded": pa.array(["y", "z"]).dictionary_encode(),
        "number": pa.array([3, 4]).dictionary_encode(),
        "price": pa.array([Decimal("1.5"), None]),
        "day": pa.array([date(2020, 1, 2), None]),
        "score": pa.array([float("nan"), 2.0]),
        "empty": pa.array([None, None], pa.string()),
        "box": pa.array([[1], [2]]),
    }
    pq.write_table(table([0, 1], **more), tmp_path / "a.parquet")
    (tmp_path / "thumbnail.png").write_bytes(saved(0))
    source = open_source(str(tmp_path))
    assert source.read(0).labels == {
        "label": "female", "large": "x", "coded": "y", "number": 3.0, "price": 1.5,
        "day": "2020-01-02", "score": None,
    }  # fmt: skip
    assert source.read(1).labels["score"] == 2.0
    assert any("empty, box is not used" in note for note in source.notes)
    assert str(source.left_aside) == "1 .png files"


def test_a_column_of_bytes_holds_images_too(tmp_path: Path) -> None:
    bare = pa.table({"n": [5], "jpg": pa.array([saved(9)], pa.large_binary())})
    pq.write_table(bare, tmp_path / "a.parquet")
    source = open_source(str(tmp_path / "a.parquet"))
    assert (source.read(0).image == 9).all()
    assert source.read(0).labels == {"n": 5.0}


@pytest.mark.parametrize("kind", ["struct", "text"])
def test_a_file_of_paths_is_refused_with_one_of_them(tmp_path: Path, kind: str) -> None:
    paths = ["in/a.jpg", "in/b.jpg"]
    column = pa.array(paths)
    if kind == "struct":
        parts = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        column = pa.array([{"bytes": None, "path": path} for path in paths], parts)
    pq.write_table(pa.table({"image": column, "age": [1, 2]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"image has 0 bytes .* only its path, in/a\.jpg"):
        open_source(str(tmp_path))


def test_a_name_that_begins_as_a_split_is_none(tmp_path: Path) -> None:
    names = ("valley.parquet", "test-drives.parquet", "testimonials-00000-of-00001.parquet")
    for name in names:
        pq.write_table(table([1]), tmp_path / name)
    assert open_source(str(tmp_path)).splits == {"train": range(3)}
    tests = ("val.parquet", "test-00000-of-00001-0a1b.parquet", "validation_2.parquet")
    for name in (*tests, "faces-test-00000-of-00001.parquet"):
        pq.write_table(table([1]), tmp_path / name)
    assert open_source(str(tmp_path)).splits == {"train": range(3), "test": range(3, 7)}


def test_other_bytes_of_the_same_length_are_another_input(tmp_path: Path) -> None:
    found = set()
    for level in (1, 2, 2):
        pq.write_table(table([level, level]), tmp_path / "a.parquet", compression="none")
        found.add(open_source(str(tmp_path)).fingerprint)
    assert len(found) == 2


def test_a_file_without_rows_and_one_of_another_set_are_named(tmp_path: Path) -> None:
    pq.write_table(table([]), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="has no rows"):
        open_source(str(tmp_path))
    pq.write_table(table([1]), tmp_path / "a.parquet")
    pq.write_table(table([2]).drop_columns(["label"]), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet has no column label, .* not of one data set"):
        open_source(str(tmp_path))


def test_classes_are_those_of_each_file(tmp_path: Path) -> None:
    pq.write_table(table([1, 2]), tmp_path / "train-0.parquet")
    other = table([1, 2])
    note = other.schema.metadata[b"huggingface"].replace(b'"female", "male"', b'"male", "female"')
    pq.write_table(
        other.replace_schema_metadata({"huggingface": note}), tmp_path / "train-1.parquet"
    )
    source = open_source(str(tmp_path))
    found = [source.read(i).labels["label"] for i in range(4)]
    assert found == ["male", "female", "female", "male"]


@pytest.mark.parametrize(
    ("first", "second", "found", "said"),
    [
        ([1, 2], ["3", "x"], ["1", "2", "3", "x"], "age is read as text, for it is text in some"),
        (
            [1.0, None],
            ["3", ""],
            ["1", None, "3", None],
            "text in some files and numbers in others",
        ),
        ([2**53 + 1, 2**53], [1, 2], [str(2**53 + 1), str(2**53), "1", "2"], "keeps fewer digits"),
        ([1, 2], [3.5, 4.0], [1.0, 2.0, 3.5, 4.0], ""),
        ([True, False], [3, 4], [1.0, 0.0, 3.0, 4.0], ""),
    ],
)
def test_a_label_is_numbers_or_texts_in_all_files(
    first: list[Any], second: list[Any], found: list[Any], said: str, tmp_path: Path
) -> None:
    for number, values in enumerate((first, second)):
        pq.write_table(table([1, 2], age=pa.array(values)), tmp_path / f"train-{number}.parquet")
    source = open_source(str(tmp_path))
    assert [source.read(i).labels["age"] for i in range(4)] == found
    assert (said in " ".join(source.notes)) if said else not source.notes


def test_columns_of_later_files_and_numbers_beyond_the_classes_are_said(tmp_path: Path) -> None:
    pq.write_table(table([1, 2]), tmp_path / "train-0.parquet")
    more = table([1, 2], mood=pa.array(["glad", "sad"]))
    more = more.set_column(1, "label", pa.array([2, -1]))
    pq.write_table(more, tmp_path / "train-1.parquet")
    source = open_source(str(tmp_path))
    assert [source.read(i).labels["label"] for i in (2, 3)] == [None, None]
    notes = " ".join(source.notes)
    assert "mood is not used: train-0.parquet has no such column" in notes
    assert "label has numbers beyond its classes" in notes
