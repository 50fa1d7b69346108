"""The watch over D∘E: what is logged, how p moves, and that a run ends the same after a stop.

Checked against runs in miniature, and against a run that nobody stopped.
"""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pipeline.cli.console import Console
from pipeline.config import RunConfig, parse
from pipeline.config.sections import CheckpointConfig, DataConfig, EngineConfig, LogConfig
from pipeline.data.loader.dataset import Dataset
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source
from pipeline.storage import open_storage
from pipeline.training.checkpoints import latest
from pipeline.training.critic import CriticWatch
from pipeline.training.progress import ProgressUpdate, memorization_warning
from pipeline.training.trainer import train_stage
from pipeline.world import World
from stylealae.config import MAX_P, AugmentConfig, LossConfig, ModelConfig, ScheduleConfig
from stylealae.errors import ConfigError
from stylealae.networks import build
from stylealae.phase_inputs import StyleInputSampler
from stylealae.schedule import Progress

BATCH, IMAGES = 8, 64
MODEL = ModelConfig(
    resolution=4, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
)
AT = Progress(stage=0, batch=BATCH, lr=0.002)
ONE = World(0, 1, torch.device("cpu"))
ADAPTIVE = AugmentConfig(mode="adaptive", p=0.25, every_img=8, rise_img=128, target=-1.0)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 rendered faces at 4x4."""
    out = tmp_path_factory.mktemp("faces") / "rendered"
    prepare(open_source("48", "rendered"), out, (4,), workers=1)
    return out


def config(run_dir: Path, faces: Path, **sections: Any) -> RunConfig:
    """Eight iterations at 4x4, a checkpoint every fourth."""
    return RunConfig(
        run_dir=str(run_dir), model=MODEL, data=DataConfig(path=str(faces)),
        schedule=ScheduleConfig(stage_img=(IMAGES,), total_img=0, batch=(BATCH,), lr=(0.002,)),
        engine=EngineConfig(precision="fp32", threads=1),
        checkpoint=CheckpointConfig(every_img=32),
        log=LogConfig(scalars_img=16, grid_img=1_000, grid_size=2), **sections,
    )  # fmt: skip


def rows(cfg: RunConfig) -> list[dict[str, float]]:
    """What was logged."""
    return [json.loads(r) for r in Path(cfg.run_dir, "metrics.jsonl").read_text().splitlines()]


def end_of(cfg: RunConfig) -> dict[str, torch.Tensor]:
    """Every tensor of the last checkpoint."""
    found = latest(open_storage(cfg.run_dir))
    assert found is not None
    assert found.state["seen"] == IMAGES
    return {
        f"{part}/{name}": tensor
        for part in ("networks", "ema", "adam")
        for name, tensor in found.tensors(part).items()
    }


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, faces: Path, world: World) -> RunConfig:
    """A run whose critic sees images as they are."""
    cfg = config(tmp_path_factory.mktemp("plain") / "run", faces)
    assert train_stage(cfg, 0, world, open_storage(cfg.run_dir))
    return cfg


def test_a_run_logs_signs_and_gap_and_trains_as_one_that_is_not_looked_at(
    tmp_path: Path, plain: RunConfig, faces: Path, world: World
) -> None:
    for row in rows(plain):
        assert -1.0 <= row["critic/real_sign"] <= 1.0
        assert -1.0 <= row["critic/held_out_sign"] <= 1.0
        assert row["augment/p"] == 0.0
        assert "critic/gap" in row
    seldom = replace(config(tmp_path / "seldom", faces), log=LogConfig(scalars_img=64, grid_size=2))
    assert train_stage(seldom, 0, world, open_storage(seldom.run_dir))
    mine, theirs = end_of(plain), end_of(seldom)
    assert not [name for name in mine if not torch.equal(mine[name], theirs[name])]


def test_p_rises_with_sure_signs_and_a_stopped_run_ends_the_same(
    tmp_path: Path,
    plain: RunConfig,
    faces: Path,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.training.trainer.STOP_POLL_IMG", BATCH)
    left, cfg = (config(tmp_path / name, faces, augment=ADAPTIVE) for name in ("left", "stopped"))
    assert train_stage(left, 0, world, open_storage(left.run_dir))
    step = ADAPTIVE.every_img / ADAPTIVE.rise_img
    p = [row["augment/p"] for row in rows(left)]
    assert all(-1.0 <= row["augment/real_sign"] <= 1.0 for row in rows(left))
    assert p == [ADAPTIVE.p + step * n for n in (2, 4, 6, 8)]
    asked = iter([False, False, True])
    storage = open_storage(cfg.run_dir)
    assert not train_stage(cfg, 0, world, storage, stop=lambda: next(asked))
    found = latest(storage)
    assert found is not None
    assert (found.state["seen"], found.state["augment_p"]) == (24, ADAPTIVE.p + 3 * step)
    assert train_stage(cfg, 0, world, storage)
    assert [row["augment/p"] for row in rows(cfg)] == p
    mine, theirs = end_of(cfg), end_of(left)
    assert not [name for name in mine if not torch.equal(mine[name], theirs[name])]
    name = "networks/D.layers.0.weight"
    assert not torch.equal(mine[name], end_of(plain)[name])


@pytest.mark.parametrize(("sign", "end"), [(1.0, MAX_P), (-1.0, 0.0), (0.5, 0.25)])
def test_p_stays_between_0_and_its_most(
    faces: Path, sign: float, end: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CriticWatch, "_read", lambda *_: (sign, 0.0))
    cfg = config(Path("run"), faces, augment=replace(ADAPTIVE, rise_img=16, target=0.5))
    state: Any = SimpleNamespace(nets=build(MODEL), augment_p=cfg.augment.p)
    sampler: Any = StyleInputSampler(
        seed=0, z_width=8, mine=slice(0, BATCH), device=torch.device("cpu")
    )
    log: Any = SimpleNamespace(span=(0, IMAGES), note=lambda *_: None)
    dataset = Dataset.open(cfg.data, 4)
    watch = CriticWatch(cfg.augment, state, ONE, dataset, sampler, log, every_img=16)
    for seen in (8, 16):
        watch.measure_if_due(seen, torch.zeros(BATCH, 3, 4, 4), AT)
    assert state.augment_p == end


def test_two_ranks_read_what_one_does(faces: Path) -> None:
    """Each has half of the images, and their means are taken together."""
    nets, x = build(MODEL), torch.rand(BATCH, 3, 4, 4)
    state: Any = SimpleNamespace(nets=nets, engine=SimpleNamespace(micro=3))
    cfg = config(Path("run"), faces)
    given: Any = (cfg.augment, state, ONE, Dataset.open(cfg.data, 4), None, None)
    watch = CriticWatch(*given, every_img=16)
    whole, *halves = (watch._read(nets, part, AT) for part in (x, x[:4], x[4:]))
    assert [sum(pair) / 2 for pair in zip(*halves, strict=True)] == pytest.approx(whole, rel=1e-5)
    assert sum(half[0] for half in halves) / 2 == whole[0]


def test_merged_phases_train_under_transforms(tmp_path: Path, faces: Path, world: World) -> None:
    augment, loss = AugmentConfig(mode="fixed", p=0.5), LossConfig(merged=True)
    cfg = config(tmp_path / "run", faces, augment=augment, loss=loss)
    assert train_stage(cfg, 0, world, open_storage(cfg.run_dir))
    assert [row["augment/p"] for row in rows(cfg)] == [0.5] * 4


def test_a_run_that_warps_no_image_interpolates_none(
    tmp_path: Path, faces: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stylealae.augment._warped", None)
    cfg = config(tmp_path / "run", faces, augment=replace(ADAPTIVE, kinds=("flip", "colour")))
    assert train_stage(cfg, 0, world, open_storage(cfg.run_dir))
    assert rows(cfg)[-1]["augment/p"] > ADAPTIVE.p


def test_a_family_without_a_critic_of_codes_is_refused() -> None:
    with pytest.raises(ConfigError, match="the family vae has no D∘E"):
        parse("family: vae\naugment: {mode: fixed, p: 0.5}")


def test_the_console_says_once_that_images_are_learned_by_heart(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert not memorization_warning(0.4)
    with Console() as console:
        for seen in (100, 200):
            console.show(
                ProgressUpdate(
                    resolution=4, alpha=1.0, seen=seen, stage_first=0, stage_end=1000, total=1000,
                    img_per_s=10.0, losses={}, sign_gap=0.75,
                )
            )  # fmt: skip
    assert capsys.readouterr().out.count("learns the training images by heart") == 1
