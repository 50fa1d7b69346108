"""Tables as people keep them: their numbers, their names, and what is said of the rest."""

import io
import json
import shutil
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.data.format.types import Label
from pipeline.data.sources.columns import column
from pipeline.data.sources.names import Names
from pipeline.data.sources.registry import open_source
from pipeline.data.sources.source import Source
from pipeline.data.sources.tables import read_sheet
from stylealae.errors import DataError


def folder(root: Path, *names: str, **tables: str | bytes) -> Path:
    """A folder of pictures, and tables by their names, `_csv` for `.csv`."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(root / name, "PNG")
    for name, text in tables.items():
        data = text.encode() if isinstance(text, str) else text
        (root / name.replace("__", "/").replace("_", ".")).write_bytes(data)
    return root


def values(source: Source, label: str) -> list[Label]:
    return [source.read(i).labels[label] for i in range(len(source))]


@pytest.mark.parametrize(
    ("cells", "delimiter", "found"),
    [
        (["1", "2.5", ""], ",", [1.0, 2.5, None]),
        (["30", "NaN", "n/a", "-", "41"], ",", [30.0, None, None, None, 41.0]),
        (["1,5", "2", "-3,25"], ";", [1.5, 2.0, -3.25]),
        (["1,5", "2"], ",", [1.5, 2.0]),
        (["1.234,5", "2,0"], ";", [1234.5, 2.0]),
        (["1,234", "5"], ",", ["1,234", "5"]),  # which of the two it is nobody knows
        (["1e3", "inf"], ",", [1000.0, None]),
        (["1_000", "2"], ",", ["1_000", "2"]),
        (["smile", "", "nan", "None"], ",", ["smile", None, None, "None"]),
        (["", "NaN"], ",", [None, None]),
    ],
)
def test_cells_are_numbers_texts_or_unknown(
    cells: list[str], delimiter: str, found: list[Label]
) -> None:
    assert column(cells, delimiter) == found


TABLE = "file;age;name\na.png;1,5;x, y\nb.png;;\n"


@pytest.mark.parametrize(
    "data",
    [
        TABLE.encode(),
        TABLE.replace("\n", "\r\n").encode(),
        TABLE.replace("\n", "\r").encode(),
        b"\xef\xbb\xbf" + TABLE.encode(),
        TABLE.replace(";", "\t").encode("utf-16"),
        TABLE.replace(";", "|").encode(),
        b"sep=;\r\n" + TABLE.encode(),
        b'file,age,name\na.png,"1,5","x, y"\nb.png,,\n',
        b"\n" + TABLE.encode() + b";;\n\n",
        b'{"file": "a.png", "age": 1.5, "name": "x, y"}\n{"file": "b.png", "age": null}\n',
    ],
)
def test_dialects_say_the_same(data: bytes, tmp_path: Path) -> None:
    source = open_source(str(folder(tmp_path, "a.png", "b.png", labels_csv=data)))
    assert values(source, "age") == [1.5, None]
    assert values(source, "name") == ["x, y", None]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("anna/0.jpg", "anna/0.jpg"),
        ("./anna/0.jpg", "anna/0.jpg"),
        ("anna\\0.jpg", "anna/0.jpg"),
        ("photos/anna/0.jpg", "anna/0.jpg"),
        ("C:\\Users\\me\\Photos\\anna\\0.JPG", "anna/0.jpg"),
        ("other/anna/0.jpg", None),
        ("carl/0.jpg", None),
        ("only.JPG", "ben/only.jpg"),
        ("José.jpg", unicodedata.normalize("NFD", "ben/José.jpg")),
        ("", None),
        ("/", None),
    ],
)
def test_a_name_means_one_image_or_none(name: str, key: str | None) -> None:
    jose = unicodedata.normalize("NFD", "ben/José.jpg")
    names = Names(["anna/0.jpg", "ben/0.jpg", "ben/only.jpg", jose], "/home/me/photos")
    assert names.find(name) == key


def test_a_name_of_several_images_is_an_error_but_in_its_own_folder() -> None:
    names = Names(["anna/0.jpg", "ben/0.jpg", "A.jpg", "a.jpg", "b.jpg", "b.png"], "photos")
    assert names.find("0.jpg", "ben") == "ben/0.jpg"
    assert names.find("a.jpg") == "a.jpg"
    assert names.find("../anna/0.jpg", "lists") == "anna/0.jpg"
    with pytest.raises(DataError, match=r"0\.jpg is the name of 2 images, such as anna/0\.jpg"):
        names.find("0.jpg")
    with pytest.raises(DataError, match="b is the name of 2 images"):
        names.find_by_stem("b")


def test_folders_of_images_that_are_called_alike_are_told_apart() -> None:
    """Each by its own path: 20,000 of one name take a second, compared with each other an hour."""
    keys = [f"people/{k:05d}/Photo.jpg" for k in range(20_000)]
    names = Names([*keys, "Photo.jpg"], "/home/me/photos")
    assert [names.find(f"C:\\photos\\{key.upper()}") for key in keys] == keys
    assert [names.find_by_stem(f"{key[7:-4]}") for key in keys] == keys
    assert [names.find("photo.JPG", key[:-10]) for key in keys] == keys
    with pytest.raises(DataError, match="photo is the name of 20001 images"):
        names.find_by_stem("photo")


def test_names_without_an_ending_or_with_another_one(tmp_path: Path) -> None:
    text = "id,age\n000001,3\n000002.jpg,4\n000003.png,5\n000003.jpg,6\n"
    source = open_source(
        str(folder(tmp_path, *(f"{i:06d}.png" for i in (1, 2, 3)), labels_csv=text))
    )
    assert values(source, "age") == [3.0, 4.0, 5.0]


def test_the_names_may_stand_in_any_column(tmp_path: Path) -> None:
    text = ",age,picture\n0,7,b.png\n1,8,a.png\n"
    source = open_source(str(folder(tmp_path, "a.png", "b.png", labels_csv=text)))
    assert source.label_names == ("age",)
    assert values(source, "age") == [8.0, 7.0]
    assert any("a column without a name" in note for note in source.notes)


def test_every_folder_may_have_its_table_and_the_top_one_too(tmp_path: Path) -> None:
    root = folder(
        *(tmp_path, "train/0.png", "test/0.png"),
        train__labels_csv="file,age\n0.png,1\n",
        test__labels_csv="file,age\n0.png,2\n",
        more_csv="file,kind\ntrain/0.png,x\n",
        other_csv="country,capital\nFrance,Paris\n",
        bad_csv="a,b\n1\n",
    )
    source = open_source(str(root))
    assert values(source, "age") == [2.0, 1.0]
    assert values(source, "kind") == [None, "x"]
    notes = " ".join(source.notes)
    assert "other.csv names no image and is not used" in notes
    assert "bad.csv: row 2 has 1 columns, the header 2; it is not used" in notes
    assert str(source.left_aside) == "2 tables not used"


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"labels_csv": "file,age\na.png,\nb.png,NaN\n"}, "no image has a value of age"),
        ({"labels_csv": "file,age\na.png,1\nc.png,2\n", "x_csv": "file,b\na.png,\n"}, "value of b"),
        ({"labels_csv": "file,age\na.png,1\na.png,2\n"}, "two rows for a.png, and they differ"),
        (
            {"labels_csv": "file,age\na.png,1\n", "x_csv": "file,age\na.png,2\n"},
            r"age of a\.png is 2\.0, another table 1\.0",
        ),
        ({"metadata_jsonl": '{"file_name": "a.png"\n'}, "line 1 is no JSON"),
        ({"metadata_csv": "file,age\nc.png,1\n"}, "knows none of the 2 images"),
        ({"labels_csv": b"file,age\na.png,\xff\n"}, "cannot be read as UTF-8.*; save it"),
    ],
)
def test_tables_that_contradict_or_say_nothing_are_refused(
    tables: dict[str, str | bytes], said: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=said):
        open_source(str(folder(tmp_path, "a.png", "b.png", **tables)))


def test_what_is_missing_in_a_table_is_said(tmp_path: Path) -> None:
    text = "file,age\na.png,30\nc.png,31\nd.png,thirty\n"
    source = open_source(str(folder(tmp_path, "a.png", "b.png", labels_csv=text)))
    notes = " ".join(source.notes)
    assert "age is read as text, for 'thirty' is no number" in notes
    assert "2 rows name no image" in notes
    assert "1 images have no row" in notes
    assert source.label_summary() == {"age": "texts of 1 images"}


@pytest.mark.parametrize(
    ("one", "other"), [("YES", "yes"), ("dark  hair", "dark hair"), ("e\u0301", "\u00e9")]
)
def test_values_that_look_alike_are_told(one: str, other: str, tmp_path: Path) -> None:
    table = f"file,kind\na.png,{one}\nb.png,{other}\nc.png,no\n"
    source = open_source(str(folder(tmp_path, "a.png", "b.png", "c.png", labels_csv=table)))
    assert f"kind has {one!r} and {other!r}, which are two values" in " ".join(source.notes)


def test_nested_values_of_a_line_of_json_are_left_aside(tmp_path: Path) -> None:
    lines = [{"file_name": f"{k}.png", "box": [1, 2], "smiles": k == "a"} for k in "ab"]
    text = "\n".join(map(json.dumps, lines))
    source = open_source(str(folder(tmp_path, "a.png", "b.png", metadata_jsonl=text)))
    assert values(source, "smiles") == [1.0, 0.0]
    assert any("box holds lists or objects" in note for note in source.notes)


def test_a_comma_in_a_broken_table_is_not_taken_for_something_else() -> None:
    with pytest.raises(DataError, match="row 3 has 3 columns, the header 2"):
        read_sheet("t.csv", b"file,age\na;b,1\nb,2,3\n")


def test_the_end_of_a_path_is_enough() -> None:
    names = Names(["photos/anna/0.jpg", "photos/ben/0.jpg"], "in")
    assert names.find("anna/0.jpg") == "photos/anna/0.jpg"
    assert names.find("other/anna/0.jpg") is None


@pytest.mark.parametrize("name", ["labels.txt", "ages.csv"])
def test_a_table_of_the_folder_itself_may_be_named_and_is_not_left_aside(
    name: str, tmp_path: Path
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / name).write_text("file,age\na.png,3\n")
    (tmp_path / "other.csv").write_text("file,age\na.png,4\n")
    source = open_source(str(tmp_path), labels=str(tmp_path / name))
    assert source.read(0).labels == {"age": 3}
    assert source.notes == ["other.csv: not used, for --labels names another"]
    assert str(source.left_aside) == "1 tables not used"


def test_a_table_beside_a_folder_is_said_not_to_be_used(tmp_path: Path) -> None:
    root = folder(tmp_path / "photos", "a.png")
    (tmp_path / "labels.csv").write_text("file,age\na.png,3\n")
    source = open_source(str(root))
    assert source.label_names == ()
    assert any("labels.csv is not used: name it with --labels" in note for note in source.notes)
    assert open_source(str(root), labels=str(tmp_path / "labels.csv")).label_names == ("age",)


def written(table: Any) -> bytes:
    """A table of Arrow as the bytes of a Parquet file."""
    stream = io.BytesIO()
    pytest.importorskip("pyarrow.parquet").write_table(table, stream)
    return stream.getvalue()


def test_metadata_of_parquet_is_a_table_of_the_images_beside_it(tmp_path: Path) -> None:
    """As the `imagefolder` of Hugging Face's datasets reads it, classes by their names."""
    pa = pytest.importorskip("pyarrow")
    note = {"info": {"features": {"kind": {"_type": "ClassLabel", "names": ["cat", "dog"]}}}}
    table = pa.table({
        "file_name": ["a.png", "b.png"], "age": [30, None], "kind": [1, 0],
        "born": pa.array(["x", "x"]).dictionary_encode(), "boxes": [[1, 2], [3]],
    }).replace_schema_metadata({"huggingface": json.dumps(note)})  # fmt: skip
    root = folder(tmp_path, "train/a.png", "train/b.png", train__metadata_parquet=written(table))
    source = open_source(str(root))
    assert source.name == "folder"
    assert values(source, "age") == [30.0, None]
    assert values(source, "kind") == ["dog", "cat"]
    assert values(source, "born") == ["x", "x"]
    assert "boxes" not in source.label_names
    assert any("boxes holds neither numbers nor text" in note for note in source.notes)
    assert str(source.left_aside) == ""


def test_metadata_of_parquet_that_is_none_is_refused(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    root = folder(tmp_path, "train/a.png", metadata_parquet=b"PAR1")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        open_source(str(root))
    huge = pa.table({"file_name": pa.array(["a.png"]).take(pa.array([0] * 10))})
    folder(tmp_path, metadata_parquet=written(huge.select(["file_name"])))
    assert open_source(str(root)).label_names == ()


def test_folders_of_names_of_all_kinds_are_compared(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for name in ("/home/x/a.png", "../b.png", "C:\\y\\c.png", "d.png"):
            archive.writestr(name, b"")
    source = open_source(str(tmp_path / "in.zip"))
    assert any("images lie in 3 folders" in note for note in source.notes)


SORTED = ("faces/smiling/a.png", "faces/smiling/more/b.png", "faces/serious/a.png", "faces/c.png")


@pytest.mark.parametrize("packed", [False, True])
def test_the_folder_of_an_image_becomes_a_label_where_that_is_asked_for(
    packed: bool, tmp_path: Path
) -> None:
    root = folder(tmp_path / "in", *SORTED)
    if packed:
        root = Path(shutil.make_archive(str(tmp_path / "in"), "zip", root))
    source = open_source(str(root), folder_labels=True)
    assert source.label_names == ("folder",)
    found = {source.key(i): value for i, value in enumerate(values(source, "folder"))}
    kinds = ("smiling", "smiling", "serious", None)
    assert found == dict(zip(SORTED, kinds, strict=True)) or found == {
        name.removeprefix("faces/"): kind for name, kind in zip(SORTED, kinds, strict=True)
    }


def test_folders_and_tables_are_labels_together(tmp_path: Path) -> None:
    names = ("smiling/a.png", "serious/b.png")
    root = folder(tmp_path, *names, labels_csv="file,age\na.png,30\nb.png,40\n")
    source = open_source(str(root), folder_labels=True)
    assert [source.read(i).labels for i in range(2)] == [
        {"age": 40.0, "folder": "serious"}, {"age": 30.0, "folder": "smiling"}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("smiling/a.png", "serious/b.png"), True),
        (("00000/a.png", "01000/b.png"), False),
        (("photos/a.png", "photos/b.png"), False),
    ],
)
def test_folders_that_may_be_classes_are_told(
    names: tuple[str, ...], told: bool, tmp_path: Path
) -> None:
    source = open_source(str(folder(tmp_path, *names)))
    assert source.label_names == ()
    assert any("--folder-labels" in note for note in source.notes) == told


def test_folders_of_splits_are_no_classes_and_those_in_them_are(tmp_path: Path) -> None:
    """As torchvision's ImageFolder has two sets: train/cat, train/dog, val/cat, val/dog."""
    names = ("set/train/cat/0.png", "set/train/dog/1.png", "set/val/cat/2.png", "set/val/3.png")
    root = folder(tmp_path, *names)
    assert any("2 folders (cat, dog)" in note for note in open_source(str(root)).notes)
    source = open_source(str(root), folder_labels=True)
    found = {source.key(i): value for i, value in enumerate(values(source, "folder"))}
    assert found == dict(zip(names, ("cat", "dog", "cat", None), strict=True))


def test_a_label_is_numbers_or_texts_in_all_tables(tmp_path: Path) -> None:
    tables = {"x_csv": "file,age\na.png,3\n", "y_csv": "file,age\nb.png,old\n"}
    source = open_source(str(folder(tmp_path, "a.png", "b.png", **tables)))
    assert values(source, "age") == ["3", "old"]
    assert any("age is text in one table and numbers in another" in note for note in source.notes)


def test_one_folder_is_no_label(tmp_path: Path) -> None:
    root = folder(tmp_path, "photos/a.png", "photos/b.png")
    with pytest.raises(DataError, match="in one folder"):
        open_source(str(root), folder_labels=True)


@pytest.mark.parametrize("name", ["sample_submission", "sampleSubmission", "gender_submission"])
def test_answers_to_kaggle_are_no_labels(name: str, tmp_path: Path) -> None:
    (folder(tmp_path, "1.png") / f"{name}.csv").write_text("id,label\n1,0\n")
    source = open_source(str(tmp_path))
    assert source.label_names == ()
    assert any("an answer to Kaggle, or its example: not used" in note for note in source.notes)
