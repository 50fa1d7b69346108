"""What a run says before it begins: that its images are few for its schedule, say."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.cli.beginning import is_complete
from pipeline.config import parse
from pipeline.data.format.manifest import Manifest
from pipeline.storage import open_storage


@pytest.mark.parametrize(
    ("images", "shown", "warned"),
    [
        (500, 384_000, True),
        (6_000, 70_400, False),
        (60_000, 18_000_000, False),
        (500, 9_000, False),
    ],
)
def test_a_data_set_that_is_small_for_its_schedule_is_told(
    images: int, shown: int, warned: bool, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    there = SimpleNamespace(digest="a" * 64, samples=lambda split: images)
    monkeypatch.setattr(Manifest, "read", lambda path: there)
    cfg = parse("", [f"run_dir={tmp_path}", "model.resolution=4", f"schedule.stage_img={shown}",
                     "schedule.total_img=0", "data.path=photos"])  # fmt: skip
    with caplog.at_level(logging.WARNING):
        assert not is_complete(cfg, open_storage(tmp_path))
    said = f"photos has {images:,} images, and the schedule shows {shown:,}: each"
    assert (said in caplog.text) is warned
