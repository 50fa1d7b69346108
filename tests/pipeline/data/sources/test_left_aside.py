"""What an input holds and is not used: every file is counted, and nothing hides another."""

import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from pipeline.data.sources.registry import open_source
from pipeline.data.sources.sidecars import _sample
from stylealae.errors import DataError


def png(level: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (level,) * 3).save(file, "PNG", compress_level=0)
    return file.getvalue()


def tar_of(
    path: Path, members: list[tuple[str, bytes]], links: dict[str, str] | None = None
) -> Path:
    """A tar of files, and of symbolic links by their targets."""
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return path


def test_links_folders_and_hidden_files_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "in"
    (root / "a").mkdir(parents=True)
    (root / "locked").mkdir()
    (root / "a" / "0.png").write_bytes(png())
    (root / "a" / "Thumbs.db").write_bytes(b"")
    (root / "nowhere.png").symlink_to("gone.png")
    (root / "linked.png").symlink_to("a/0.png")
    (root / "b").symlink_to("a")
    os.mkfifo(root / "pipe.png")
    scandir = os.scandir

    def guarded(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    source = open_source(str(root))
    assert [source.key(i) for i in range(len(source))] == ["a/0.png", "linked.png"]
    assert {reason: found["names"] for reason, found in source.left_aside.json().items()} == {  # type: ignore[index]
        "folders that cannot be read": ["locked"],
        "links that lead nowhere": ["nowhere.png"],
        "links to folders listed already": ["b"],
        "special files": ["pipe.png"],
        "hidden files": ["a/Thumbs.db"],
    }


def test_links_in_a_tar_lead_to_files_or_nowhere(tmp_path: Path) -> None:
    links = {
        "b/x.png": "../a/0.png",
        "b/y.png": "x.png",
        "b/z.png": "z.png",
        "q.png": "/etc/passwd",
    }
    source = open_source(str(tar_of(tmp_path / "x.tar", [("a/0.png", png(7))], links)))
    assert [source.key(i) for i in range(len(source))] == ["a/0.png", "b/x.png", "b/y.png"]
    assert (source.read(2).image == 7).all()
    assert str(source.left_aside) == "2 links that lead nowhere"


def test_links_and_names_of_macos_in_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a/0.png", png(7))
        for name, target in (("b/1.png", "../a/0.png"), ("b/2.png", "gone.png")):
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, target)
        archive.writestr("c/José.png", png(8))
    data = (tmp_path / "x.zip").read_bytes()
    for mark in (b"PK\x03\x04", b"PK\x01\x02"):  # without the bit that says UTF-8
        at = data.rindex(mark) + (6 if mark[2] == 3 else 8)
        data = data[: at + 1] + b"\0" + data[at + 2 :]
    (tmp_path / "x.zip").write_bytes(data)
    source = open_source(str(tmp_path / "x.zip"))
    assert [source.key(i) for i in range(len(source))] == ["a/0.png", "b/1.png", "c/José.png"]
    assert (source.read(1).image == 7).all()
    assert (source.read(2).image == 8).all()
    assert str(source.left_aside) == "1 links that lead nowhere"


def test_a_device_in_a_tar_is_counted(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        info = tarfile.TarInfo("a.png")
        info.size = len(png())
        archive.addfile(info, io.BytesIO(png()))
        pipe = tarfile.TarInfo("b.png")
        pipe.type = tarfile.FIFOTYPE
        archive.addfile(pipe)
    assert str(open_source(str(tmp_path / "x.tar")).left_aside) == "1 special files"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "names", [("a.png", "a.png"), ("./a.png", "a.png"), ("b\\a.png", "b/a.png")]
)
def test_two_files_of_one_name_are_refused(names: tuple[str, str], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in names:
            archive.writestr(name, png())
    for path in (tmp_path / "x.zip", tar_of(tmp_path / "x.tar", [(n, png()) for n in names])):
        with pytest.raises(DataError, match=r"holds two files named (b/)?a\.png"):
            open_source(str(path))


def test_a_sample_of_a_shard_has_one_image_and_its_labels(tmp_path: Path) -> None:
    members = [
        *(("0.mask.png", png(1)), ("0.png", png(2)), ("0.cls", b"4"), ("0.npy", b"?")),
        *(
            ("1.png", png(3)),
            ("1.json", b'{"a": "x", "n": [1], "cls": 3, "b": true, "none": null}'),
        ),
        *(("2.png", png(4)), ("2.json", b'{"a": 20250101}')),
    ]
    source = open_source(str(tar_of(tmp_path / "x.tar", members)))
    assert [source.key(i) for i in range(len(source))] == ["0.png", "1.png", "2.png"]
    assert source.label_names == ("class", "a", "cls", "b")
    assert source.read(0).labels == {"class": 4.0, "a": None, "cls": None, "b": None}
    assert source.read(1).labels == {"class": None, "a": "x", "cls": 3.0, "b": 1.0}
    assert source.read(2).labels["a"] == "20250101"  # a text, as the other one is
    assert any("n in .json holds lists" in note for note in source.notes)
    assert str(source.left_aside) == "1 .npy files, 1 images of another kind"
    tar_of(tmp_path / "y.tar", [("0.png", png()), ("0.cls", b"cat")])
    with pytest.raises(DataError, match=r"0\.cls cannot be read as labels"):
        open_source(str(tmp_path / "y.tar"))


@pytest.mark.parametrize("name", ["0.png", "a/0.png", "a.b/c.mask.png", "a.b/.c.png", "./a.tar.gz"])
def test_a_sample_is_called_what_webdataset_calls_it(name: str) -> None:
    from webdataset.tariterators import base_plus_ext

    assert _sample(name) == (base_plus_ext(name)[0] or name)


def test_a_folder_of_tars_has_all_their_images_and_the_tables_beside_them(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    for number in range(2):
        tar_of(tmp_path / "train" / f"{number}.tar", [(f"{number}.png", png(number))])
    (tmp_path / "labels.csv").write_text("file,age\n0.png,3\n1.png,4\n")
    source = open_source(str(tmp_path))
    assert [source.key(i) for i in range(2)] == ["train/0.tar/0.png", "train/1.tar/1.png"]
    assert [source.read(i).labels["age"] for i in range(2)] == [3.0, 4.0]
    assert (source.read(1).image == 1).all()


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_another_picture_of_the_same_size_is_another_input(kind: str, tmp_path: Path) -> None:
    found = set()
    for number, level in enumerate((1, 2, 2)):
        root = tmp_path / str(number)
        (root / "in").mkdir(parents=True)
        path = root / "in"
        if kind == "zip":
            with zipfile.ZipFile(path := root / "in.zip", "w") as archive:
                archive.writestr("a.png", png(level))
        elif kind == "tar":
            path = tar_of(root / "in.tar", [("a.png", png(level))])
        else:
            (path / "a.png").write_bytes(png(level))
        found.add(open_source(str(path)).fingerprint)
    assert len(found) == 2


@pytest.mark.parametrize("at", [100, 2 << 20, -1])
def test_a_large_file_that_differs_in_a_window_is_noticed(at: int, tmp_path: Path) -> None:
    data = bytearray(png() + bytes(5 << 20))
    (tmp_path / "a.png").write_bytes(data)
    before = open_source(str(tmp_path)).fingerprint
    data[at] ^= 1
    (tmp_path / "a.png").write_bytes(data)
    assert open_source(str(tmp_path)).fingerprint != before


def test_labels_beside_an_image_may_bear_its_whole_name_or_capitals(tmp_path: Path) -> None:
    members = [
        *(("0.jpg", png(1)), ("0.jpg.json", b'{"user": 9007199254740993}'), ("0.CLS", b"4")),
        *(("1.jpg", png(2)), ("1.JSON", b'{"user": 9007199254740992}'), ("1.caption", b"a cat")),
    ]
    source = open_source(str(tar_of(tmp_path / "x.tar", members)))
    assert source.read(0).labels == {"class": 4.0, "user": "9007199254740993"}
    assert source.read(1).labels == {"class": None, "user": "9007199254740992"}
    assert any("1 .caption files bear the names of images" in note for note in source.notes)
