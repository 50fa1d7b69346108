"""Rows of a log that goes on from a checkpoint."""

import json
from pathlib import Path

import torch

from pipeline.config.sections import LogConfig
from pipeline.storage import open_storage
from pipeline.training.logs import Log
from pipeline.world import World


def test_losses_and_metrics_of_the_same_images_are_both_kept(tmp_path: Path) -> None:
    rows = [
        {"seen": 32, "loss/critic": 1.0},
        {"seen": 32, "metric/fid": 2.0},
        {"seen": 32, "loss/critic": 3.0},  # once more, by an attempt that was cut off
        {"seen": 64, "loss/critic": 4.0},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    log = Log(
        open_storage(str(tmp_path)), LogConfig(), World(0, 1, torch.device("cpu")),
        seen=32, span=(0, 128), total=128, report=lambda _: None,
    )  # fmt: skip
    log.close()
    kept = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert kept == [rows[2], rows[1]]


def test_rows_of_later_stages_stay_where_an_earlier_one_only_leaves_its_snapshot(
    tmp_path: Path,
) -> None:
    rows = [{"seen": seen, "loss/critic": 1.0} for seen in (64, 128, 192)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    log = Log(
        open_storage(str(tmp_path)), LogConfig(), World(0, 1, torch.device("cpu")),
        seen=128, span=(0, 128), total=256, report=lambda _: None,
    )  # fmt: skip
    log.close()
    kept = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert kept == rows
