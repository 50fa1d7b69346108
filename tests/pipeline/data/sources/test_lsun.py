"""LSUN, on look-alikes: LMDB folders of encoded images, as lsun/data.py reads them."""

import hashlib
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.sources.registry import open_source
from stylealae.errors import DataError

lmdb = pytest.importorskip("lmdb")


def database(folder: Path, levels: list[int], kind: str = "WEBP") -> dict[str, int]:
    """A database of grey rectangles, 48x32; gives back the level of each key."""
    made = {}
    with lmdb.open(str(folder), map_size=1 << 24) as env, env.begin(write=True) as values:
        for level in levels:
            file = io.BytesIO()
            Image.new("RGB", (48, 32), (level,) * 3).save(file, kind)
            key = hashlib.sha1(bytes([level])).hexdigest()
            values.put(key.encode(), file.getvalue())
            made[key] = level
    return made


def test_a_database_is_read_by_its_keys_in_order(tmp_path: Path) -> None:
    made = database(tmp_path / "bedroom_train_lmdb", [10, 200, 90])
    source = open_source(str(tmp_path / "bedroom_train_lmdb"))
    assert (source.name, len(source)) == ("lsun", 3)
    for i, key in enumerate(sorted(made)):
        sample = source.read(i)
        assert sample.key == f"bedroom_train_lmdb/{key}"
        assert sample.image.shape == (32, 48, 3)
        assert np.abs(sample.image.astype(int) - made[key]).max() <= 2
        assert sample.labels == {"category": "bedroom"}
    again = pickle.loads(pickle.dumps(source))
    assert (again.read(1).image == source.read(1).image).all()
    assert again.fingerprint == source.fingerprint


def test_validation_is_set_aside(tmp_path: Path) -> None:
    database(tmp_path / "tower_val_lmdb", [1, 2])
    database(tmp_path / "tower_train_lmdb", [3, 4, 5], "JPEG")
    database(tmp_path / "church_outdoor_train_lmdb", [6])
    source = open_source(str(tmp_path))
    assert source.splits == {"train": range(4), "test": range(4, 6)}
    categories = [source.read(i).labels["category"] for i in range(6)]
    assert categories == ["church_outdoor", *["tower"] * 5]


def test_objects_are_named_without_a_suffix(tmp_path: Path) -> None:
    database(tmp_path / "cat", [1])
    assert open_source(str(tmp_path / "cat")).read(0).labels == {"category": "cat"}


def test_broken_values_are_named(tmp_path: Path) -> None:
    made = database(tmp_path / "cat", [1, 2])
    first, second = sorted(made)
    with lmdb.open(str(tmp_path / "cat")) as env, env.begin(write=True) as values:
        values.put(first.encode(), b"no image")
    source = open_source(str(tmp_path / "cat"))
    with pytest.raises(DataError, match=f"cat/{first}: it is no image"):
        source.read(0)
    assert source.read(1).key == f"cat/{second}"


def test_a_cut_database_is_named(tmp_path: Path) -> None:
    database(tmp_path / "cat", list(range(200)), "BMP")
    path = tmp_path / "cat" / "data.mdb"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"data\.mdb has .* bytes: it is cut short"):
        open_source(str(tmp_path / "cat"))


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    database(tmp_path / "cat", [1])
    (tmp_path / "cat" / "data.mdb").write_bytes(b"<html>" * 1000)
    with pytest.raises(DataError, match=r"cat cannot be read as LMDB"):
        open_source(str(tmp_path / "cat"))


def test_one_file_of_a_database_is_told_to_be_one(tmp_path: Path) -> None:
    database(tmp_path / "faces.lmdb", [10])
    with pytest.raises(DataError, match="one file of LMDB: give the folder in which it lies"):
        open_source(str(tmp_path / "faces.lmdb" / "data.mdb"))
    with pytest.raises(DataError, match=r"give the folder in which data\.mdb lies"):
        open_source(str(tmp_path))


def test_of_images_in_several_sizes_the_largest_are_taken(tmp_path: Path) -> None:
    """As PyTorch's editions of StyleGAN prepare them: 8-00000, 16-00000, ..., length."""
    folder = tmp_path / "faces"
    with lmdb.open(str(folder), map_size=1 << 24) as env, env.begin(write=True) as values:
        for side in (8, 16, 32):
            for number in range(2):
                file = io.BytesIO()
                Image.new("RGB", (side, side), (number,) * 3).save(file, "PNG")
                values.put(f"{side}-{number:05d}".encode(), file.getvalue())
        values.put(b"length", b"2")
    (folder / "labels.csv").write_text("file,age\n")
    source = open_source(str(folder))
    assert [source.key(i) for i in range(len(source))] == ["faces/32-00000", "faces/32-00001"]
    assert source.read(1).image.shape == (32, 32, 3)
    assert any("in sizes 8, 16, 32, of which the largest is taken" in n for n in source.notes)
    assert "5 entries of other sizes" in str(source.left_aside)
