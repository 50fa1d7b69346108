"""Archives as people have them: known by their bytes, whatever they are called, and read whole."""

import bz2
import gzip
import io
import lzma
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from PIL import Image

from pipeline.data.images import read_images
from pipeline.data.sources.registry import open_source
from stylealae.errors import DataError, UnreachableError


def png(grey: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("L", (4, 4), grey).save(file, "PNG")
    return file.getvalue()


def tar_of(files: Mapping[str, bytes], **how: object) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", **how) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def zip_of(files: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


def keys(path: Path) -> list[str]:
    source = open_source(str(path))
    return [source.read(i).key for i in range(len(source))]


ONE = {"a.png": png()}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.zip", tar_of(ONE)),
        ("X.TAR", tar_of(ONE)),
        ("x", tar_of(ONE)),
        ("x.tar", zip_of(ONE)),
        ("x", zip_of(ONE)),
        ("x.tar", tar_of({**ONE, "last.zip": zip_of({"b.png": png()})})),
        ("x", tar_of({**ONE, "last.zip": zip_of({"b.png": png()})})),
    ],
)
def test_an_archive_is_what_its_bytes_say(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    assert keys(tmp_path / name) == ["a.png"]


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x"])
@pytest.mark.parametrize(
    ("pack", "said"),
    [
        (gzip.compress, "by gzip"),
        (bz2.compress, "by bzip2"),
        (lzma.compress, "by xz"),
        (lambda data: b"\x28\xb5\x2f\xfd" + data, "by zstd"),
    ],
)
def test_a_compressed_tar_is_called_so(
    pack: Callable[[bytes], bytes], said: str, name: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(pack(tar_of(ONE)))
    with pytest.raises(DataError, match=f"compressed {said}, .* unpack it first"):
        open_source(str(tmp_path / name))


def test_tars_one_after_the_other_are_read_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(tar_of(ONE) + bytes(3 << 20) + tar_of({"b.png": png()}) + tar_of({}))
    assert keys(path) == ["a.png", "b.png"]
    path.write_bytes(tar_of(ONE) + b"something else" * 99)
    with pytest.raises(DataError, match="behind its end mark"):
        open_source(str(path))
    path.write_bytes(tar_of(ONE) + tar_of({"b.png": png()})[:700])
    with pytest.raises(DataError, match=r"x\.tar"):
        open_source(str(path))


@pytest.mark.parametrize(
    ("stored", "names"),
    [
        ([b"M\xfcller.png", b"Ren\xe9.png"], ["Müller.png", "René.png"]),  # Windows-1252
        ([b"M\x81ller.png", b"Stra\xe1e.png"], ["Müller.png", "Straße.png"]),  # code page 850
        ([b"Stra\xe1e.png"], ["Straße.png"]),
        (["Ü.png".encode(), b"M\xfcller.png"], ["Müller.png", "Ü.png"]),
    ],
)
def test_names_of_a_zip_that_does_not_say_its_alphabet(
    stored: list[bytes], names: list[str], tmp_path: Path
) -> None:
    blanks = {f"{k}" * len(name): name for k, name in enumerate(stored)}
    data = zip_of({**dict.fromkeys(blanks, png())})
    for blank, name in blanks.items():
        data = data.replace(blank.encode(), name)
    (tmp_path / "x.zip").write_bytes(data)
    assert sorted(keys(tmp_path / "x.zip")) == names


def test_thumbnails_of_network_drives_are_no_images(tmp_path: Path) -> None:
    for name in ("a.png", "@eaDir/a.png/THUMB_M.png", "$RECYCLE.BIN/b.png", "ehthumbs.db"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png())
    source = open_source(str(tmp_path))
    assert [source.key(i) for i in range(len(source))] == ["a.png"]
    assert str(source.left_aside) == "3 hidden files"


def test_smaller_copies_that_photo_programs_keep_are_no_images(tmp_path: Path) -> None:
    names = ("originals/0/a.png", "resources/derivatives/0/a.png", "x Previews.lrdata/a.png")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png())
    source = open_source(str(tmp_path))
    assert [source.key(i) for i in range(len(source))] == ["originals/0/a.png"]
    assert str(source.left_aside) == "2 hidden files"


def test_tars_with_tables_of_parquet_beside_them_are_tars(tmp_path: Path) -> None:
    """As img2dataset leaves them."""
    (tmp_path / "00000.tar").write_bytes(tar_of({**ONE, "a.json": b'{"age": 3}'}))
    (tmp_path / "00000.parquet").write_bytes(b"PAR1")
    source = open_source(str(tmp_path))
    assert source.read(0).labels == {"age": 3.0}
    assert str(source.left_aside) == "1 .parquet files"


def test_names_that_lead_up_are_not_hidden_ones(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(zip_of({"../a.png": png(), "./b.png": png()}))
    assert keys(tmp_path / "x.zip") == ["../a.png", "./b.png"]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("x.zip", zip_of(ONE)[:-10], "a zip that is cut short, or a part of one"),
        ("x.rar", b"Rar!\x1a\x07\0", "a RAR archive: unpack it"),
        ("x.h5", b"\x89HDF\r\n\x1a\n", "it is HDF5: write its images as PNG"),
        ("x.npy", b"\x93NUMPY\1\0", "a NumPy array"),
        ("x.mp4", b"\0\0\0\x18ftypmp42", "a video"),
        ("x.csv", b"file,age\na.png,3\n", "a text: give the images, and a table"),
        ("in/x.zip", zip_of(ONE), r"1 \.zip files: unpack them first"),
        ("in/x", png(), "1 files without a suffix: .* an ending such as"),
        ("in/x.jpg?w=200", png(), "an ending such as"),
        ("in/x.arrow", b"ARROW1", "Dataset.to_parquet"),
        ("in/x-r02.tfrecords.gz", b"", "unpack them first"),
        ("in/raw/train-images-idx3-ubyte", b"", "folder in which the -ubyte files lie"),
    ],
)
def test_what_holds_no_images_is_named_with_what_to_do(
    name: str, data: bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=said):
        open_source(str(tmp_path / Path(name).parts[0]))


def test_an_input_may_be_written_as_people_write_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a #1").mkdir()
    (tmp_path / "a #1/a.png").write_bytes(png())
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in ("~/a #1", f"file://{tmp_path}/a #1", f"{tmp_path}/a #1/"):
        assert len(open_source(given)) == 1
    with pytest.raises(DataError, match="the input is empty"):
        open_source("")
    with pytest.raises(DataError, match="copy it to this host"):
        open_source("https://example.com/faces.zip")
    with pytest.raises(DataError, match="address of one image: download it"):
        next(read_images(["https://example.com/me.jpg?size=9"], 4))
    with pytest.raises(DataError, match="a file, not a folder"):
        open_source(str(tmp_path / "a #1/a.png"), "folder")


def test_a_link_that_leads_nowhere_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(DataError, match="a link that leads nowhere"):
        open_source(str(tmp_path / "one"))


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "tars"])
def test_a_part_reads_its_images_and_lists_nothing(kind: str, tmp_path: Path) -> None:
    """What other processes are handed: it is as large as what they read, and so is its opening."""
    files = {f"{k % 7}/{k:04d}.png": png(k % 250) for k in range(600)}
    table = "".join(f"{name},{k}\n" for k, name in enumerate(files))
    files["labels.csv"] = f"file,age\n{table}".encode()
    path = tmp_path / "set"
    if kind == "folder":
        for name, data in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    elif kind == "tars":
        path.mkdir()
        half = len(files) // 2
        (path / "0.tar").write_bytes(tar_of(dict(list(files.items())[:half])))
        (path / "1.tar").write_bytes(tar_of(dict(list(files.items())[half:-1])))
        (path / "labels.csv").write_text("file,age\n" + table)
    else:
        path.write_bytes(zip_of(files) if kind == "zip" else tar_of(files))
    whole = open_source(str(path))
    wanted = [whole.read(i) for i in range(595, 600)]
    given = pickle.dumps(whole.part(595, 600))
    assert len(given) < 4000
    if kind == "tars":
        (path / "0.tar").unlink()
    elif kind != "folder":  # the head of a tar, or the list of a zip
        data = path.read_bytes()
        at = data.index(b"PK\1\2") if kind == "zip" else 0
        path.write_bytes(data[:at] + bytes(512) + data[at + 512 :])
        with pytest.raises(DataError):
            open_source(str(path), kind)
    part = pickle.loads(given)
    assert type(part) is type(whole)
    for i, sample in zip(range(595, 600), wanted, strict=True):
        found = part.read(i)
        assert (found.key, found.labels) == (whole.key(i), sample.labels)
        assert found.labels == {"age": int(found.key[-8:-4])}
        assert (found.image == sample.image).all()


def test_a_zip_that_is_gone_is_no_heap_of_bad_images(tmp_path: Path) -> None:
    (tmp_path / "set.zip").write_bytes(zip_of({"a.png": png(), "b.png": png(1)}))
    given = pickle.dumps(open_source(str(tmp_path / "set.zip")).part(0, 2))
    (tmp_path / "set.zip").unlink()
    with pytest.raises(UnreachableError, match=r"set\.zip was listed and can no longer be read"):
        pickle.loads(given).read(0)


def test_tars_may_be_called_in_capitals(tmp_path: Path) -> None:
    (tmp_path / "A.TAR").write_bytes(tar_of(ONE))
    assert keys(tmp_path) == ["A.TAR/a.png"]


def test_tars_below_a_linked_folder_are_read(tmp_path: Path) -> None:
    whole, disk = tmp_path / "in", tmp_path / "disk"
    for place in (whole, disk / "deep"):
        place.mkdir(parents=True)
        (place / "0.tar").write_bytes(tar_of(ONE))
    (whole / "more").symlink_to(disk)
    source = open_source(str(whole))
    assert [source.read(i).key for i in range(len(source))] == [
        "0.tar/a.png", "more/deep/0.tar/a.png",
    ]  # fmt: skip
    assert not source.left_aside
    (disk / "1.tar").symlink_to("gone.tar")
    with pytest.raises(DataError, match=r"more/1\.tar"):
        open_source(str(whole))


def test_what_systems_put_beside_tars_is_left_aside(tmp_path: Path) -> None:
    (tmp_path / "0.tar").write_bytes(tar_of(ONE))
    (tmp_path / "._0.tar").write_bytes(b"AppleDouble")
    (tmp_path / "@eaDir" / "0.tar").mkdir(parents=True)
    (tmp_path / "@eaDir" / "0.tar" / "SYNOFILE_THUMB.jpg").write_bytes(b"")
    source = open_source(str(tmp_path))
    assert [source.key(i) for i in range(len(source))] == ["0.tar/a.png"]
    assert str(source.left_aside) == "2 hidden files"
