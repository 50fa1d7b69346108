"""Sources: folders, zips, tars and IDX files hold the same images however they are packed."""

import gzip
import io
import pickle
import shutil
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.images import load_images, read_images
from pipeline.data.sources.containers import ZipOfFiles
from pipeline.data.sources.registry import open_source
from stylealae.errors import DataError
from tests.shared_data import FAIRFACE, MNIST, needs


@pytest.fixture(params=["folder", "zip", "tar"])
def packed(request: pytest.FixtureRequest, photos: Path, tmp_path: Path) -> Path:
    """The shared photos below `faces/` in a folder, zip or tar, other files among them."""
    files = {f"faces/{p.name}": p.read_bytes() for p in sorted(photos.iterdir())}
    files |= {"faces/notes.txt": b"hm", "__MACOSX/faces/._000.png": b"junk", "faces/.x.png": b""}
    path = tmp_path / f"photos.{request.param}"
    if request.param == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    elif request.param == "tar":
        with tarfile.open(path, "w") as archive:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    else:
        for name, data in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    return path


def test_containers_hold_the_same_images(packed: Path, photos: Path) -> None:
    source = open_source(str(packed))
    assert (source.name, len(source)) == (packed.suffix[1:], 100)
    assert source.splits == {"train": range(84), "test": range(84, 100)}
    assert source.label_names == ("age", "parity")
    sample = source.read(7)
    assert sample.key == "faces/007.v1.png"
    assert sample.labels == {"age": 1.75, "parity": "odd"}
    assert (sample.image == np.asarray(Image.open(photos / "007.v1.png"))).all()


def test_a_source_reopens_itself_in_another_process(packed: Path) -> None:
    source = open_source(str(packed), channels=1, licence="CC BY 4.0")
    sent = pickle.dumps(source)
    again = pickle.loads(sent)
    assert len(sent) < 1000
    assert (again.channels, again.licence) == (1, "CC BY 4.0")
    assert again.fingerprint == source.fingerprint
    assert (again.read(3).image == source.read(3).image).all()


def test_a_cut_tar_is_refused(tmp_path: Path, photos: Path) -> None:
    path = tmp_path / "cut.tar"
    with tarfile.open(path, "w") as archive:
        for photo in sorted(photos.glob("*.png"))[:5]:
            archive.add(photo, photo.name)
        end = archive.offset
    whole = path.read_bytes()
    for length in (end, end + 100, end - 700):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut\.tar"):
            open_source(str(path))


def test_nothing_to_read_says_what_was_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no files at all"):
        open_source(str(tmp_path))
    (tmp_path / "a.txt").touch()
    with pytest.raises(DataError, match=r"looked for .*\.png.* found 1 \.txt files"):
        open_source(str(tmp_path))
    with pytest.raises(DataError, match="does not exist"):
        open_source(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="neither a folder nor"):
        open_source(str(tmp_path / "a.txt"))


def test_small_sets_keep_their_images_for_training(photos: Path) -> None:
    assert open_source(str(photos), test_fraction=0.0).splits == {"train": range(100)}
    assert open_source(str(photos), test_fraction=0.1).splits["test"] == range(90, 100)
    assert open_source(str(photos), test_fraction=0.3).splits["test"] == range(70, 100)
    with pytest.raises(DataError, match="test_fraction is 1"):
        open_source(str(photos), test_fraction=1.0)


def test_labels_beside_an_archive_or_given_by_hand(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for photo in sorted(photos.glob("*.png"))[:5]:
            archive.write(photo, f"faces/{photo.name}")
    assert open_source(str(path)).label_names == ()
    (tmp_path / "labels.csv").write_bytes((photos / "labels.csv").read_bytes())
    beside = open_source(str(path))
    assert beside.read(3).labels == {"age": 0.75, "parity": "odd"}
    given = tmp_path / "mine.csv"
    given.write_text("file,age,note\nfaces/003.v1.png,30,\nfaces/004.v1.png,,tall\n")
    source = open_source(str(path), labels=str(given))
    assert source.read(3).labels == {"age": 30.0, "note": None}
    assert source.read(4).labels == {"age": None, "note": "tall"}
    assert source.read(0).labels == {"age": None, "note": None}
    assert len({source.fingerprint, beside.fingerprint}) == 2


def test_labels_of_other_images_are_refused_or_left_aside(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(photos / "000.v1.png", "000.v1.png")
    (tmp_path / "labels.csv").write_text("file,age\nother.png,3\n")
    assert open_source(str(path)).label_names == ()
    assert "knows no image" in caplog.text
    with pytest.raises(DataError, match=r"knows none of the 1 images, such as 000\.v1\.png"):
        open_source(str(path), labels=str(tmp_path / "labels.csv"))
    with pytest.raises(DataError, match=r"nowhere\.csv is no file"):
        open_source(str(path), labels=str(tmp_path / "nowhere.csv"))
    with pytest.raises(DataError, match="brings its own labels"):
        open_source("rendered:5", labels=str(tmp_path / "labels.csv"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("\n \n", "first line"),
        ("file,age,age\n", "distinct"),
        ("file,age\na.png\n", "row 2 has 1 columns, the header 2"),
        ("3\nYoung Male\na.png 1 -1\n", "lists 3 images with 2 attributes each, and 1 lines"),
        ("1\nYoung Male\na.png 1\n", "not all of that length"),
    ],
)
def test_a_damaged_table_is_named(text: str, said: str, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(DataError, match=rf"bad\.csv.*{said}"):
        open_source(str(photos), labels=str(tmp_path / "bad.csv"))


def test_any_folder_takes_attributes_as_celeba_lists_them(photos: Path, tmp_path: Path) -> None:
    rows = [f"{p.name} {'1' if i % 2 else '-1'}  1" for i, p in enumerate(photos.glob("*.png"))]
    (tmp_path / "list.txt").write_text("\n".join([str(len(rows)), "Smiling Young", *rows, ""]))
    source = open_source(str(photos), labels=str(tmp_path / "list.txt"))
    assert source.label_names == ("Smiling", "Young")
    assert {source.read(i).labels["Smiling"] for i in range(4)} <= {1.0, -1.0}


def test_a_zip_cannot_swell_without_bound(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.data.sources.container.MAX_BYTES", 10_000)
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(photos / "000.v1.png", "a.png")
        archive.writestr("b.png", bytes(50_000))
    source = open_source(str(path))
    assert source.read(0).image.shape == (32, 32, 3)
    with pytest.raises(DataError, match=r"b\.png: it has 50,000 bytes, more than 10,000"):
        source.read(1)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_is_read_as_far_as_it_claims_and_not_inflated_beyond(
    photos: Path, tmp_path: Path, method: int
) -> None:
    path = tmp_path / "liar.zip"
    photo = (photos / "000.v1.png").read_bytes()
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.png", photo)
        archive.writestr("b.png", bytes(200 << 20))
    told = (200 << 20).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(told, (1000).to_bytes(4, "little")))
    files = ZipOfFiles(str(path))
    assert files.read("a.png") == photo
    tracemalloc.start()
    with pytest.raises(DataError, match="it cannot be read"):
        files.read("b.png")
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held < 150 << 20


def test_a_table_of_labels_has_a_bound(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.data.sources.tables.MAX_BYTES", 100)
    table = tmp_path / "many.csv"
    table.write_text("file,age\n" + "a.png,3\n" * 20)
    with pytest.raises(DataError, match=r"many\.csv has 169 bytes, more than the 100"):
        open_source(str(photos), labels=str(table))
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(photos / "000.v1.png", "a.png")
        archive.write(table, "labels.csv")
    with pytest.raises(DataError, match=r"labels\.csv has 169 bytes"):
        open_source(str(tmp_path / "photos.zip"))


def test_damage_inside_a_zip_is_named(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(photos / "000.v1.png", "a.png")
        archive.write(photos / "001.v1.png", "b.png")
    data = bytearray(path.read_bytes())
    data[60:64] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    source = open_source(str(path))
    with pytest.raises(DataError, match=r"a\.png: it cannot be"):
        source.read(0)
    assert source.read(1).image.shape == (32, 32, 3)


def test_a_page_in_place_of_an_archive_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "faces.zip"
    path.write_text("<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title></html>")
    with pytest.raises(DataError, match="nor a tar: it is a web page"):
        open_source(str(path))


def test_the_kind_can_be_named(photos: Path) -> None:
    assert open_source(str(photos), "folder").name == "folder"
    with pytest.raises(DataError, match="there is no source 'photos'"):
        open_source(str(photos), "photos")
    with pytest.raises(DataError, match="cannot be read as a zip"):
        open_source(str(photos), "zip")


def idx(array: np.ndarray) -> bytes:
    """An array of bytes in IDX form."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def test_idx_round_trip(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)
    labels = np.arange(7, dtype=np.uint8)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images[:5])))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(labels[:5]))
    (tmp_path / "t10k-images.idx3-ubyte").write_bytes(idx(images[5:]))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(labels[5:]))
    source = open_source(str(tmp_path))
    assert (source.name, source.channels) == ("idx", 1)
    assert source.splits == {"train": range(5), "test": range(5, 7)}
    for i in range(7):
        sample = source.read(i)
        assert sample.labels == {"class": float(i)}
        assert (sample.image[2:30, 2:30, 0] == images[i]).all()
        assert sample.image.sum() == images[i].sum(dtype=np.int64)
    assert source.key(6) == "test-00001"
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(labels[5:])[:-1])
    with pytest.raises(DataError, match="bytes"):
        open_source(str(tmp_path))


def test_idx_files_in_folders_of_their_names_and_one_file_alone(tmp_path: Path) -> None:
    for name, array in (
        ("train-images-idx3-ubyte", np.zeros((2, 8, 8), np.uint8)),
        ("train-labels-idx1-ubyte", np.arange(2, dtype=np.uint8)),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_bytes(idx(array))
    (tmp_path / "labels.csv").write_text("file,age\n")
    source = open_source(str(tmp_path))
    assert (source.name, len(source)) == ("idx", 2)
    assert any("labels.csv may hold labels and is not used" in note for note in source.notes)
    with pytest.raises(DataError, match="one file of IDX: give the folder in which it lies"):
        open_source(str(tmp_path / name / name))


def test_emnist_is_turned_upright(tmp_path: Path) -> None:
    image = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)
    (tmp_path / "emnist-letters-train-images-idx3-ubyte").write_bytes(idx(image))
    (tmp_path / "emnist-letters-train-labels-idx1-ubyte").write_bytes(idx(image[0, :1, 1]))
    source = open_source(str(tmp_path))
    assert (source.read(0).image[:, :, 0] == image[0].T).all()
    assert any("turned upright" in note for note in source.notes)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_idx_is_read_as_far_as_it_claims(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    claimed = bytes([0, 0, 8, 3]) + np.array((1 << 31, 28, 28), ">u4").tobytes()
    images = tmp_path / "train-images-idx3-ubyte"
    images.write_bytes(pack(claimed + bytes(1000)))
    with pytest.raises(DataError, match="needs 1,683,627,180,048"):
        open_source(str(tmp_path))
    images.write_bytes(pack(idx(np.zeros((1, 28, 28), np.uint8)) + bytes(100 << 20)))
    tracemalloc.start()
    with pytest.raises(DataError, match="bytes, an array of"):
        open_source(str(tmp_path))
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held < (10 << 20)


def test_tools_see_images_as_training_does(photos: Path, tmp_path: Path) -> None:
    x = load_images([photos / "000.v1.png", photos], 16, count=3)
    assert x.shape == (3, 3, 16, 16)
    assert (x[0] == x[1]).all()
    assert x.min() >= -1
    assert x.max() <= 1
    (tmp_path / "bad.png").write_text("no image")
    with pytest.raises(DataError, match=r"bad\.png"):
        load_images([tmp_path / "bad.png"], 16)


@needs(MNIST)
def test_the_real_mnist() -> None:
    source = open_source(str(MNIST))
    assert source.name == "idx"
    assert source.splits == {"train": range(60_000), "test": range(60_000, 70_000)}
    assert [source.read(i).labels["class"] for i in (0, 1, 60_000)] == [5.0, 0.0, 7.0]
    assert source.read(0).image.shape == (32, 32, 1)


@needs(FAIRFACE)
def test_real_photos_in_a_tar_with_labels() -> None:
    source = open_source(str(FAIRFACE))
    assert (source.name, len(source)) == ("tar", 1500)
    assert source.label_names == ("age", "gender")
    sample = source.read(1499)
    assert sample.image.shape == (224, 224, 3)
    assert None not in sample.labels.values()


def test_images_of_several_inputs_have_names_of_their_own(tmp_path: Path) -> None:
    for name in ("a/0.png", "b/0.png"):
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    folders = [tmp_path / "a", tmp_path / "b"]
    assert [image.name for image in read_images(folders, 4)] == ["a/0.png", "b/0.png"]
    assert [image.name for image in read_images([tmp_path], 4)] == ["a/0.png", "b/0.png"]
    files = [folder / "0.png" for folder in folders]
    assert [image.name for image in read_images(files, 4)] == [str(file) for file in files]
    assert [image.name for image in read_images(files[:1], 4)] == ["0.png"]


def test_folders_that_are_called_as_splits_are_said_to_be_one_set(
    photos: Path, tmp_path: Path
) -> None:
    for folder in ("train/a", "val/a", "other"):
        (tmp_path / folder).mkdir(parents=True)
        shutil.copy(photos / "000.v1.png", tmp_path / folder)
    (note,) = open_source(str(tmp_path)).notes
    assert "train, val are taken as one set" in note
    assert open_source(str(tmp_path / "train")).notes == []


def test_a_test_split_of_some_classes_alone_is_said(photos: Path, tmp_path: Path) -> None:
    for k in range(4):
        for folder in ("cat", "dog", "owl"):
            (tmp_path / folder).mkdir(exist_ok=True)
            shutil.copy(photos / "000.v1.png", tmp_path / folder / f"{k}.png")
    said = f"{tmp_path}: the 4 images for tests are the last by name, and of owl alone: what is "
    assert any(
        note.startswith(said) for note in open_source(str(tmp_path), test_fraction=0.34).notes
    )
    for fraction in (0.0, 0.9):
        notes = open_source(str(tmp_path), test_fraction=fraction).notes
        assert not any("for tests" in note for note in notes)
