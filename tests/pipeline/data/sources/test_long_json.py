"""Tables in JSON that are long: read an entry at a time, as short ones are, in bounded memory."""

import io
import json
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from pipeline.data.sources import json_stream, tables
from pipeline.data.sources.json_stream import JsonStream
from pipeline.data.sources.json_tables import read_json, read_long_json
from pipeline.data.sources.registry import open_source
from stylealae.errors import DataError
from tests.pipeline.data.sources.test_containers import png

ENTRIES = {
    f"{k:03d}.png": {
        "age": k,
        "name": f"Ünal {k}",
        "parts": {"eyes": [[1, 2]] * 9},
        "by": "me" if k % 2 else None,
    }
    for k in range(200)
}
LISTED = [{"file": name, **entry} for name, entry in ENTRIES.items()]
FORMS = {
    "by name": json.dumps(ENTRIES),
    "by name, indented": json.dumps(ENTRIES, indent=2, ensure_ascii=False),
    "listed": json.dumps(LISTED),
    "listed, indented": "\ufeff\n" + json.dumps(LISTED, indent=1),
    "lines": "\n".join(map(json.dumps, LISTED)) + "\n\n",
    "values": json.dumps({name: k for k, name in enumerate(ENTRIES)}),
}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces and limits in miniature."""
    monkeypatch.setattr(json_stream, "PIECE", 7)
    monkeypatch.setattr(json_stream, "MAX_ENTRY", 2000)
    monkeypatch.setattr(tables, "MAX_BYTES", 1000)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("form", FORMS)
def test_a_long_table_is_read_as_a_short_one(form: str) -> None:
    text = FORMS[form]
    wanted = read_json("t.json", text.lstrip("\ufeff").lstrip())
    found = read_long_json("t.json", io.BytesIO(text.encode()))
    assert found.header == wanted.header
    assert [list(row) for row in found.rows] == [list(row) for row in wanted.rows]
    assert found.notes == wanted.notes


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("packed", ["folder", "zip", "given"])
def test_labels_come_from_long_tables_wherever_they_lie(packed: str, tmp_path: Path) -> None:
    names = ("000.png", "007.png")
    if packed == "zip":
        with zipfile.ZipFile(tmp_path / "in", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("labels.json", FORMS["listed"])
            for name in names:
                archive.writestr(name, png())
    else:
        (tmp_path / "in").mkdir()
        for name in names:
            (tmp_path / "in" / name).write_bytes(png())
        inside = tmp_path / "in" / "labels.json"
        (inside if packed == "folder" else tmp_path / "t.json").write_text(FORMS["listed"])
    labels = str(tmp_path / "t.json") if packed == "given" else None
    source = open_source(str(tmp_path / "in"), labels=labels)
    assert [source.read(i).labels["age"] for i in range(2)] == [0.0, 7.0]
    assert any("parts holds lists or objects, left aside" in note for note in source.notes)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (FORMS["by name"][:-1], "t.json cannot be read as JSON at character .*the end"),
        (FORMS["by name"] + "}", "the end is wanted, and there is }"),
        (FORMS["listed"][:-40], "cannot be read as JSON"),
        ('{"a.png": ' * 900, "cannot be read as JSON"),
        ("[" + "1," * 900 + "1]", "no list of objects"),
        ("[{}" + "[" * 3000, "wanted"),
        ('["' + "x" * 5000 + '"]', "cannot be read as JSON"),
        ('[{"a": "\xff"}]', "not in UTF-8"),
    ],
)
def test_what_is_no_table_is_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_long_json("t.json", io.BytesIO(text.encode("latin-1")))


def test_other_tables_and_longer_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MAX_BYTES", 1000)
    monkeypatch.setattr(tables, "MAX_JSON", 3000)
    for name in ("t.csv", "t.json"):
        path = tmp_path / name
        path.write_text(FORMS["listed"])
        with pytest.raises(DataError, match="leave out columns, or split the data set"):
            tables.read_table(str(path), path.stat().st_size, lambda: path.open("rb"))  # noqa: B023


def test_what_is_held_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """6 MB of which a hundredth are labels, in entries of 12 kB; as objects they are 27 MB."""
    path = tmp_path / "t.json"
    nested = json.dumps([[0.125] * 100] * 17)
    with path.open("w") as file:
        file.write("{")
        for k in range(500):
            file.write(f'{"," if k else ""}"{k:05d}.png": {{"age": {k % 90}, "at": {nested}}}')
        file.write("}")
    assert path.stat().st_size > 5 << 20
    monkeypatch.setattr(json_stream, "MAX_ENTRY", 1 << 18)
    monkeypatch.setattr(json_stream, "PIECE", 1 << 18)
    tracemalloc.start()
    with path.open("rb") as stream:
        sheet = read_long_json("t.json", stream)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(sheet.rows), sheet.header) == (500, ("file", "age"))
    assert most < 8 << 20


def test_numbers_on_the_edge_of_a_piece_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    for piece in range(1, 12):
        monkeypatch.setattr(json_stream, "PIECE", piece)
        found = list(JsonStream("t", io.BytesIO(b"[123456, -7.5e3,\n 12]")).elements())
        assert found == [123456, -7500.0, 12]
