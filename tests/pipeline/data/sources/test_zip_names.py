"""Zips packed on Windows of other languages: the alphabet of their names, and what is said."""

import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.data.prepare.destination import REPORT
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source
from pipeline.data.sources.source import Source
from tests.pipeline.data.sources.test_containers import png

JAPANESE = [
    "写真/表.png",
    "写真/ソフト.png",
    "写真/犬.png",
]  # two of the letters end in a backslash
NAMES = {
    "cp932": JAPANESE,
    "gbk": ["照片/猫.png", "照片/中国.png"],
    "big5": ["照片/貓.png", "照片/功能.png"],
    "cp949": ["사진/고양이.png", "사진/개.png"],
    "cp866": ["Фото/Кот.png", "Фото/Собака.png"],
    "cp1251": ["Фото/Кот.png", "Фото/Собака.png"],
    "cp852": ["zdjęcia/żółw.png", "zdjęcia/kot.png"],
    "cp737": ["γάτα.png", "σκύλος.png"],
}


def packed(path: Path, files: Mapping[bytes, bytes], extra: Mapping[bytes, bytes] = {}) -> Path:
    """A zip whose members have these names, to the byte and without the flag of UTF-8."""
    blanks = {f"{k:03d}".encode() + b"_" * (len(name) - 3): name for k, name in enumerate(files)}
    with zipfile.ZipFile(path, "w") as archive:
        for blank, name in blanks.items():
            info = zipfile.ZipInfo(blank.decode())
            info.extra = extra.get(name, b"")
            archive.writestr(info, files[name])
    data = path.read_bytes()
    for blank, name in blanks.items():
        assert data.count(blank) == 2
        data = data.replace(blank, name)
    path.write_bytes(data)
    return path


def keys(source: Source) -> list[str]:
    return sorted(source.key(i) for i in range(len(source)))


@pytest.mark.parametrize("page", NAMES)
@pytest.mark.parametrize("where", ["inside", "beside", "given"])
def test_a_table_decides_which_code_page_names_are_in(
    page: str, where: str, tmp_path: Path
) -> None:
    names = NAMES[page]
    table = "file,age\n" + "".join(f"{name},{k}\n" for k, name in enumerate(names))
    files = {name.encode(page): png(k) for k, name in enumerate(names)}
    if where == "inside":
        files[b"labels.csv"] = table.encode()
    else:
        (tmp_path / {"beside": "x.csv", "given": "ages.csv"}[where]).write_text(table)
    path = packed(tmp_path / "x.zip", files)
    given = str(tmp_path / "ages.csv") if where == "given" else None
    source = open_source(str(path), labels=given)
    assert keys(source) == sorted(names)
    found = {source.key(i): source.read(i).labels["age"] for i in range(len(source))}
    assert found == {name: float(k) for k, name in enumerate(names)}
    (note,) = [note for note in source.notes if "alphabet" in note]
    guessed = sum(not name.isascii() for name in names)
    assert f"{guessed} names do not say" in note
    assert "as a table of labels names them" in note


def test_names_by_their_ends_without_folders_or_endings_decide_too(tmp_path: Path) -> None:
    rows = "\n".join(Path(name).stem + ",1" for name in JAPANESE)
    files = {name.encode("cp932"): png() for name in JAPANESE}
    path = packed(tmp_path / "x.zip", {**files, b"labels.csv": f"file,age\n{rows}\n".encode()})
    assert keys(open_source(str(path))) == sorted(JAPANESE)


def test_without_a_table_the_guess_is_as_it_was_and_is_told(tmp_path: Path) -> None:
    path = packed(tmp_path / "x.zip", {name.encode("cp932"): png() for name in JAPANESE[1:]})
    source = open_source(str(path))
    assert keys(source) == sorted(
        name.encode("cp932").decode("cp850").replace("\\", "/") for name in JAPANESE[1:]
    )
    (note,) = [note for note in source.notes if "alphabet" in note]
    assert "2 names do not say their alphabet and are read as Western (DOS), cp850" in note
    assert "pack the zip anew" in note
    assert "--labels" in note


def test_a_table_of_other_images_does_not_decide(tmp_path: Path) -> None:
    table = "file,age\n鳥.png,3\na.png,1\n".encode()
    files = {"犬.png".encode("cp932"): png(), b"a.png": png(1), b"labels.csv": table}
    source = open_source(str(packed(tmp_path / "x.zip", files)))
    assert "a guess" in source.notes[0]


def test_folders_of_a_name_do_not_decide_where_the_table_has_none(tmp_path: Path) -> None:
    files = {
        "写真/001.png".encode("cp932"): png(),
        "写真/labels.csv".encode("cp932"): b"file,age\n001.png,3\n",
    }
    source = open_source(str(packed(tmp_path / "x.zip", files)))
    assert source.read(0).labels == {"age": 3.0}  # it lies beside the image, whatever the folder
    assert "a guess" in source.notes[0]


def unicode_path(raw: bytes, name: str, *, version: int = 1, checksum: int = 0) -> bytes:
    """Info-ZIP's extra field, behind another one."""
    field = struct.pack("<BL", version, checksum or zlib.crc32(raw)) + name.encode()
    return struct.pack("<HHL", 0x5855, 4, 0) + struct.pack("<HH", 0x7075, len(field)) + field


@pytest.mark.parametrize(
    ("how", "read"),
    [({}, True), ({"version": 2}, False), ({"checksum": 1}, False)],
    ids=["sound", "another version", "of another name"],
)
def test_a_unicode_path_beside_a_name_is_the_name(
    how: dict[str, int], read: bool, tmp_path: Path
) -> None:
    raw = "犬の写真.png".encode("cp932")
    extra = unicode_path(raw, "犬の写真.png", **how)
    source = open_source(str(packed(tmp_path / "x.zip", {raw: png()}, {raw: extra})))
    assert (keys(source) == ["犬の写真.png"]) is read
    assert (not source.notes) is read


def test_names_in_utf8_without_the_flag_need_no_guess(tmp_path: Path) -> None:
    source = open_source(str(packed(tmp_path / "x.zip", {"犬の写真.png".encode(): png()})))
    assert keys(source) == ["犬の写真.png"]
    assert not source.notes


def test_the_report_tells_how_names_were_read(tmp_path: Path) -> None:
    rows = "".join(f"{name},1\n" for name in JAPANESE)
    files = {name.encode("cp932"): png() for name in JAPANESE}
    path = packed(tmp_path / "x.zip", {**files, b"labels.csv": f"file,age\n{rows}".encode()})
    prepare(open_source(str(path)), tmp_path / "out", (4,), workers=1)
    report = json.loads((tmp_path / "out" / REPORT).read_text())
    assert any("Japanese (Shift-JIS), cp932, such as 写真/表.png" in n for n in report["notes"])
