"""Files that are there twice are told, and counted in the report."""

import logging
from pathlib import Path

import pytest
from PIL import Image

from pipeline.data.prepare.report import read_report
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four of them."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for k in range(4):
        Image.new("RGB", (8, 8), (60 * k, 0, 0)).save(folder / f"{k}.png")
    return folder


def copied(photos: Path, original: str, copy: str) -> None:
    (photos / copy).write_bytes((photos / original).read_bytes())


@pytest.mark.parametrize(
    ("copies", "told"),
    [
        ((), ""),
        (
            (("1.png", "1 copy.png"),),
            "copies of other images, it seems: 1, such as 1.png of 1 copy.png\n",
        ),
        (
            (("1.png", "1 copy.png"), ("0.png", "z.png")),
            "copies of other images, it seems: 2, such as 1.png of 1 copy.png; 1 for tests, of "
            "images to train on: figures of held-out images will be too good, remove them\n",
        ),
    ],
)
def test_copies_are_told_and_those_that_leak_into_tests(
    photos: Path, copies: tuple[tuple[str, str], ...], told: str, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    for original, copy in copies:
        copied(photos, original, copy)
    source = open_source(str(photos), test_fraction=0.2)
    assert len(source.splits["test"]) == 1
    with caplog.at_level(logging.WARNING):
        prepare(source, tmp_path / "out", (4, 8), workers=1)
    assert told in caplog.text
    assert ("copies" in caplog.text) is bool(told)
    assert read_report(tmp_path / "out")["copies"] == len(copies)
