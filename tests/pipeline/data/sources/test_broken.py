"""Inputs that are none, or are broken: each is refused by name, with what was found in it."""

import errno
import gzip
import io
import os
import zipfile
from pathlib import Path
from typing import BinaryIO

import pytest
from PIL import Image

from pipeline.data.sources.file_sources import Folder
from pipeline.data.sources.registry import open_source
from stylealae.errors import DataError, UnreachableError

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"
PAGE = b"<!doctype html><p>Quota exceeded"


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("x.zip", b"", r"neither a folder nor .* empty \(0 bytes\)"),
        ("x.zip", LFS, "Git LFS pointer"),
        ("x.zip", PAGE, "web page"),
        ("x.zip", b"../.git/annex/objects/ab/cd", "git-annex pointer"),
        ("x.tar", b"", r"empty \(0 bytes\)"),
        ("x.tar", LFS, "Git LFS pointer"),
        ("x.tar", PAGE, "web page"),
        ("x.tar", bytes(range(256)) * 4, "cannot be read as an uncompressed tar"),
        ("x.tar.gz", gzip.compress(b"0" * 100, mtime=0), "neither a folder nor a zip nor a tar"),
        ("x.png", png(), "is one image: give a folder"),
        ("x.csv", b"a,b\n", "neither a folder nor a zip nor a tar"),
        ("x.parquet", b"", "empty"),
        ("x.parquet", LFS, "Git LFS pointer"),
        ("x-r02.tfrecords", LFS, "begins with no record: it is a Git LFS pointer"),
        ("x-r02.tfrecords.000", b"", "begins with no record: it is empty"),
        ("x.tfrecords", b"?", "holds 1 TFRecords, of which 0"),
        ("in/data.mdb", b"?", "cannot be read as LMDB"),
        ("in/train-images-idx3-ubyte", b"??", "it is no IDX file"),
        ("in/dataset.json", b"[]", "holds no images"),
        ("in/.hidden.png", png(), "found 1 hidden files"),
        ("in/inner.zip", b"PK", r"found 1 \.zip files"),
        ("in/inner.tar", PAGE, "web page"),
    ],
)
def test_what_is_no_input_is_named(name: str, data: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    given = path if path.parent == tmp_path else path.parent
    if "parquet" in name:
        pytest.importorskip("pyarrow")
    if "tfrecords" in name:
        pytest.importorskip("google_crc32c")
    with pytest.raises(DataError, match=said) as caught:
        open_source(str(given))
    assert given.name in str(caught.value)


@pytest.mark.parametrize(
    ("number", "gone"), [(errno.ENOENT, True), (errno.EIO, True), (errno.ESTALE, True),
                         (errno.EMFILE, True), (errno.EACCES, False), (errno.ELOOP, False)],
)  # fmt: skip
def test_a_file_out_of_reach_is_not_a_bad_one(
    tmp_path: Path, number: int, gone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(png())
    source = open_source(str(tmp_path))
    assert isinstance(source, Folder)

    def failing(_: str) -> BinaryIO:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(source.files, "_stream", failing)
    with pytest.raises(UnreachableError if gone else DataError, match=r"a\.png.*cannot|can no lon"):
        source.read(0)


@pytest.mark.parametrize("path", ["nowhere", "s3://bucket/faces", "x" * 5000])
def test_what_is_not_there_is_said(path: str) -> None:
    with pytest.raises(DataError, match=r"does not exist|cannot be read"):
        open_source(path)


def test_a_zip_whose_list_is_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", png())
    whole = path.read_bytes()
    at = whole.rindex(b"PK\x01\x02")
    for place, value in ((at, 0), (whole.rindex(b"PK\x05\x06") + 12, 1)):
        path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
        with pytest.raises(DataError, match=r"x\.zip cannot be read as a zip"):
            open_source(str(path))


def test_an_encrypted_member_of_a_zip_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", png())
        archive.writestr("b.png", png())
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02")  # of b.png, in the list at the end
    data[at + 8] |= 1
    data[data.rindex(b"PK\x03\x04") + 6] |= 1
    path.write_bytes(data)
    source = open_source(str(path))
    assert source.read(0).image.shape == (4, 4, 3)
    with pytest.raises(DataError, match=r"b\.png: it cannot be read .*encrypted"):
        source.read(1)


def test_an_encrypted_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", png())
        archive.writestr("labels.csv", "file,age\na.png,3\n")
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    data[data.rindex(b"PK\x03\x04") + 6] |= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"labels\.csv: .*encrypted: unpack the zip"):
        open_source(str(path))
