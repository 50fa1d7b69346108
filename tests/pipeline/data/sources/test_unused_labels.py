"""What may hold labels and is not read: named, wherever it lies and whatever its form is."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from pipeline.data.sources.registry import open_source
from tests.pipeline.data.sources.test_labels import folder


def test_what_is_called_as_a_table_is_and_is_none_that_is_read_is_told(tmp_path: Path) -> None:
    for name in ("a.png", "list_0.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    for name in ("labels.xlsx", "identity_CelebA.txt", "list_0.txt", "notes.txt"):
        (tmp_path / name).write_text("a.png 1")
    source = open_source(str(tmp_path))
    beside, note = source.notes
    assert ": 1 .txt files bear the names of images and are not used: " in beside
    assert note.endswith(
        ": identity_CelebA.txt, labels.xlsx, notes.txt may hold labels and is not used: name it "
        "with --labels"
    )
    assert str(source.left_aside) == "3 tables not used, 1 files beside images not used"


@pytest.mark.parametrize(
    "name",
    [
        *("people.xlsx", "ages.ods", "ages.csv.gz", "lfw_attributes.txt", "val_annotations.txt"),
        *("image_class_labels.txt", "_annotations.coco.json"),
    ],
)
def test_what_is_kept_in_other_forms_is_told(name: str, tmp_path: Path) -> None:
    (folder(tmp_path, "a.png") / name).write_text("1 30")
    source = open_source(str(tmp_path))
    assert source.label_names == ()
    assert any(f"{name} may hold labels" in note for note in source.notes)


@pytest.mark.parametrize("text", ["1 01/a.png\n", '{"images": [{"file_name": "a.png"}]}', "a.png"])
def test_a_text_that_names_images_is_told(text: str, tmp_path: Path) -> None:
    root = folder(tmp_path, "images/01/a.png")
    (root / "list.txt").write_text(text)
    (root / "readme.txt").write_text("Images such as these: other.png.")
    source = open_source(str(root))
    assert any(": list.txt may hold labels" in note for note in source.notes)
    assert str(source.left_aside) == "1 .txt files, 1 tables not used"


@pytest.mark.parametrize("ending", ["txt", "jpg.json", "json", "cls.txt", "caption", "xml"])
def test_what_bears_the_name_of_an_image_is_told(ending: str, tmp_path: Path) -> None:
    root = folder(tmp_path, "a.png", "b.png")
    (root / "a.png").rename(root / "a.jpg")
    (root / f"a.{ending}").write_text("{}")
    source = open_source(str(root))
    assert any("1 ." in note and "bear the names of images" in note for note in source.notes)
    assert str(source.left_aside) == "1 files beside images not used"


@pytest.mark.parametrize("kind", ["celebahq", "stylegan-zip"])
def test_a_table_beside_a_sets_own_labels_is_told(kind: str, tmp_path: Path) -> None:
    root = folder(tmp_path, "000001.png", labels_csv="file,age\n000001.png,3\n")
    (root / "list_attr_celeba.txt").write_text("1\nMale\n000001.png 1\n")
    (root / "dataset.json").write_text('{"labels": [["000001.png", 4]]}')
    source = open_source(str(root), kind)
    assert "age" not in source.label_names
    assert any("labels.csv" in note and "is not used" in note for note in source.notes)


@pytest.mark.parametrize(
    "name", ["photos.tsv", "photos.xlsx", "metadata.csv", "labels.json", "train_labels.csv"]
)
@pytest.mark.parametrize("packed", [False, True])
def test_what_may_hold_labels_beside_the_input_is_told(
    name: str, packed: bool, tmp_path: Path
) -> None:
    root = folder(tmp_path / "photos", "a.png")
    if packed:
        root = Path(shutil.make_archive(str(root), "zip", root))
        shutil.rmtree(tmp_path / "photos")
    (tmp_path / name).write_text("file,age\na.png,3\n")
    (tmp_path / "notes.txt").write_text("a.png")
    (tmp_path / "results.csv").write_text("file,age\na.png,3\n")
    (note,) = open_source(str(root)).notes
    assert note == f"{tmp_path / name} is not used: name it with --labels"


@pytest.mark.parametrize("name", ["labels.npy", "attributes.mat", "labels.psv", "labels"])
def test_labels_in_forms_that_are_no_tables_are_told(name: str, tmp_path: Path) -> None:
    (folder(tmp_path, "a.png") / name).write_text("x")
    (tmp_path / "~$labels.xlsx").write_text("x")
    source = open_source(str(tmp_path))
    assert any(f"{name} may hold labels" in note for note in source.notes)
    assert str(source.left_aside) == "1 hidden files, 1 tables not used"


def test_what_bears_the_name_of_an_image_may_lie_in_another_folder(tmp_path: Path) -> None:
    """As YOLO's and Pascal's annotations do."""
    root = folder(tmp_path, "images/a.png", "images/b.png")
    (root / "labels").mkdir()
    for name in ("a.txt", "b.txt", "c.txt"):
        (root / "labels" / name).write_text("0 0.5 0.5 1 1")
    source = open_source(str(root))
    assert any("2 .txt files bear the names of images" in note for note in source.notes)
    assert str(source.left_aside) == "2 files beside images not used, 1 .txt files"
