"""What a run says before it begins: that its images are few for its schedule, say."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.cli.beginning import RequestedRun, is_complete
from pipeline.config import parse
from pipeline.data.format.manifest import Manifest
from pipeline.storage import open_storage
from stylealae.errors import ConfigError, DataError


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
    there = SimpleNamespace(digest="a" * 64, samples=lambda split: images, resolutions=(4,))
    monkeypatch.setattr(Manifest, "read", lambda path: there)
    cfg = parse("", [f"run_dir={tmp_path}", "model.resolution=4", f"schedule.stage_img={shown}",
                     "schedule.total_img=0", "data.path=photos"])  # fmt: skip
    with caplog.at_level(logging.WARNING):
        assert not is_complete(RequestedRun(cfg, open_storage(tmp_path)))
    said = f"photos has {images:,} images, and the schedule shows {shown:,}: each"
    assert (said in caplog.text) is warned


@pytest.mark.parametrize(
    ("augment", "told"),
    [
        (("mode=adaptive",), "p reaches 0.15 at most, whatever the critic does. Give augment."
         "rise_img=3720"),
        (("mode=adaptive", "rise_img=4000"), ""),
        (("mode=adaptive", "p=0.7"), ""),
        (("mode=fixed", "p=0.2"), ""),
        ((), ""),
    ],
)  # fmt: skip
def test_transforms_for_which_a_run_is_too_short_are_told(
    augment: tuple[str, ...], told: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    there = SimpleNamespace(digest="a" * 64, samples=lambda split: 1500, resolutions=(4,))
    monkeypatch.setattr(Manifest, "read", lambda path: there)
    cfg = parse("", [f"run_dir={tmp_path}", "model.resolution=4", "schedule.stage_img=74400",
                     "schedule.total_img=0", *(f"augment.{word}" for word in augment)])  # fmt: skip
    with caplog.at_level(logging.WARNING):
        is_complete(RequestedRun(cfg, open_storage(tmp_path)))
    assert told in caplog.text
    assert bool(caplog.text) is bool(told)


def test_what_a_later_stage_lacks_is_said_before_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = SimpleNamespace(digest="a" * 64, samples=lambda split: 1, resolutions=(4, 8))
    monkeypatch.setattr(Manifest, "read", lambda path: there)
    cfg = parse("", [f"run_dir={tmp_path}", "model.resolution=32", "data.path=photos"])
    with pytest.raises(DataError, match=r"photos has no images of 16x16, 32x32, only of 4, 8"):
        is_complete(RequestedRun(cfg, open_storage(tmp_path)))


def test_no_run_is_begun_in_the_folder_of_a_data_set(tmp_path: Path) -> None:
    (tmp_path / ".prepare").mkdir()
    cfg = parse("", [f"run_dir={tmp_path}", f"data.path={tmp_path}"])
    with pytest.raises(ConfigError, match="a data set is there: name another folder"):
        is_complete(RequestedRun(cfg, open_storage(tmp_path)))


@pytest.mark.parametrize(
    ("files", "told"),
    [((), False), (("thesis.tex", "photos"), True), (("thesis.tex", "metrics.jsonl"), False),
     (("0004",), False)],
)  # fmt: skip
def test_a_run_in_a_folder_of_something_else_is_told(
    files: tuple[str, ...], told: bool, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    there = SimpleNamespace(digest="a" * 64, samples=lambda split: 60_000, resolutions=(4,))
    monkeypatch.setattr(Manifest, "read", lambda path: there)
    for name in files:
        (tmp_path / name).mkdir()
    cfg = parse("", [f"run_dir={tmp_path}", "model.resolution=4", "schedule.stage_img=100",
                     "data.path=photos"])  # fmt: skip
    with caplog.at_level(logging.WARNING):
        is_complete(RequestedRun(cfg, open_storage(tmp_path)))
    assert ("of no run (photos, thesis.tex)" in caplog.text) is told
