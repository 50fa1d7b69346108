"""StyleGAN's zip, on look-alikes in the layout that its dataset_tool.py writes."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.data.sources.registry import open_source
from stylealae.errors import DataError


def stylegan(path: Path, labels: Any, count: int = 4) -> Path:
    """A zip of 00000/img00000000.png ... and dataset.json."""
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(count):
            file = io.BytesIO()
            Image.fromarray(np.full((8, 8, 3), i, np.uint8)).save(file, "PNG", compress_level=0)
            archive.writestr(f"00000/img{i:08d}.png", file.getvalue())
        archive.writestr("dataset.json", labels if isinstance(labels, str) else json.dumps(labels))
    return path


def pairs(values: list[Any]) -> dict[str, Any]:
    return {"labels": [[f"00000/img{i:08d}.png", value] for i, value in enumerate(values)]}


def test_classes(tmp_path: Path) -> None:
    source = open_source(str(stylegan(tmp_path / "set.zip", pairs([6, 9, 0, 1]))))
    assert (source.name, source.label_names) == ("stylegan-zip", ("class",))
    assert [source.read(i).labels["class"] for i in range(4)] == [6.0, 9.0, 0.0, 1.0]
    assert (source.read(3).image == 3).all()


def test_vectors(tmp_path: Path) -> None:
    source = open_source(
        str(stylegan(tmp_path / "set.zip", pairs([[0.5, -1], [1, 0], [0, 0], [2, 3]])))
    )
    assert source.label_names == ("label0", "label1")
    assert source.read(0).labels == {"label0": 0.5, "label1": -1.0}


def test_one_hot_vectors_are_classes(tmp_path: Path) -> None:
    vectors = np.eye(4)[[2, 0, 3, 1]].tolist()
    source = open_source(str(stylegan(tmp_path / "set.zip", pairs(vectors))))
    assert [source.read(i).labels["class"] for i in range(4)] == [2.0, 0.0, 3.0, 1.0]


@pytest.mark.parametrize("labels", [{"labels": None}, {"labels": []}])
def test_no_labels(tmp_path: Path, labels: Any) -> None:
    source = open_source(str(stylegan(tmp_path / "set.zip", labels)))
    assert source.name == "stylegan-zip"
    assert source.read(0).labels == {}


def test_an_unpacked_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(stylegan(tmp_path / "set.zip", pairs([1, 2, 3, 4]))) as archive:
        archive.extractall(tmp_path / "set")
    source = open_source(str(tmp_path / "set"))
    assert (source.name, source.read(2).labels) == ("stylegan-zip", {"class": 3.0})


@pytest.mark.parametrize(
    "labels", ["{", "[]", '{"a": 1}', '{"labels": [["x", [1]], ["y", [1, 2]]]}']
)
def test_damaged_labels_are_named(tmp_path: Path, labels: str) -> None:
    with pytest.raises(DataError, match=r"dataset\.json cannot be read"):
        open_source(str(stylegan(tmp_path / "set.zip", labels)))


def test_without_dataset_json_it_is_a_plain_zip(tmp_path: Path) -> None:
    path = tmp_path / "plain.zip"
    with zipfile.ZipFile(stylegan(tmp_path / "set.zip", pairs([1, 2, 3, 4]))) as archive:
        data = archive.read("00000/img00000000.png")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", data)
    assert open_source(str(path)).name == "zip"
    with pytest.raises(DataError, match=r"holds no dataset\.json"):
        open_source(str(path), "stylegan-zip")


@pytest.mark.parametrize("packed", [True, False])
def test_the_set_may_lie_in_a_folder(packed: bool, tmp_path: Path) -> None:
    whole = stylegan(tmp_path / "set.zip", pairs([6, 9, 0, 1]))
    with zipfile.ZipFile(whole) as archive, zipfile.ZipFile(tmp_path / "in.zip", "w") as packing:
        for name in archive.namelist():
            packing.writestr(f"data/{name}", archive.read(name))
        archive.extractall(tmp_path / "in" / "data")
    source = open_source(str(tmp_path / ("in.zip" if packed else "in")))
    assert [source.read(i).labels["class"] for i in range(4)] == [6.0, 9.0, 0.0, 1.0]
    assert not source.left_aside


def test_two_labels_of_an_image_are_refused(tmp_path: Path) -> None:
    labels = pairs([6, 9])
    labels["labels"].append(["00000\\img00000000.png", 7])
    with pytest.raises(DataError, match=r"two labels of 00000/img00000000\.png, 6 and 7: keep one"):
        open_source(str(stylegan(tmp_path / "set.zip", labels)))


def test_a_table_labels_a_set_whose_dataset_json_is_empty(tmp_path: Path) -> None:
    path = stylegan(tmp_path / "set.zip", {"labels": None})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.csv", "file,age\nimg00000001.png,30\n")
    assert open_source(str(path)).read(1).labels == {"age": 30.0}
