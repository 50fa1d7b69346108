"""FFHQ, on look-alikes in the layout of its README: folders of 1,000 and ffhq-dataset-v2.json."""

import hashlib
import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.sources.ffhq import Ffhq
from pipeline.data.sources.registry import open_source
from stylealae.errors import DataError

NUMBERS = (0, 1, 2, 999, 1000, 59_999, 60_000, 69_999)
JSON = "ffhq-dataset-v2.json"


def photo(number: int, side: int) -> Image.Image:
    rng = np.random.default_rng((number, side))
    return Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8))


def saved(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def about(number: int, name: str, side: int) -> dict[str, object]:
    """What the JSON says of one file."""
    image, path = photo(number, side), f"{name}/{number // 1000 * 1000:05d}/{number:05d}.png"
    data = saved(image)
    return {
        "file_url": "https://drive.google.com/uc?id=...",
        "file_path": path,
        "file_size": len(data),
        "file_md5": hashlib.md5(data).hexdigest(),
        "pixel_size": [side, side],
        "pixel_md5": hashlib.md5(np.array(image)).hexdigest(),
        "face_landmarks": [[562.5, 697.6], [1.5, 2.0]],
    }


def entry(number: int) -> dict[str, object]:
    licences = ("Attribution License", "Public Domain Mark")
    return {
        "category": "training" if number < 60_000 else "validation",
        "metadata": {
            "photo_url": f"https://www.flickr.com/photos/{number}/",
            "photo_title": "DSCF0899.JPG",
            "author": f"Jérémy {number}",
            "country": "",
            "license": licences[number % 2],
            "license_url": "https://creativecommons.org/licenses/by/2.0/",
            "date_uploaded": "2007-08-16",
            "date_crawled": "2018-10-10",
        },
        "image": about(number, "images1024x1024", 48),
        "thumbnail": about(number, "thumbnails128x128", 16),
        "in_the_wild": about(number, "in-the-wild-images", 64),
    }


@pytest.fixture
def ffhq(tmp_path: Path) -> Path:
    """The folder that download_ffhq.py --json --images --thumbs leaves."""
    root = tmp_path / "ffhq"
    for name, side in (("images1024x1024", 48), ("thumbnails128x128", 16)):
        for number in NUMBERS:
            path = root / name / f"{number // 1000 * 1000:05d}" / f"{number:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(saved(photo(number, side)))
        (root / name / "LICENSE.txt").write_text("The individual images were published in Flickr")
    (root / JSON).write_text(json.dumps({str(n): entry(n) for n in NUMBERS}))
    return root


def test_a_part_is_checked_against_the_entries_of_its_images(ffhq: Path) -> None:
    whole = open_source(str(ffhq))
    path = ffhq / "images1024x1024" / "01000" / "01000.png"
    path.write_bytes(saved(photo(7, 48)))
    given = pickle.dumps(whole.part(3, 6))
    assert len(given) < len(pickle.dumps(whole.part(0, 8)))
    part = pickle.loads(given)
    assert part.read(3).labels == whole.read(3).labels
    with pytest.raises(DataError, match="its pixels have md5"):
        part.read(4)


def zipped(folder: Path, out: Path, inside: str) -> Path:
    with zipfile.ZipFile(out, "w") as archive:
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, f"{inside}{path.relative_to(folder)}")
    return out


def test_the_whole_folder_gives_the_large_images_in_order(ffhq: Path) -> None:
    source = open_source(str(ffhq))
    assert (source.name, len(source)) == ("ffhq", len(NUMBERS))
    assert [int(source.key(i)[-9:-4]) for i in range(len(source))] == list(NUMBERS)
    assert source.splits == {"train": range(6), "test": range(6, 8)}
    assert source.label_names == ("category", "licence", "author", "photo_url")
    for i, number in enumerate(NUMBERS):
        sample = source.read(i)
        assert (sample.image == np.asarray(photo(number, 48))).all()
        assert sample.labels == {
            "category": "training" if number < 60_000 else "validation",
            "licence": ("Attribution License", "Public Domain Mark")[number % 2],
            "author": f"Jérémy {number}",
            "photo_url": f"https://www.flickr.com/photos/{number}/",
        }
        assert sample.changes == ()
    assert "NVIDIA" in source.licence


@pytest.mark.parametrize("prefix", ["thumbnails128x128/", ""])
def test_thumbnails_and_zips_of_one_folder(ffhq: Path, tmp_path: Path, prefix: str) -> None:
    folder = ffhq / "thumbnails128x128"
    archive = zipped(folder, tmp_path / "thumbnails128x128.zip", prefix)
    for path in (folder, archive):
        source = open_source(str(path), labels=str(ffhq / JSON))
        assert source.name == "ffhq"
        assert [len(part) for part in source.splits.values()] == [6, 2]
        sample = source.read(7)
        assert (sample.image == np.asarray(photo(69_999, 16))).all()
        assert sample.labels["category"] == "validation"


def test_the_json_is_found_beside_the_folder(ffhq: Path) -> None:
    assert open_source(str(ffhq / "images1024x1024")).read(0).labels["author"] == "Jérémy 0"


def test_without_the_json_the_split_is_by_number(
    ffhq: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (ffhq / JSON).unlink()
    source = open_source(str(ffhq))
    assert [len(part) for part in source.splits.values()] == [6, 2]
    assert source.label_names == ()
    assert "hashes are not checked" in caplog.text
    assert [len(p) for p in open_source(str(ffhq), test_fraction=0.5).splits.values()] == [4, 4]


def test_a_beginning_of_ffhq_is_split_as_any_folder(ffhq: Path) -> None:
    for number in (60_000, 69_999):
        next(ffhq.glob(f"images1024x1024/*/{number}.png")).unlink()
    assert open_source(str(ffhq)).splits == {"train": range(6)}


def test_other_pixels_are_refused_by_name(ffhq: Path) -> None:
    (ffhq / "images1024x1024/00000/00001.png").write_bytes(saved(photo(5, 48)))
    source = open_source(str(ffhq))
    with pytest.raises(DataError, match=r"00001\.png: its pixels have md5 .* file differs too"):
        source.read(1)
    assert source.read(0).changes == ()


def test_the_same_pixels_in_another_file_are_noted(ffhq: Path) -> None:
    (ffhq / "images1024x1024/00000/00002.png").write_bytes(
        saved(photo(2, 48), compress_level=1, optimize=False)
    )
    source = open_source(str(ffhq))
    assert source.read(2).changes == ("the published pixels in another file",)
    grey = open_source(str(ffhq), channels=1).read(2)
    assert grey.image.shape == (48, 48, 1)
    assert "the published pixels in another file" in grey.changes


def test_an_image_that_the_json_does_not_know_is_refused(ffhq: Path) -> None:
    (ffhq / "images1024x1024/00000/00003.png").write_bytes(saved(photo(3, 48)))
    with pytest.raises(DataError, match=r"00003\.png: ffhq-dataset-v2.json does not list"):
        open_source(str(ffhq)).read(3)


@pytest.mark.parametrize("harm", ["cut", "html", "other"])
def test_a_damaged_json_is_named(ffhq: Path, harm: str) -> None:
    text = (ffhq / JSON).read_text()
    harmed = {"cut": text[: len(text) // 2], "html": "<html>", "other": '{"0": {"a": 1}}'}[harm]
    (ffhq / JSON).write_text(harmed)
    with pytest.raises(DataError, match=r"ffhq-dataset-v2\.json"):
        open_source(str(ffhq))


def test_only_ffhq_is_taken_for_it(ffhq: Path, photos: Path) -> None:
    assert Ffhq.fits(ffhq, ["images1024x1024"])
    assert open_source(str(photos)).name == "folder"


def test_a_table_of_other_labels_is_read_without_the_json_or_when_it_is_named(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "thumbnails128x128"
    folder.mkdir()
    (folder / "00001.png").write_bytes(saved(photo(1, 16)))
    (folder / "ages.csv").write_text("file,age\n00001.png,30\n")
    assert open_source(str(folder)).read(0).labels == {"age": 30.0}
    (tmp_path / JSON).write_text(json.dumps({"1": entry(1)}))
    source = open_source(str(folder))
    assert "age" not in source.label_names
    assert any("ages.csv may hold labels" in note for note in source.notes)
    source = open_source(str(folder), labels=str(folder / "ages.csv"))
    assert source.read(0).labels == {"age": 30.0}
