"""A run that fails in the same place twice in a row ends with the reason, and mended goes on.

Nothing is injected: where the pictures of the run belong lies a file, which is found when the first
picture is due, after 640 images.  Mended, it goes on without Ray: from a checkpoint all the same.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.config.packaged import packaged
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source
from pipeline.storage import open_storage
from pipeline.training.checkpoints import furthest
from pipeline.training.snapshots import is_done
from pipeline.training.trainer import train_stages
from pipeline.world import World
from tests.ranks import run_ranks

pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
CONFIG = [
    "model.resolution=4",
    "model.max_channels=8",
    "schedule.stage_img=[960]",
    "checkpoint.every_img=320",
    "log.scalars_img=320",
    "log.grid_img=640",
    "cluster.workers=[1]",
]


def mended(world: World, *words: str) -> bool:
    """What is left of the run."""
    cfg = load(packaged("demo"), words)
    storage = open_storage(cfg.run_dir)
    assert furthest(storage) == 320
    return train_stages(cfg, cfg.stages, world, storage, fence_of=lambda _: None)


def test_the_same_failure_twice_ends_the_run_with_its_reason(tmp_path: Path) -> None:
    in_the_way = tmp_path / "run/images"
    in_the_way.parent.mkdir()
    in_the_way.write_text("")
    words = [*CONFIG, f"run_dir={tmp_path / 'run'}", f"data.path={tmp_path / 'faces'}"]
    prepare(open_source("64", "rendered"), tmp_path / "faces", (4,), workers=1)
    failed = subprocess.run(
        [sys.executable, "launch/demo.py", "faces=64", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert "twice in a row in the same place" in failed.stderr
    assert "after 640 images" in failed.stderr
    assert "images" in failed.stderr
    assert "Traceback" not in failed.stderr

    in_the_way.unlink()
    assert run_ranks(1, mended, tmp_path, given=words) == [True]
    assert is_done(open_storage(tmp_path / "run"), 0)
