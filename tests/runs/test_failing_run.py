"""A run that fails in the same place twice in a row ends with the reason, and mended goes on.

Nothing is injected: where the pictures of the run belong lies a file, which is found when the first
picture is due, after 640 images.  Mended, it goes on without Ray: from a checkpoint all the same.
"""

from pathlib import Path

import pytest

from launch.demo import main as demo
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

CONFIG = [
    "model.resolution=4",
    "model.max_channels=8",
    "loss.prior_img=0",
    "loss.recover_img=0",
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


def test_the_same_failure_twice_ends_the_run_with_its_reason(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    in_the_way = tmp_path / "run/images"
    in_the_way.parent.mkdir()
    in_the_way.write_text("")
    words = [*CONFIG, f"run_dir={tmp_path / 'run'}", f"data.path={tmp_path / 'faces'}"]
    prepare(open_source("64", "rendered"), tmp_path / "faces", (4,), workers=1)
    with pytest.raises(SystemExit) as failed:
        demo(["faces=64", *words])
    said = capfd.readouterr().err
    assert failed.value.code == 1, said
    assert "twice in a row in the same place" in said
    assert "after 640 images" in said
    assert "Traceback" not in said

    in_the_way.unlink()
    assert run_ranks(1, mended, tmp_path, given=words) == [True]
    assert is_done(open_storage(tmp_path / "run"), 0)
