"""Tables as people write them by hand: read as they were meant, or refused with what to change."""

import gzip
import json

import pytest

from pipeline.data.format.types import Label
from pipeline.data.sources import tables
from pipeline.data.sources.columns import column
from pipeline.data.sources.labels import Labels, labels_of
from pipeline.data.sources.names import Names
from pipeline.data.sources.tables import is_table, read_sheet
from stylealae.errors import DataError

ROWS = [{"file": "a.png", "age": 1, "box": [1]}, {"file": "b.png", "age": None}]
ENTRIES = {"a.png": {"age": 1}, "b.png": {"age": None}}


def labelled(data: bytes | str, *, called: bool = False) -> Labels | None:
    """The labels of a table of a.png, b.png and 7.png."""
    sheet = read_sheet("t.csv", data.encode() if isinstance(data, str) else data)
    return labels_of(sheet, Names(["a.png", "b.png", "7.png"], "photos"), called=called)


@pytest.mark.parametrize(
    "data",
    [
        "file age\na.png 1\nb.png NaN\n",
        "file    age\na.png   1\nb.png   NaN\n",
        '"sep=;"\nfile;age\na.png;1\nb.png;\n',
        "file,age\na.png,1\nb.png,\n".encode("utf-32"),
        'file,age\n"a.png" ,1\nb.png,\n',
        json.dumps(ROWS),
        json.dumps(ROWS, indent=1),
        json.dumps(ENTRIES),
        json.dumps(ENTRIES, indent=1),
    ],
)
def test_dialects_of_hands_and_programs(data: bytes | str) -> None:
    found = labelled(data)
    assert found is not None
    assert [found.of(f"{k}.png")["age"] for k in "ab"] == [1.0, None]


def test_numbers_that_a_spreadsheet_has_shortened_are_said() -> None:
    found = labelled("file,x\na.png,1.23457E+17\nb.png,3\n")
    assert found is not None
    assert "x has '1.23457E+17', a number that a spreadsheet has shortened" in found.notes[0]


def test_nan_in_json_is_unknown_and_no_second_value() -> None:
    found = labelled('{"file": "a.png", "age": NaN}\n{"file": "b.png", "age": 2}')
    assert found is not None
    assert [found.of(f"{k}.png")["age"] for k in "ab"] == [None, 2.0]


def test_values_by_name_in_json_are_one_label() -> None:
    found = labelled('{"a.png": 3, "b.png": 4}')
    assert found is not None
    assert found.of("b.png") == {"label": 4.0}
    assert is_table("in/labels.json")
    assert is_table("in/labels.ndjson")
    assert not is_table("in/a.json")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("a.png,30\nb.png,31\n", "begins with the row of a.png, .* write a line such as file,age"),
        ('file,name\na.png,"Anna\nb.png,Ben\n', "close every quotation mark"),
        ("file,age\na.png,1\n".encode("utf-16-le"), "zero characters, .* save it as UTF-8"),
        ("1,30\n7,31\n", "begins with the row of 1, .* write a line such as file,age"),
        ("b,30\na,31\n", "begins with the row of b, "),
        ("zzz.jpg 30\na.png 31\n", r"begins with the row of zzz\.jpg, "),  # of a larger set
        ('{"a.png": 1, "a.png": 2}', "a.png stands twice in one object"),
        ("", "is empty"),
        (gzip.compress(b"file,age\n", mtime=0), "compressed by gzip"),
        (b"PK\x03\x04xl", "an Excel workbook or another zip: save the sheet as CSV"),
        (b"\x93NUMPY\1", "a NumPy array"),
        (b"\x80\x04\x95", "a pickle"),
        ("<html>", "a web page"),
        ("version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("[1, 2]", "no list of objects: write a list of objects"),
        ("[{", "line 1 is no JSON"),
    ],
)
def test_what_is_no_table_is_named(data: bytes | str, said: str) -> None:
    with pytest.raises(DataError, match=rf"t\.csv.*{said}"):
        labelled(data)


@pytest.mark.parametrize(
    ("cells", "delimiter", "found"),
    [
        (["True", "false", ""], ",", [1.0, 0.0, None]),
        (["\N{MINUS SIGN}1", "2"], ",", [-1.0, 2.0]),
        (["1.234", "10"], ";", ["1.234", "10"]),  # 1234 to some
        (["1.234", "10.5"], ";", [1.234, 10.5]),
        (["0.123", "10"], ";", [0.123, 10.0]),
        (["1.234", "10"], ",", [1.234, 10.0]),
        (["1,234", "5"], "\t", ["1,234", "5"]),  # as an English Excel's text of Unicode has it
        (["1,234", "5"], "|", ["1,234", "5"]),
        (["1,234", "5"], ";", [1.234, 5.0]),
        (["1,5", "5"], "\t", [1.5, 5.0]),
        (["01067", "10115"], ",", ["01067", "10115"]),
        (["0", "0.5"], ",", [0.0, 0.5]),
        (["9007199254740993", "1"], ",", ["9007199254740993", "1"]),
        (["9007199254740992", "1"], ",", [2.0**53, 1.0]),
        (["1", "#DIV/0!"], ",", [1.0, None]),
    ],
)
def test_cells_as_programs_and_countries_write_them(
    cells: list[str], delimiter: str, found: list[Label]
) -> None:
    assert column(cells, delimiter) == found


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (("007", "12"), "x is read as text, for '007' begins with 0, as codes do"),
        (("9007199254740993", "1"), "'9007199254740993' has more digits than a number keeps"),
        (("NA", "smiling"), "x has the value 'NA': leave a cell empty where nothing is known"),
    ],
)
def test_texts_that_may_be_meant_otherwise_are_said(values: tuple[str, str], said: str) -> None:
    found = labelled(f"file,x\na.png,{values[0]}\nb.png,{values[1]}\n")
    assert found is not None
    assert said in " ".join(found.notes)
    assert [found.of(f"{k}.png")["x"] for k in "ab"] == list(values)


@pytest.mark.parametrize(
    "data",
    [
        "file,age,,\na.png,1,,\nb.png,2,,\n",
        "file,age\na.png,1,\nb.png,2,\n",
        ",,file,age\n0,0,a.png,1\n1,1,b.png,2\n",
    ],
)
def test_columns_without_names_are_none(data: str) -> None:
    found = labelled(data)
    assert found is not None
    assert found.names == ("age",)
    assert [found.of(f"{k}.png")["age"] for k in "ab"] == [1.0, 2.0]


@pytest.mark.parametrize(
    "data",
    [
        "id,file_name,age\n1,2.jpg,30\n2,1.jpg,40\n",
        "index,picture,age\n1,2.jpg,30\n2,1.jpg,40\n",
    ],
)
@pytest.mark.parametrize("called", [False, True])
def test_a_number_is_no_name_where_a_file_is_named(data: str, called: bool) -> None:
    """As of tables that were written before the images were saved in another format."""
    sheet = read_sheet("t.csv", data.encode())
    found = labels_of(sheet, Names(["1.png", "2.png"], "photos"), called=called)
    assert found is not None
    assert [found.of(f"{k}.png")["age"] for k in "12"] == [40.0, 30.0]


def test_a_fraction_is_no_name() -> None:
    names = Names(["1.png", "2.png"], "photos")
    assert labels_of(read_sheet("t.csv", b"score,who\n1.5,x\n2.25,y\n"), names) is None
    found = labels_of(read_sheet("t.csv", b"id,who\n1.0,x\n2.0,y\n"), names)  # as pandas has ids
    assert found is not None
    assert found.of("2.png") == {"who": "y"}


def test_one_object_with_a_name_of_a_file_is_one_image() -> None:
    found = labelled('{"image_file_name": "a.png", "mask_file_name": "m.png", "age": 3}')
    assert found is not None
    assert found.of("a.png")["age"] == 3.0


@pytest.mark.parametrize("value", ["50%", "1 234", "1'234", "180 cm", "€5", "1e400"])
def test_numbers_that_are_read_as_text_are_said(value: str) -> None:
    found = labelled(f"file,x\na.png,{value}\nb.png,2\n")
    assert found is not None
    assert f"x is read as text, for {value!r} is no number" in " ".join(found.notes)


def test_a_table_of_other_things_is_not_taken_for_one_of_images() -> None:
    assert labelled("step,loss\n7,0.5\n8,0.4\n", called=True) is None
    assert labelled("id,age\n7,30\n", called=True) is not None
    words = labelled("id_code,age\na,30\nb,31\n", called=True)  # as of Kaggle's train.csv
    assert words is not None
    assert words.of("b.png") == {"age": 31.0}
    assert labelled("step,loss\n7,0.5\n") is not None  # it was given as a table of labels
    assert labelled("file^age\na.png^30\n") is None  # that ends in no suffix


def test_names_in_bytes_of_another_alphabet_are_found() -> None:
    stored = b"M\xfcller.png".decode("utf-8", "surrogateescape")
    assert Names([stored], "photos").find("Müller.png") == stored


@pytest.mark.parametrize("data", ["a\n" * 99, "," * 99, '[{"a":1},' * 99, '{"a":1}\n' * 99])
def test_tables_of_few_bytes_that_hold_much_are_refused(
    data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MAX_HELD", 90)
    monkeypatch.setattr("pipeline.data.sources.json_tables.MAX_ENTRIES", 90)
    with pytest.raises(DataError, match="split it"):
        read_sheet("t.csv", data.encode())
