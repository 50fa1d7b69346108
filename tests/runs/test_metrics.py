"""Metrics while training: written where curves are looked for, and the run is the same."""

import json
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.config import RunConfig
from pipeline.config.sections import (
    CheckpointConfig,
    DataConfig,
    EngineConfig,
    LogConfig,
    MetricConfig,
)
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source
from pipeline.storage import open_storage
from pipeline.training.checkpoints import latest
from pipeline.training.trainer import train_stage
from pipeline.world import joined
from stylealae.config import ModelConfig, ScheduleConfig
from stylealae.errors import ConfigError

METRICS = MetricConfig(every_img=24, samples=8, batch=4, names=("fid-random", "psnr"))


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 rendered faces at 4x4 and 8x8."""
    out = tmp_path_factory.mktemp("faces") / "rendered"
    prepare(open_source("24", "rendered"), out, (4, 8), workers=1)
    return out


def config(run_dir: Path, faces: Path, metrics: MetricConfig) -> RunConfig:
    """Eight iterations at 4x4."""
    return RunConfig(
        run_dir=str(run_dir),
        model=ModelConfig(
            resolution=8, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
        ),
        schedule=ScheduleConfig(stage_img=(64,), total_img=0, batch=(8,), lr=(0.002,)),
        data=DataConfig(path=str(faces)),
        engine=EngineConfig(precision="fp32", threads=1),
        checkpoint=CheckpointConfig(every_img=64),
        log=LogConfig(scalars_img=16, grid_img=1_000, grid_size=2),
        metrics=metrics,
    )


def test_they_are_written_and_move_nothing(faces: Path, tmp_path: Path) -> None:
    measured = MetricConfig(**{**vars(METRICS), "cache": str(tmp_path / "cache")})
    world = joined(EngineConfig(threads=1), gpu=False)
    ends = []
    for name, metrics in (("with", measured), ("without", MetricConfig())):
        storage = open_storage(tmp_path / name)
        assert train_stage(config(tmp_path / name, faces, metrics), 0, world, storage)
        end = latest(storage)
        assert end is not None
        ends.append(end)
    for part in ("networks", "ema", "adam"):
        a, b = (end.tensors(part) for end in ends)
        assert not [key for key in a if not torch.equal(a[key], b[key])]
    rows = [json.loads(r) for r in (tmp_path / "with/metrics.jsonl").read_text().splitlines()]
    found = {row["seen"]: row for row in rows if "metric/fid-random" in row}
    assert list(found) == [24, 48, 64]
    assert all(row["metric/psnr"] > 0 and row["time/metrics_s"] > 0 for row in found.values())
    events = EventAccumulator(str(tmp_path / "with/tensorboard/with")).Reload()
    curve = [(e.step, pytest.approx(e.value)) for e in events.Scalars("metric/fid-random")]
    assert curve == [(seen, row["metric/fid-random"]) for seen, row in found.items()]


def test_what_cannot_be_measured_stops_the_run_before_its_first_step(
    faces: Path, tmp_path: Path
) -> None:
    metrics = MetricConfig(every_img=24, names=("fid",))
    world = joined(EngineConfig(threads=1), gpu=False)
    storage = open_storage(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"inception-2015-12-05\.pt"):
        train_stage(config(tmp_path / "run", faces, metrics), 0, world, storage)
    assert latest(storage) is None
