"""Inputs that people really have: what is prepared of each, or the sentence that refuses it."""

import json
import re
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.cli.app import main
from pipeline.data.images import read_images

CASES = Path(__file__).resolve().parents[2] / "cases"
NEEDED = {"parquet": "pyarrow", "tfrecord": "google_crc32c"}
SHARDS = [
    {"class": float(i % 3), "age": float(i % 3), "caption": "x", "text": "a face"} for i in range(6)
]


def prepared(what: Path, out: Path, side: int, *more: str) -> tuple[str, dict[str, Any]]:
    """The last line of `stylealae prepare`, and report.json."""
    command = ["prepare", str(what), "--out", str(out), "--resolutions", str(side)]
    result = CliRunner().invoke(main, [*command, "--workers", "1", *more])
    assert result.exit_code == 0, result.output
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    return result.output.strip().splitlines()[-1], report


def ages(*values: float | None) -> list[dict[str, object]]:
    return [{"age": value} for value in values]


@pytest.mark.parametrize(
    ("case", "labels", "said"),
    [
        ("boxes/mixed", [{}] * 12, r"3 left aside \(1 \.jpg_large files, 1 \.part files, 1 files"),
        ("boxes/windows.zip", ages(10, 11, 12, 20, 21, 22), r"1 left aside \(1 hidden files\)"),
        ("boxes/mac.zip", ages(30, 31, 32), r"4 left aside \(4 hidden files\)"),
        ("boxes/links.tar", [{}] * 5, "0 left aside"),
        ("boxes/wds", SHARDS, "labels: class, caption, age, text"),
        ("boxes/wds/00001.tar", SHARDS[3:], "labels: class, caption, age, text"),
        ("labels/nfd", ages(30, 31, 32), "labels: age"),
        ("labels/perfolder", ages(90, 91, 10, 11), "labels: age"),
        ("labels/csv_nan", ages(30, None, 41), "labels: age"),
        ("labels/hf_metacsv", ages(1, 2, 3), "labels: age"),
        (
            "labels/csv_semi",
            [{"age": 1.5, "name": "x"}, {"age": 2.0, "name": "y"}, {"age": 3.0, "name": "z"}],
            "labels: age, name",
        ),
        (
            "labels/kaggle",
            [
                {"5_o_Clock_Shadow": a, "Male": b, "Smiling": c, "partition": float(i)}
                for i, (a, b, c) in enumerate(((-1, 1, 1), (-1, -1, 1), (1, 1, -1)))
            ],
            "labels: 5_o_Clock_Shadow, Male, Smiling, partition",
        ),
        (
            "parquet/pq_large",
            [
                {"gender": g, "race": r, "age": float(i + 1), "view": v}
                for i, (g, r, v) in enumerate(
                    zip(("m", "f", "f", None), "abab", "pqrs", strict=True)
                )
            ],
            "labels: gender, race, age, view",
        ),
        ("tfrecord/alae_ffhq", [{}] * 8, "8 train"),
    ],
)
def test_a_case_is_prepared_with_its_labels(
    case: str, labels: list[dict[str, object]], said: str, tmp_path: Path
) -> None:
    pytest.importorskip(NEEDED.get(case.partition("/")[0], "numpy"))
    line, report = prepared(CASES / case, tmp_path / "d", 4)
    assert re.search(said, line), line
    assert [dict(image.labels) for image in read_images([tmp_path / "d"], 4)] == labels
    assert report["images"] == report["used"] == len(labels)
    assert report["refused"] == []


def test_a_table_between_semicolons_is_given_by_hand(tmp_path: Path) -> None:
    table = str(CASES / "labels" / "semi.csv")
    line, report = prepared(CASES / "labels" / "semi", tmp_path / "d", 4, "--labels", table)
    assert [image.labels["age"] for image in read_images([tmp_path / "d"], 4)] == [30, 31, 32]
    assert "labels: age" in line
    assert report["labels"] == {"age": "numbers of 3 images"}


def test_the_report_names_what_was_left_aside(tmp_path: Path) -> None:
    _, report = prepared(CASES / "boxes" / "mixed", tmp_path / "d", 4)
    named = {name for reason in report["left_aside"].values() for name in reason["names"]}
    assert named == {"g.png.part", "h.jpg_large", "noext"}


def test_the_names_are_paths_inside_the_input(tmp_path: Path) -> None:
    prepared(CASES / "boxes" / "mac.zip", tmp_path / "d", 4)
    names = [image.name for image in read_images([tmp_path / "d"], 4)]
    composed = [unicodedata.normalize("NFC", name) for name in names]
    assert composed == ["faces/José.jpg", "faces/Zoë.jpg", "faces/plain.jpg"]


def test_pixels_are_converted_and_counted_and_foreign_files_named(tmp_path: Path) -> None:
    shutil.copytree(CASES / "pixels", tmp_path / "pixels")
    (tmp_path / "pixels" / "pixel_8160x6144.png").unlink()  # a second of its own
    line, report = prepared(tmp_path / "pixels", tmp_path / "d", 64)
    assert report["converted"] == {
        "Adobe RGB (1998) to sRGB": 1,
        "Display P3 to sRGB": 1,
        "harmless faults passed over": 3,
        "unreadable EXIF left out": 1,
    }
    for how, count in report["converted"].items():
        assert f"{count} {how}" in line
    reasons = {entry["name"]: entry["reason"] for entry in report["refused"]}
    assert "HEIC" in reasons.pop("heic_named.jpg")
    assert "Git LFS pointer" in reasons.pop("lfs_pointer.jpg")
    assert not reasons
    assert "2 refused" in line
    quadrants = ((224, 172, 140), (40, 180, 60), (30, 60, 200), (128, 128, 128))
    images = list(read_images([tmp_path / "d"], 64))
    assert len(images) == 7
    for image in images:
        for k, colour in enumerate(quadrants):
            found = image.planes[:, 16 + 32 * (k // 2), 16 + 32 * (k % 2)].astype(int)
            assert abs(found - colour).max() <= 2, image.name


def test_the_current_folder_is_an_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(CASES / "labels" / "nfd", tmp_path / "nfd")
    monkeypatch.chdir(tmp_path / "nfd")
    line, _ = prepared(Path("."), tmp_path / "d", 4)
    assert "3 train" in line


def test_a_picture_saved_anew_is_noticed_and_a_copy_is_the_same(tmp_path: Path) -> None:
    for level, folder in ((1, "in"), (1, "copy"), (2, "other")):
        (tmp_path / folder).mkdir()
        picture = Image.new("RGB", (8, 8), (level,) * 3)
        picture.save(tmp_path / folder / "a.png", compress_level=0)
    prepared(tmp_path / "in", tmp_path / "d", 4)
    prepared(tmp_path / "copy", tmp_path / "d", 4)
    shutil.copy(tmp_path / "other" / "a.png", tmp_path / "in" / "a.png")
    command = ["prepare", str(tmp_path / "in"), "--out", str(tmp_path / "d"), "--resolutions", "4"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert "files or labels of the input are not what they were" in result.output


def test_a_prepared_set_is_no_input(tmp_path: Path) -> None:
    prepared(CASES / "labels" / "nfd", tmp_path / "d", 4)
    result = CliRunner().invoke(
        main, ["prepare", str(tmp_path / "d"), "--out", str(tmp_path / "e")]
    )
    assert result.exit_code == 1
    assert "is a prepared data set already" in result.output
