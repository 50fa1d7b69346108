"""Rows of a log that goes on from a checkpoint."""

import json
from pathlib import Path

import pytest
import torch

from pipeline.config.sections import LogConfig
from pipeline.storage import object_store, open_storage
from pipeline.training.logs import Log
from pipeline.world import World


def kept(folder: Path, rows: list[dict[str, float]], *, seen: int) -> list[dict[str, float]]:
    """The rows of a log that are left where a stage of 128 images goes on after so many."""
    file = folder / "metrics.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    log = Log(
        open_storage(str(folder)), LogConfig(), World(0, 1, torch.device("cpu")),
        seen=seen, span=(0, 128), total=256, report=lambda _: None,
    )  # fmt: skip
    log.close()
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_losses_and_metrics_of_the_same_images_are_both_kept(tmp_path: Path) -> None:
    rows = [
        {"seen": 32, "loss/critic": 1.0},
        {"seen": 32, "metric/fid": 2.0},
        {"seen": 32, "loss/critic": 3.0},  # once more, by an attempt that was cut off
        {"seen": 64, "loss/critic": 4.0},
    ]
    assert kept(tmp_path, rows, seen=32) == [rows[2], rows[1]]


def test_rows_of_later_stages_stay_where_an_earlier_one_only_leaves_its_snapshot(
    tmp_path: Path,
) -> None:
    rows = [{"seen": seen, "loss/critic": 1.0} for seen in (64, 128, 192)]
    assert kept(tmp_path, rows, seen=128) == rows


def test_logs_of_a_run_that_was_deleted_in_its_store_do_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(object_store, "SPOOL", tmp_path)
    storage = open_storage(f"memory://{tmp_path.name}/run")
    storage.write("fence/00000001", b"{}")
    (storage.working / "images").mkdir(parents=True)
    (storage.working / "images/0004-seen-0000000064.png").touch()

    def begun() -> None:
        Log(
            storage, LogConfig(to=()), World(0, 1, torch.device("cpu")),
            seen=0, span=(0, 128), total=256, report=lambda _: None,
        ).close()  # fmt: skip

    begun()
    assert "holds no run, and this host has logs of one" in caplog.text
    assert not (storage.working / "images").exists()
    assert list(storage.working.glob(".left-*/images/*.png"))
    caplog.clear()
    storage.write("0004/seen-0000000064/manifest.json", b"{}")
    (storage.working / "images").mkdir()
    begun()  # goes on
    assert (storage.working / "images").exists()
    assert not caplog.text
