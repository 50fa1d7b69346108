"""The border between two stages: whatever is damaged or gone there, the weights are right or said.

Each probe spoils the end of stage 0 of a run in miniature, and gives the same command again.
"""

import json
import logging
import shutil
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.config import RunConfig
from pipeline.config.sections import CheckpointConfig, DataConfig, EngineConfig, LogConfig
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source
from pipeline.storage import open_storage
from pipeline.training.checkpoints import latest
from pipeline.training.fencing import Fence
from pipeline.training.resume import next_stage
from pipeline.training.stage import Stage, open_stage
from pipeline.training.trainer import train_stage, train_stages
from pipeline.world import World
from stylealae import StyleALAE
from stylealae.config import ModelConfig, ScheduleConfig
from stylealae.errors import CheckpointError

FIRST, SECOND, EVERY = 32, 32, 16


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32 rendered faces at 4x4 and 8x8."""
    out = tmp_path_factory.mktemp("faces") / "rendered"
    prepare(open_source("32", "rendered"), out, (4, 8), workers=1)
    return out


def config(run_dir: Path, faces: Path, keep: int = 2) -> RunConfig:
    """Four iterations at 4x4, four at 8x8; a checkpoint every second one."""
    model = ModelConfig(
        resolution=8, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
    )
    schedule = ScheduleConfig(stage_img=(FIRST, SECOND), total_img=0, batch=(8,), lr=(0.002,))
    return RunConfig(
        run_dir=str(run_dir), model=model, schedule=schedule, data=DataConfig(path=str(faces)),
        engine=EngineConfig(precision="fp32", threads=1),
        checkpoint=CheckpointConfig(every_img=EVERY, keep=keep),
        log=LogConfig(scalars_img=16, grid_img=1_000, grid_size=2),
    )  # fmt: skip


def train(cfg: RunConfig, world: World, stages: int = 2) -> None:
    """What a driver does: the next stage, until the run is done or so many were trained."""
    storage = open_storage(cfg.run_dir)
    while stages and (stage := next_stage(cfg, storage)) is not None:
        assert train_stage(cfg, stage, world, storage)
        stages -= 1


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory: pytest.TempPathFactory, faces: Path, world: World) -> RunConfig:
    """A run that nothing happened to."""
    cfg = config(tmp_path_factory.mktemp("left") / "run", faces)
    train(cfg, world)
    return cfg


@pytest.fixture
def half(tmp_path: Path, faces: Path, world: World) -> RunConfig:
    """A run whose first stage is done."""
    cfg = config(tmp_path / "run", faces)
    train(cfg, world, stages=1)
    return cfg


def weights(cfg: RunConfig) -> dict[str, torch.Tensor]:
    """Every tensor of the newest checkpoint."""
    found = latest(open_storage(cfg.run_dir))
    assert found is not None
    assert found.state["seen"] == FIRST + SECOND
    parts = ("networks", "ema", "adam")
    return {f"{part}/{k}": t for part in parts for k, t in found.tensors(part).items()}


def assert_same_end(cfg: RunConfig, other: RunConfig) -> None:
    mine, theirs = weights(cfg), weights(other)
    assert mine.keys() == theirs.keys()
    assert not [name for name in mine if not torch.equal(mine[name], theirs[name])]


def test_stages_in_turn_end_as_each_alone(
    left_alone: RunConfig, faces: Path, world: World, tmp_path: Path
) -> None:
    cfg = config(tmp_path / "run", faces)
    storage, attempts = open_storage(cfg.run_dir), []
    driver = Fence.claim(storage)

    def fence_of(stage: int) -> Fence:
        attempts.append(stage)
        return driver.group(len(attempts), stage)

    assert train_stages(cfg, range(2), world, storage, fence_of=fence_of)
    assert attempts == [0, 1]
    assert_same_end(cfg, left_alone)


@pytest.mark.parametrize("zero_stage", [1, 2])
def test_a_stage_holds_no_memory_of_the_one_before(
    zero_stage: int, faces: Path, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = config(tmp_path / "run", faces)
    cfg = replace(cfg, engine=replace(cfg.engine, zero_stage=zero_stage))
    alive: list[Callable[[], object]] = []

    @contextmanager
    def opened(*args: Any, **given: Any) -> Iterator[Stage]:
        assert not [ref for ref in alive if ref() is not None]
        with open_stage(*args, **given) as s:
            alive.extend(map(weakref.ref, (s.state.nets, s.state.ema, s.state.engine, s.loader)))
            yield s

    monkeypatch.setattr("pipeline.training.trainer.open_stage", opened)
    storage = open_storage(cfg.run_dir)
    assert train_stages(cfg, range(2), world, storage, fence_of=lambda _: None)
    assert len(alive) == 8


def test_a_group_of_stages_ends_where_the_run_goes_on_with_another(
    half: RunConfig, left_alone: RunConfig, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.training.trainer.STOP_POLL_IMG", 8)
    storage = open_storage(half.run_dir)

    def trained(stages: range, *, stopped: bool = False) -> bool:
        return train_stages(
            half, stages, world, storage, fence_of=lambda _: None, stop=lambda: stopped
        )

    assert trained(range(1))
    assert next_stage(half, storage) == 1  # the first is done, the second is not asked for
    assert not trained(range(2), stopped=True)
    assert trained(range(2))
    assert_same_end(half, left_alone)


def flip(file: Path) -> None:
    """Another last byte."""
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def test_a_damaged_last_checkpoint_opens_its_stage_again(
    half: RunConfig, left_alone: RunConfig, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    flip(Path(half.run_dir, f"0004/seen-{FIRST:010d}/networks.safetensors"))
    with caplog.at_level(logging.WARNING):
        assert next_stage(half, open_storage(half.run_dir)) == 0
    assert "opened again" in caplog.text
    train(half, world, stages=3)
    assert_same_end(half, left_alone)


def test_with_snapshots_alone_a_stage_begins_from_the_one_before_and_says_so(
    half: RunConfig, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    for folder in Path(half.run_dir, "0004").glob("seen-*"):
        shutil.rmtree(folder)
    handed = StyleALAE.load(Path(half.run_dir, "0004/snapshot"))
    storage = open_storage(half.run_dir)
    assert next_stage(half, storage) == 1
    with caplog.at_level(logging.WARNING):
        assert train_stage(half, 1, world, storage)
    assert "begins from its snapshot" in caplog.text
    ended = StyleALAE.load(Path(half.run_dir, "0008/snapshot"))
    assert ended.seen == FIRST + SECOND
    before, after = (dict(m.nets.G.named_parameters()) for m in (handed, ended))
    grown = [name for name in after if name.startswith("blocks.1") and name.endswith("weight")]
    assert grown
    assert all(not torch.equal(before[name], after[name]) for name in grown)


def test_a_half_copied_snapshot_is_made_again(
    half: RunConfig, left_alone: RunConfig, world: World
) -> None:
    snapshot = Path(half.run_dir, "0004/snapshot")
    whole = (snapshot / "model.safetensors").read_bytes()
    (snapshot / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    assert next_stage(half, open_storage(half.run_dir)) == 0
    train(half, world, stages=3)
    assert (snapshot / "model.safetensors").read_bytes() == whole
    assert_same_end(half, left_alone)


def test_keeping_one_beside_a_damaged_newest_never_drops_the_good_one(
    tmp_path: Path,
    faces: Path,
    world: World,
    left_alone: RunConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.training.trainer.STOP_POLL_IMG", 8)
    cfg = config(tmp_path / "run", faces, keep=1)
    train(cfg, world, stages=1)
    storage, stage = open_storage(cfg.run_dir), Path(cfg.run_dir, "0008")
    asked = iter([False, False, True])
    assert not train_stage(cfg, 1, world, storage, stop=lambda: next(asked))
    (newest,) = stage.glob("seen-*")
    flip(newest / "ema.safetensors")  # what is left is the last checkpoint of stage 0
    asked = iter([True])
    assert not train_stage(cfg, 1, world, storage, stop=lambda: next(asked))
    assert latest(storage) is not None
    assert sorted(f.name[-2:] for f in stage.glob("seen-*")) == ["40", "56"]
    train(cfg, world)
    assert_same_end(cfg, left_alone)


def test_a_file_that_the_manifest_does_not_name_is_noticed(
    half: RunConfig, caplog: pytest.LogCaptureFixture
) -> None:
    Path(half.run_dir, f"0004/seen-{FIRST:010d}/notes.txt").write_text("mine")
    with caplog.at_level(logging.WARNING):
        assert latest(open_storage(half.run_dir)) is not None
    assert "notes.txt" in caplog.text


def test_a_stage_before_its_span_is_refused(half: RunConfig, world: World) -> None:
    shutil.rmtree(Path(half.run_dir, f"0004/seen-{FIRST:010d}"))
    with pytest.raises(CheckpointError, match=f"stage 1 spans images {FIRST} to"):
        train_stage(half, 1, world, open_storage(half.run_dir))
    assert not Path(half.run_dir, "0008").exists()


def test_a_checkpoint_that_cannot_be_read_is_no_torn_one(
    half: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root no file is unreadable: the error is raised where the operating system would."""

    def unreadable(*_: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pipeline.storage.local.sha256_of", unreadable)
    with pytest.raises(CheckpointError, match="is there and cannot be read"):
        latest(open_storage(half.run_dir))


def test_a_lost_snapshot_is_made_again_from_its_checkpoint(
    half: RunConfig, left_alone: RunConfig, world: World
) -> None:
    train(half, world)
    file = Path(half.run_dir, "0004/snapshot/config.json")
    shutil.rmtree(file.parent)
    assert next_stage(half, open_storage(half.run_dir)) == 0
    train(half, world)
    assert json.loads(file.read_text())["seen"] == FIRST
    assert_same_end(half, left_alone)


def test_batches_that_reach_beyond_a_stage_are_gone_on_from_all_the_same(
    tmp_path: Path, faces: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = config(tmp_path / "run", faces)
    odd = replace(cfg.schedule, stage_img=(FIRST - 2, SECOND - 4))  # ends at 30 and 58, not 32, 64
    cfg = replace(cfg, schedule=odd)
    assert [cfg.reached(stage) for stage in cfg.stages] == [FIRST, FIRST + SECOND]
    train(cfg, world)
    log = Path(cfg.run_dir, "metrics.jsonl")
    before, ended = log.read_text(), Path(cfg.run_dir, "0008/snapshot/model.safetensors")
    left = ended.read_bytes()
    for stage, name in ((1, "0008"), (0, "0004")):  # as killed between last save and snapshot
        shutil.rmtree(Path(cfg.run_dir, name, "snapshot"))
        assert next_stage(cfg, open_storage(cfg.run_dir)) == stage
        train(cfg, world, stages=1)
        assert ended.read_bytes() == left
        assert before.startswith(log.read_text())  # no image was shown again
